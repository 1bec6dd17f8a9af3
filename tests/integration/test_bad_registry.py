"""Registries that lie, break off, hang or refuse: one exception, and nothing half-pulled is kept."""

from __future__ import annotations

import json
import os
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.support import images, layers
from tests.support.faults import Fault, FaultyRegistry, faulty_registry
from tests.support.processes import free_port

from pyrust_ctr import errors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import CommandLine
    from tests.support.registry import RegistryServer

    from pyrust_ctr import Engine

pytestmark = pytest.mark.root

REPOSITORY = "bad/registry"


@pytest.fixture(autouse=True)
def _short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYRUST_CTR_REGISTRY_TIMEOUT_S", "1.5")


@pytest.fixture
def layer() -> layers.Layer:
    """A plain layer that no other test has: a damaged byte of its file stays a well-formed archive."""
    return layers.plain_layer(layers.archive_of([layers.entry("data", os.urandom(300_000))]))


@pytest.fixture
def pushed(registry: RegistryServer, faulty: FaultyRegistry, layer: layers.Layer) -> str:
    """An image with `layer`, named through the faulty front."""
    images.push(registry, REPOSITORY, "1", images.image([layer], oci=True))
    return f"{faulty.host}/{REPOSITORY}:1"


@pytest.fixture(autouse=True)
def _nothing_half_pulled(engine: Engine, state_dir: Path) -> Iterator[None]:
    yield
    left = [path for path in state_dir.glob("**/tmp/*") if path.is_file() or any(path.iterdir())]
    assert left == []


def _damaged(body: bytes) -> bytes:
    # Inside the file's data: behind its header block, before the padding.
    return body[:5000] + bytes([body[5000] ^ 1]) + body[5001:]


def test_unknown_tag(engine: Engine, pushed: str) -> None:
    with pytest.raises(errors.ManifestUnknown, match=REPOSITORY):
        engine.images.pull(pushed.replace(":1", ":nothing"))
    assert engine.images.list() == []


def test_unknown_repository(engine: Engine, registry: RegistryServer) -> None:
    with pytest.raises(errors.RegistryError, match="no/such"):
        engine.images.pull(f"{registry.host}/no/such/thing")


def test_nobody_listens(engine: Engine) -> None:
    host = f"localhost:{free_port()}"
    with pytest.raises(errors.RegistryUnreachable, match=host):
        engine.images.pull(f"{host}/a/b")


def test_damaged_layer(engine: Engine, pushed: str, faulty: FaultyRegistry, layer: layers.Layer) -> None:
    faulty.faults.append(Fault(layer.digest, change=_damaged))
    with pytest.raises(errors.DigestMismatch):
        engine.images.pull(pushed)
    assert engine.images.list() == []
    faulty.faults.clear()
    engine.images.pull(pushed)
    assert len(engine.images.list()) == 1


def test_damaged_manifest_by_digest(engine: Engine, registry: RegistryServer, faulty: FaultyRegistry) -> None:
    document = images.busybox_image()
    images.push(registry, REPOSITORY, document.digest, document)
    faulty.faults.append(Fault("/manifests/", change=lambda body: body + b" "))
    with pytest.raises(errors.DigestMismatch):
        engine.images.pull(f"{faulty.host}/{REPOSITORY}@{document.digest}")


def test_broken_connection_resumes(
    engine: Engine, pushed: str, faulty: FaultyRegistry, layer: layers.Layer
) -> None:
    faulty.faults.append(Fault(layer.digest, cut_after=100_000, times=1))
    engine.images.pull(pushed)
    first, *further = faulty.requests_for(layer.digest)
    assert "Range" not in first.headers
    assert further, "the layer was not asked for again"
    assert further[0].headers["Range"].startswith("bytes=")
    assert not further[0].headers["Range"].startswith("bytes=0-")


def test_broken_connection_to_a_server_without_ranges(
    engine: Engine, pushed: str, faulty: FaultyRegistry, layer: layers.Layer
) -> None:
    faulty.faults += [
        Fault(layer.digest, cut_after=100_000, times=1),
        Fault(layer.digest, ignore_range=True),
    ]
    engine.images.pull(pushed)
    assert len(engine.images.list()) == 1


def test_always_truncated(engine: Engine, pushed: str, faulty: FaultyRegistry, layer: layers.Layer) -> None:
    faulty.faults.append(Fault(layer.digest, cut_after=0))
    with pytest.raises((errors.RegistryError, errors.ContentError)):
        engine.images.pull(pushed)
    assert engine.images.list() == []


def test_server_error_is_tried_again(engine: Engine, pushed: str, faulty: FaultyRegistry) -> None:
    faulty.faults.append(Fault("/manifests/", status=500, times=1))
    faulty.faults.append(Fault("/blobs/", status=429, headers={"Retry-After": "0"}, times=1))
    engine.images.pull(pushed)
    assert len(engine.images.list()) == 1


def test_server_error_for_ever(engine: Engine, pushed: str, faulty: FaultyRegistry) -> None:
    faulty.faults.append(Fault("/manifests/", status=500))
    with pytest.raises(errors.RegistryError, match="500"):
        engine.images.pull(pushed)


def test_nonsense_instead_of_a_manifest(engine: Engine, pushed: str, faulty: FaultyRegistry) -> None:
    faulty.faults.append(Fault("/manifests/", body=b"<html>Please log in to the hotel network</html>"))
    with pytest.raises(errors.Error):
        engine.images.pull(pushed)
    assert engine.images.list() == []


@pytest.mark.parametrize("part", ["/manifests/", "layer"])
def test_silence_ends(
    engine: Engine, pushed: str, faulty: FaultyRegistry, layer: layers.Layer, part: str
) -> None:
    if part == "layer":
        # A resumed transfer that gains nothing must not be resumed for ever.
        faulty.faults.append(Fault(layer.digest, hang_after=100_000, times=1))
        faulty.faults.append(Fault(layer.digest, hang=True))
    else:
        faulty.faults.append(Fault(part, hang=True))
    begun = time.monotonic()
    with pytest.raises(errors.RegistryUnreachable):
        engine.images.pull(pushed)
    assert time.monotonic() - begun < 60


def test_port_that_accepts_and_says_nothing(engine: Engine) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        with pytest.raises(errors.RegistryUnreachable):
            engine.images.pull(f"localhost:{listener.getsockname()[1]}/a/b")


def _push_changed(registry: RegistryServer, change: Any) -> str:
    """Pushes a busybox whose manifest was changed, by way of a front: the real registry would refuse some."""
    document = images.busybox_image()
    images.push(registry, REPOSITORY, "honest", document)
    manifest = json.loads(document.data)
    change(manifest)
    return json.dumps(manifest)


@pytest.mark.parametrize(
    ("lie", "expected"),
    [
        (lambda manifest: manifest["layers"][0].update(size=10), errors.ContentError),
        (lambda manifest: manifest["layers"][0].update(size=1 << 40), errors.Error),
        (lambda manifest: manifest["layers"][0].update(size=-1), errors.ContentError),
        (lambda manifest: manifest["config"].update(size=10), errors.ContentError),
        (lambda manifest: manifest["layers"].append(manifest["layers"][0]), errors.ContentError),
        (lambda manifest: manifest["layers"].clear(), errors.ContentError),
        (
            lambda manifest: manifest["layers"][0].update(digest="sha256:../../../etc/passwd"),
            errors.ContentError,
        ),
        (lambda manifest: manifest["layers"][0].update(digest="md5:" + "0" * 32), errors.ContentError),
        (lambda manifest: manifest.update(manifests=[]), errors.ContentError),
        (lambda manifest: manifest.pop("config"), errors.ContentError),
    ],
    ids=[
        "layer-too-small",
        "layer-too-large",
        "negative-size",
        "config-too-small",
        "more-layers-than-diff-ids",
        "fewer-layers-than-diff-ids",
        "digest-is-a-path",
        "unknown-algorithm",
        "manifest-and-index-at-once",
        "no-config",
    ],
)
def test_manifest_that_lies(
    engine: Engine, registry: RegistryServer, faulty: FaultyRegistry, lie: Any, expected: type[errors.Error]
) -> None:
    body = _push_changed(registry, lie).encode()
    faulty.faults.append(
        Fault("/manifests/", body=body, headers={"Docker-Content-Digest": layers.sha256(body)})
    )
    with pytest.raises(expected):
        engine.images.pull(f"{faulty.host}/{REPOSITORY}:honest")
    assert engine.images.list() == []


def test_wrong_diff_id(engine: Engine, registry: RegistryServer) -> None:
    document = images.busybox_image(diff_ids=["sha256:" + "1" * 64])
    reference = images.push(registry, REPOSITORY, "wrong-diff-id", document)
    with pytest.raises(errors.DigestMismatch):
        engine.images.pull(reference)
    assert engine.images.list() == []


def test_other_architecture(engine: Engine, registry: RegistryServer) -> None:
    document = images.busybox_image(architecture="s390x")
    single = images.push(registry, REPOSITORY, "s390x", document)
    several = images.push(registry, REPOSITORY, "s390x-list", images.index([document]))
    for reference in (single, several):
        with pytest.raises(errors.PlatformMismatch, match="s390x"):
            engine.images.pull(reference)
    engine.images.pull(several, platform="linux/s390x")
    assert len(engine.images.list()) == 1


def test_wants_credentials(engine: Engine, auth_registry: RegistryServer) -> None:
    reference = images.push(auth_registry, "bad/secret", "1", images.busybox_image())
    with pytest.raises(errors.Unauthorized, match=auth_registry.host):
        engine.images.pull(reference)


def test_credentials_stay_with_their_registry(
    engine: Engine,
    auth_registry: RegistryServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A registry that redirects to a storage host must not make the client give its password away."""
    import base64

    images.push(auth_registry, "bad/redirect", "1", images.busybox_image())
    with faulty_registry(auth_registry) as front, faulty_registry(auth_registry) as elsewhere:
        digest = images.busybox_layer().digest
        target = f"http://127.0.0.1:{elsewhere.server_address[1]}/v2/bad/redirect/blobs/{digest}"
        front.faults.append(Fault(digest, status=307, headers={"Location": target}))
        elsewhere.faults.append(Fault(digest, body=images.busybox_layer().blob))
        login = base64.b64encode(f"{auth_registry.username}:{auth_registry.password}".encode()).decode()
        settings = tmp_path / "docker"
        settings.mkdir()
        (settings / "config.json").write_text(json.dumps({"auths": {front.host: {"auth": login}}}))
        monkeypatch.setenv("DOCKER_CONFIG", str(settings))
        engine.images.pull(f"{front.host}/bad/redirect:1")
        assert "Authorization" in front.requests_for(digest)[-1].headers
        assert "Authorization" not in elsewhere.requests_for(digest)[0].headers


@pytest.mark.parametrize(
    ("reference", "status"),
    [("localhost:{port}/a/b", 125), ("Upper/Case", 125), ("a b", 125), ("", 125)],
)
def test_command_line_says_one_sentence(cli: CommandLine, reference: str, status: int) -> None:
    done = cli("pull", reference.format(port=free_port()))
    assert done.returncode == status
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert 1 <= len(done.stderr.strip().splitlines()) <= 2, done.stderr
