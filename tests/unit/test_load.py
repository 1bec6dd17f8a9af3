"""Archives of images, read by the service on a store in memory."""

from __future__ import annotations

import io
import json
import os
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from tests.support import images
from tests.support.image_bench import BASE, EXTRA, Bench
from tests.support.layers import archive_of, entry, gzip_layer, sha256

from pyrust_ctr.errors import (
    ContentError,
    DigestMismatch,
    InvalidArgument,
    MalformedArchive,
    NotFound,
    SizeMismatch,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pyrust_ctr.models.image import Image


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "state")
    yield made
    made.database.close()


def load(bench: Bench, archive: bytes) -> list[Image]:
    file = bench.paths.root / "archive.tar"
    file.write_bytes(archive)
    try:
        return bench.images.load(file)
    finally:
        left = bench.paths.root / "tmp"
        assert not left.exists() or not list(left.iterdir()), "the unpacked archive was left behind"


def archive(members: Mapping[str, bytes | str]) -> bytes:
    """An archive of files; a text is the target of a symbolic link."""
    return archive_of(
        entry(name, kind=tarfile.SYMTYPE, link=content) if isinstance(content, str) else entry(name, content)
        for name, content in members.items()
    )


def test_a_docker_archive_is_loaded(bench: Bench) -> None:
    document = images.image([BASE, EXTRA])
    (image,) = load(bench, images.docker_archive(document, ["x:1", "localhost:5000/y:2"]))
    assert set(image.tags) == {"x:1", "localhost:5000/y:2"}
    assert image.digests == ()
    assert image.layers == (BASE.diff_id, EXTRA.diff_id)
    assert bench.images.resolve_for_run("x:1").config.cmd == ("sh",)


def test_an_archive_without_names_gives_an_id(bench: Bench) -> None:
    (image,) = load(bench, images.docker_archive(images.image([BASE]), []))
    assert image.references == ()
    assert bench.images.get(image.id).id == image.id


def test_a_descriptor_is_read_and_stays_open(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "x.tar"
    file.write_bytes(images.docker_archive(images.image([BASE]), ["x"]))
    descriptor = os.open(file, os.O_RDONLY)
    try:
        assert bench.images.load(descriptor)[0].tags == ("x:latest",)
        os.fstat(descriptor)
    finally:
        os.close(descriptor)


def test_layers_may_be_links_as_docker_once_wrote_them(bench: Bench) -> None:
    config = images.image([BASE, BASE])
    described = json.loads(config.data)["config"]["digest"]
    manifest = [{"Config": "c.json", "RepoTags": ["x:1"], "Layers": ["a/layer.tar", "b/layer.tar"]}]
    members: dict[str, bytes | str] = {
        "c.json": config.blobs[described],
        "a/layer.tar": BASE.archive,
        "b/layer.tar": "../a/layer.tar",
        "manifest.json": json.dumps(manifest).encode(),
    }
    (image,) = load(bench, archive(members))
    assert image.layers == (BASE.diff_id, BASE.diff_id)


def test_an_oci_layout_is_loaded(bench: Bench) -> None:
    document = images.image([BASE, EXTRA], oci=True)
    (image,) = load(bench, images.oci_layout(document, "localhost:5000/x:3"))
    assert image.tags == ("localhost:5000/x:3",)
    assert image.manifest_digest == document.digest
    (bare,) = load(bench, images.oci_layout(images.image([BASE], oci=True), "1.36"))
    assert bare.tags == ()


def test_an_oci_layout_with_an_index_gives_this_machines_image(bench: Bench) -> None:
    index = images.index([images.image([EXTRA], architecture="s390x"), images.image([BASE])], oci=True)
    (image,) = load(bench, images.oci_layout(index, "x:1"))
    assert image.layers == (BASE.diff_id,)


def test_the_oldest_form_is_loaded(bench: Bench) -> None:
    base, top = "a" * 64, "b" * 64
    settings = {"architecture": images.this_architecture(), "os": "linux", "config": {"Cmd": ["old"]}}
    members: dict[str, bytes | str] = {
        "repositories": json.dumps({"x": {"1": top}}).encode(),
        f"{base}/json": json.dumps({"id": base, **settings}).encode(),
        f"{base}/layer.tar": BASE.archive,
        f"{top}/json": json.dumps({"id": top, "parent": base, **settings}).encode(),
        f"{top}/layer.tar": EXTRA.archive,
    }
    (image,) = load(bench, archive(members))
    assert image.layers == (BASE.diff_id, EXTRA.diff_id)
    assert bench.images.config("x:1").cmd == ("old",)


def docker_members(**changes: Any) -> dict[str, bytes | str]:
    document = images.image([BASE])
    config = document.blobs[json.loads(document.data)["config"]["digest"]]
    manifest = {"Config": "c.json", "RepoTags": ["x:1"], "Layers": ["l.tar"], **changes}
    return {"c.json": config, "l.tar": BASE.archive, "manifest.json": json.dumps([manifest]).encode()}


def oci_members(*, replaced: Mapping[str, bytes]) -> dict[str, bytes | str]:
    """A layout in which some blobs, by digest, have other content."""
    document = images.image([BASE], oci=True)
    with tarfile.open(fileobj=io.BytesIO(images.oci_layout(document, "x:1"))) as reader:
        members: dict[str, bytes | str] = {}
        for member in reader:
            file = reader.extractfile(member)
            assert file is not None
            members[member.name] = file.read()
    for digest, data in replaced.items():
        name = "blobs/sha256/" + digest.removeprefix("sha256:")
        assert name in members
        members[name] = data
    return members


OCI = images.image([BASE], oci=True)
LOOP = "a" * 64
BAD: dict[str, tuple[Mapping[str, bytes | str], type[Exception]]] = {
    "nothing in it": ({"x": b""}, ContentError),
    "no images": ({"manifest.json": b"[]"}, ContentError),
    "not a list": ({"manifest.json": b"{}"}, ContentError),
    "not json": ({"manifest.json": b"["}, ContentError),
    "a missing config": (docker_members(Config="d.json"), MalformedArchive),
    "a missing layer": (docker_members(Layers=["m.tar"]), MalformedArchive),
    "a config outside": (docker_members(Config="../../../etc/passwd"), MalformedArchive),
    "an absolute layer": (docker_members(Layers=["/etc/passwd"]), MalformedArchive),
    "too few layers": (docker_members(Layers=[]), ContentError),
    "a false config name": (
        {**docker_members(Config="b" * 64 + ".json"), "b" * 64 + ".json": docker_members()["c.json"]},
        DigestMismatch,
    ),
    "another layer": ({**docker_members(), "l.tar": EXTRA.archive}, DigestMismatch),
    "a malformed name": (docker_members(RepoTags=["UPPER"]), InvalidArgument),
    "layers in a loop": (
        {
            "repositories": json.dumps({"x": {"1": LOOP}}).encode(),
            f"{LOOP}/json": json.dumps({"parent": LOOP}).encode(),
        },
        ContentError,
    ),
    "an OCI manifest that was changed": (
        oci_members(replaced={OCI.digest: OCI.data.replace(b'"schemaVersion": 2', b'"schemaVersion": 2 ')}),
        SizeMismatch,
    ),
    "an OCI layer that was changed": (
        oci_members(replaced={BASE.digest: BASE.blob[:-1] + b"\xff"}),
        DigestMismatch,
    ),
}


@pytest.mark.parametrize(("members", "failure"), BAD.values(), ids=BAD.keys())
def test_a_bad_archive_is_refused_and_leaves_nothing(
    bench: Bench, members: Mapping[str, bytes | str], failure: type[Exception]
) -> None:
    with pytest.raises(failure) as caught:
        load(bench, archive(members))
    assert str(caught.value)
    assert bench.images.list() == []


def test_a_missing_file_and_a_directory_are_named(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"nope\.tar"):
        bench.images.load(tmp_path / "nope.tar")
    with pytest.raises(InvalidArgument, match="directory"):
        bench.images.load(tmp_path)


def test_loading_what_was_pulled_keeps_the_manifest(bench: Bench) -> None:
    document = images.image([gzip_layer(BASE.archive)])
    digest = bench.hub.push("library/x", "1", document)
    pulled = bench.images.pull("x:1")
    (loaded,) = load(bench, images.docker_archive(document, ["y:1"]))
    assert loaded.id == pulled.id
    assert loaded.manifest_digest == digest == sha256(document.data)
