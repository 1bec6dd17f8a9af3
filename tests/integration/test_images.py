"""Images in the real store: listed, named, inspected, removed; and the two that need no network."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest
from tests.support import images
from tests.support.layers import archive_of, entry, gzip_layer

from pyrust_ctr import errors

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import CommandLine
    from tests.support.registry import RegistryServer

    from pyrust_ctr import Engine

pytestmark = pytest.mark.root


def kept(state_dir: Path) -> list[str]:
    """Layers and blobs that are in the store."""
    folders = (state_dir / "layers", state_dir / "blobs")
    return sorted(
        path.name for folder in folders if folder.exists() for path in folder.rglob("*") if path.is_file()
    )


def test_removing_the_last_name_removes_the_content(engine: Engine, busybox: str, state_dir: Path) -> None:
    engine.images.tag(busybox, "mine:1")
    assert engine.images.remove(busybox).deleted == ()
    removal = engine.images.remove("mine:1")
    assert removal.freed_bytes > 500_000
    assert engine.images.list() == []
    assert kept(state_dir) == []


def test_a_shared_layer_stays(engine: Engine, registry: RegistryServer, busybox: str) -> None:
    extra = gzip_layer(archive_of([entry("extra", b"extra")]))
    reference = images.push(registry, "shared/x", "1", images.image([images.busybox_layer(), extra]))
    engine.images.pull(reference)
    removal = engine.images.remove(reference)
    assert extra.diff_id in removal.deleted
    assert images.busybox_layer().diff_id not in removal.deleted
    assert engine.run(busybox, ["echo", "still here"], pull="never").stdout == b"still here\n"


def test_an_image_in_use_stays(engine: Engine, busybox: str) -> None:
    container = engine.containers.create(busybox, ["true"])
    with pytest.raises(errors.ImageInUse):
        engine.images.remove(busybox)
    assert engine.images.prune(all=True).deleted == ()
    engine.images.remove(busybox, force=True)
    container.start()
    assert container.wait().exit_code == 0
    container.remove()
    assert engine.images.prune().deleted


def test_runs_and_prunes_at_once_never_meet(engine: Engine, busybox: str) -> None:
    """A run either has its image until its end, or is told that there is none."""
    stop = threading.Event()
    strange: list[BaseException] = []

    def prune() -> None:
        while not stop.is_set():
            try:
                engine.images.prune(all=True)
            except BaseException as failure:
                strange.append(failure)

    pruner = threading.Thread(target=prune)
    pruner.start()
    try:
        outcomes = set()
        for _ in range(15):
            try:
                engine.images.pull(busybox)
                outcomes.add(engine.run(busybox, ["echo", "hi"], pull="never").stdout)
            except errors.ImageNotFound:
                outcomes.add(b"gone")
    finally:
        stop.set()
        pruner.join()
    assert strange == []
    assert outcomes <= {b"hi\n", b"gone"}


def test_hello_world_needs_no_network(engine: Engine) -> None:
    result = engine.run("hello-world", pull="never")
    assert result.exit_code == 0, result.stderr
    assert b"Hello" in result.stdout or b"hello" in result.stdout
    image = engine.images.get("hello-world")
    assert image.tags == ("hello-world:latest",)
    assert image.size_bytes > 1000
    engine.images.remove("hello-world")
    assert engine.run("hello-world", pull="never").exit_code == 0


def test_the_host_image_is_this_machine(engine: Engine) -> None:
    with open("/etc/os-release", "rb") as file:
        expected = file.read()
    assert engine.run("host", ["cat", "/etc/os-release"], pull="never").stdout == expected


# --- the command line -----------------------------------------------------------------------------------


def test_images_lists_as_docker_does(cli: CommandLine, busybox_reference: str) -> None:
    assert cli("images", check=True).stdout.split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    cli("pull", "-q", busybox_reference, check=True)
    cli("tag", busybox_reference, "mine:1", check=True)
    header, *rows = cli("images", check=True).stdout.splitlines()
    assert header.startswith("REPOSITORY")
    assert {tuple(row.split()[:2]) for row in rows} == {
        tuple(busybox_reference.rsplit(":", 1)),
        ("mine", "1"),
    }
    identifier = cli("images", "-q", check=True).stdout.split()
    assert len(identifier) == 1
    assert len(identifier[0]) == 12
    whole = cli("images", "-q", "--no-trunc", check=True).stdout.strip()
    assert whole.startswith(f"sha256:{identifier[0]}")
    assert cli("images", "mine", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}", check=True).stdout == (
        f"mine:1 {identifier[0]}\n"
    )
    assert len(cli("image", "ls", "--filter", "reference=*:1", "-q", check=True).stdout.split()) == 1
    assert cli("images", "-f", "dangling=true", "-q", check=True).stdout == ""
    described = json.loads(cli("images", "mine", "--format", "json", check=True).stdout)
    assert described["Repository"] == "mine"
    assert "sha256:" in cli("images", "--digests", check=True).stdout


def test_inspect_and_remove(cli: CommandLine, busybox_reference: str, state_dir: Path) -> None:
    cli("pull", "-q", busybox_reference, check=True)
    (document,) = json.loads(cli("image", "inspect", busybox_reference, check=True).stdout)
    assert document["RepoTags"] == [busybox_reference]
    assert cli("image", "inspect", "-f", "{{.Os}}", document["Id"], check=True).stdout == "linux\n"
    missing = cli("image", "inspect", "nope", busybox_reference)
    assert missing.returncode == 125
    assert "No such image: nope" in missing.stderr
    assert len(json.loads(missing.stdout)) == 1
    removed = cli("rmi", busybox_reference, check=True).stdout.splitlines()
    assert removed[0] == f"Untagged: {busybox_reference}"
    assert f"Deleted: {document['Id']}" in removed
    assert kept(state_dir) == []
    assert "No such image" in cli("rmi", busybox_reference).stderr


def test_prune_asks_first(cli: CommandLine, busybox_reference: str) -> None:
    cli("pull", "-q", busybox_reference, check=True)
    refused = cli("image", "prune", "-a", input="n\n")
    assert refused.returncode == 0
    assert refused.stdout == ""
    assert cli("images", "-q", check=True).stdout
    done = cli("image", "prune", "-a", "-f", check=True)
    assert "Total reclaimed space: " in done.stdout
    assert cli("images", "-q", check=True).stdout == ""
