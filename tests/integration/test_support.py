"""The tools of these tests do what they say: registries refuse, faults happen, leaks are found."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest
from tests.support import images, layers, leaks
from tests.support.faults import Fault, FaultyRegistry

if TYPE_CHECKING:
    from tests.support.registry import RegistryServer


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        body: bytes = answer.read()
    return body


def _small_image() -> images.Document:
    return images.image([layers.gzip_layer(layers.archive_of([layers.entry("hello", b"hello\n")]))])


def test_push_to_an_open_registry(registry: RegistryServer) -> None:
    document = _small_image()
    images.push(registry, "support/open", "1", document)
    assert (
        _get(f"{registry.url}/v2/support/open/blobs/{next(iter(document.blobs))}") in document.blobs.values()
    )


def test_basic_registry_refuses_strangers(auth_registry: RegistryServer) -> None:
    images.push(auth_registry, "support/basic", "1", _small_image())
    with pytest.raises(urllib.error.HTTPError) as refusal:
        _get(f"{auth_registry.url}/v2/support/basic/manifests/1")
    refusal.value.close()
    assert refusal.value.code == 401


def test_token_registry_refuses_strangers(bearer_registry: RegistryServer) -> None:
    images.push(bearer_registry, "support/token", "1", _small_image())
    with pytest.raises(urllib.error.HTTPError) as refusal:
        _get(f"{bearer_registry.url}/v2/support/token/manifests/1")
    challenge = refusal.value.headers["WWW-Authenticate"]
    refusal.value.close()
    assert challenge.startswith("Bearer realm=")


def test_faults_happen_as_often_as_told(registry: RegistryServer, faulty: FaultyRegistry) -> None:
    document = _small_image()
    images.push(registry, "support/faults", "1", document)
    path = f"/v2/support/faults/blobs/{next(iter(document.blobs))}"
    faulty.faults.append(Fault("/blobs/", status=500, times=1))
    with pytest.raises(urllib.error.HTTPError) as failure:
        _get(f"http://{faulty.host}{path}")
    failure.value.close()
    assert _get(f"http://{faulty.host}{path}") == _get(registry.url + path)
    assert len(faulty.requests_for("/blobs/")) == 2


@pytest.mark.root
def test_a_leak_is_found() -> None:
    before = leaks.look()
    reading, writing = os.pipe()
    try:
        with pytest.raises(pytest.fail.Exception, match="pipe:"):
            leaks.assert_nothing_new(before, grace_s=0)
    finally:
        os.close(reading)
        os.close(writing)
    leaks.assert_nothing_new(before, grace_s=0)
