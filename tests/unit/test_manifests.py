"""Manifests that lie, and platforms that are chosen."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support import images
from tests.support.layers import archive_of, gzip_layer, sha256

from pyrust_ctr.errors import ContentError, Error, InvalidArgument, SizeMismatch, TooLarge, UnsupportedOption
from pyrust_ctr.images import manifests
from pyrust_ctr.images.documents import parse_object
from pyrust_ctr.images.manifests import Descriptor, ImageIndex, ImageManifest
from pyrust_ctr.images.platform import choose, host_platform, parse_platform
from pyrust_ctr.models.image import Platform

LAYER = gzip_layer(archive_of([]))
D = "sha256:" + "d" * 64


def manifest(**changes: Any) -> dict[str, Any]:
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": manifests.OCI_MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": D, "size": 2},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": D, "size": 3}],
    }
    document.update(changes)
    return {key: value for key, value in document.items() if value is not None}


def parse(document: Any, **options: Any) -> ImageManifest | ImageIndex:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return manifests.parse(body, "x:latest", **options)


@pytest.mark.parametrize("is_oci", [False, True])
def test_a_manifest_of_either_kind_is_read(is_oci: bool) -> None:
    document = images.image([LAYER], oci=is_oci)
    parsed = manifests.parse(document.data, "x", announced=document.media_type + "; charset=utf-8")
    assert isinstance(parsed, ImageManifest)
    assert parsed.digest == document.digest
    assert [layer.digest for layer in parsed.layers] == [LAYER.digest]


def test_an_index_is_read_with_its_platforms() -> None:
    document = images.index([images.image([LAYER]), images.image([LAYER], architecture="s390x")])
    parsed = manifests.parse(document.data, "x")
    assert isinstance(parsed, ImageIndex)
    assert [str(entry.platform) for entry in parsed.manifests] == [str(host_platform()), "linux/s390x"]


LIES = {
    "not json": b"{",
    "not utf-8": b'{"a": "\xff"}',
    "a list": b"[]",
    "a key twice": json.dumps(manifest())[:-1].encode() + b', "layers": []}',
    "a key twice, deep": b'{"schemaVersion": 2, "layers": [], "config": {"size": 1, "size": 2}}',
    "a lookalike key": manifest(Layers=[]),
    "a lookalike key in a descriptor": manifest(config={**manifest()["config"], "Digest": D}),
    "both shapes": manifest(manifests=[]),
    "neither shape": manifest(config=None, layers=None),
    "config alone": manifest(layers=None),
    "layers alone": manifest(config=None),
    "the type of an index": manifest(mediaType=manifests.OCI_INDEX),
    "an unknown type": manifest(mediaType="application/json"),
    "a type that is no text": manifest(mediaType=7),
    "version 3": manifest(schemaVersion=3),
    "no version": manifest(schemaVersion=None),
    "an artifact": manifest(
        config={"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": D, "size": 2}
    ),
    "a layer of an unknown type": manifest(layers=[{"mediaType": "text/plain", "digest": D, "size": 1}]),
    "an encrypted layer": manifest(
        layers=[
            {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip+encrypted", "digest": D, "size": 1}
        ]
    ),
    "layers that are no list": manifest(layers={}),
    "a layer that is no object": manifest(layers=["x"]),
    "a short digest": manifest(config={**manifest()["config"], "digest": "sha256:abc"}),
    "a digest with a path in it": manifest(
        config={**manifest()["config"], "digest": "sha256:../../etc/passwd"}
    ),
    "another algorithm": manifest(config={**manifest()["config"], "digest": "md5:" + "a" * 32}),
    "a negative size": manifest(config={**manifest()["config"], "size": -1}),
    "a fractional size": manifest(config={**manifest()["config"], "size": 1.5}),
    "a size that is a truth value": manifest(config={**manifest()["config"], "size": True}),
    "a size beyond 64 bits": manifest(config={**manifest()["config"], "size": 1 << 64}),
    "an infinite size": b'{"schemaVersion": 2, "layers": [], "config": {"size": Infinity}}',
    "nesting without end": b'{"a":' * 100_000,
}


@pytest.mark.parametrize("document", LIES.values(), ids=LIES.keys())
def test_a_manifest_that_lies_is_refused(document: Any) -> None:
    with pytest.raises(ContentError) as caught:
        parse(document)
    assert "x:latest" in str(caught.value)


@pytest.mark.parametrize(
    "layer",
    [
        {"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "digest": D, "size": 1},
        {"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar", "digest": D, "size": 1},
        {
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": D,
            "size": 1,
            "urls": ["http://169.254.169.254/"],
        },
    ],
)
def test_a_layer_that_is_kept_elsewhere_is_not_fetched(layer: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedOption, match="not fetched"):
        parse(manifest(layers=[layer]))


@pytest.mark.parametrize("document", [{"schemaVersion": 1, "fsLayers": []}, manifest(fsLayers=[])])
def test_schema_1_is_refused_by_name(document: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedOption, match="schema 1"):
        parse(document)


def test_the_announced_type_must_agree() -> None:
    assert parse(manifest(), announced="application/json").media_type == manifests.OCI_MANIFEST
    assert (
        parse(manifest(mediaType=None), announced=manifests.DOCKER_MANIFEST).media_type
        == manifests.DOCKER_MANIFEST
    )
    with pytest.raises(ContentError, match="contradicts itself"):
        parse(manifest(), announced=manifests.DOCKER_MANIFEST)
    with pytest.raises(ContentError, match="shape"):
        parse(manifest(mediaType=None), announced=manifests.OCI_INDEX)


def test_an_index_entry_must_agree_with_the_manifest() -> None:
    body = json.dumps(manifest()).encode()
    good = Descriptor(manifests.OCI_MANIFEST, sha256(body), len(body))
    assert manifests.parse(body, "x", descriptor=good).digest == good.digest
    with pytest.raises(SizeMismatch):
        manifests.parse(body, "x", descriptor=Descriptor(manifests.OCI_MANIFEST, sha256(body), len(body) + 1))
    with pytest.raises(ContentError, match="contradicts itself"):
        manifests.parse(body, "x", descriptor=Descriptor(manifests.OCI_INDEX, sha256(body), len(body)))


def test_documents_have_limits() -> None:
    layer = manifest()["layers"][0]
    assert isinstance(parse(manifest(layers=[layer] * 500)), ImageManifest)
    with pytest.raises(TooLarge):
        parse(manifest(layers=[layer] * 501))
    with pytest.raises(TooLarge):
        parse(b" " * (4 << 20) + b"{}")
    with pytest.raises(TooLarge):
        parse({"schemaVersion": 2, "manifests": [layer] * 1001})


@pytest.mark.parametrize(
    ("text", "expected"),
    {
        "linux/amd64": "linux/amd64",
        "linux/x86_64": "linux/amd64",
        "Linux/AMD64": "linux/amd64",
        "linux/aarch64": "linux/arm64",
        "linux/arm64/v8": "linux/arm64",
        "linux/arm64/8": "linux/arm64",
        "linux/armhf": "linux/arm/v7",
        "linux/armel": "linux/arm/v6",
        "linux/arm/v6": "linux/arm/v6",
        "linux/i686": "linux/386",
        "s390x": "linux/s390x",
        "windows/amd64": "windows/amd64",
    }.items(),
)
def test_platforms_have_one_name(text: str, expected: str) -> None:
    assert str(parse_platform(text)) == expected


@pytest.mark.parametrize("text", ["", "/", "linux/", "a/b/c/d", "linux//v7"])
def test_a_malformed_platform_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="platform"):
        parse_platform(text)


@pytest.mark.parametrize(
    ("wanted", "offered", "expected"),
    [
        ("linux/amd64", ["linux/arm64", "linux/amd64"], 1),
        ("linux/amd64", ["linux/amd64/v3", "linux/amd64/v1"], 1),
        ("linux/amd64", ["linux/amd64/v3"], None),
        ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v2"], 1),
        ("linux/amd64", ["windows/amd64"], None),
        ("linux/arm64", ["linux/arm64/v8"], 0),
        ("linux/arm/v7", ["linux/arm/v5", "linux/arm/v6"], 1),
        ("linux/arm/v6", ["linux/arm/v7"], None),
        ("linux/arm", ["linux/arm/v6", "linux/arm/v7"], 1),
        ("linux/386", ["linux/amd64"], None),
    ],
)
def test_the_best_platform_is_chosen(wanted: str, offered: list[str], expected: int | None) -> None:
    platforms = [Platform(*text.split("/")) for text in offered]
    assert choose(parse_platform(wanted), [None, *platforms]) == (None if expected is None else expected + 1)


def test_every_refusal_is_one_sentence() -> None:
    for document in LIES.values():
        with pytest.raises(Error) as caught:
            parse(document)
        assert not str(caught.value).endswith(".")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "data", ['{"a": 1}'.encode("utf-16"), '{"a": 1}'.encode("utf-32-be"), b'{"a": "\\ud800"}']
)
def test_a_document_is_utf_8_with_whole_characters(data: bytes) -> None:
    with pytest.raises(ContentError, match="not valid JSON"):
        parse_object(data, "the document")
    assert parse_object(b'{"a": "\\ud83d\\ude00"}', "the document") == {"a": "\U0001f600"}


def test_a_message_cannot_drive_a_terminal() -> None:
    assert str(Error("no \x1b[2J\n\x9b such `é`")) == "no \\x1b[2J\\n\\x9b such `é`"
