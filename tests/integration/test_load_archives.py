"""Archives of real programs, loaded into the real store and run."""

from __future__ import annotations

import gzip
import subprocess
from typing import TYPE_CHECKING

import pytest
from tests.support import images, layers
from tests.support.processes import need_program

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import CommandLine
    from tests.support.registry import RegistryServer

    from pyrust_ctr import Engine

pytestmark = pytest.mark.root


def compressed(archive: bytes, form: str) -> bytes:
    if form == "gzip":
        return gzip.compress(archive, 1)
    if form == "zstd":
        return layers.zstd_layer(archive).blob
    return archive


@pytest.mark.parametrize("form", ["plain", "gzip", "zstd"])
@pytest.mark.parametrize("kind", ["docker", "oci"])
def test_archives_plain_and_compressed(engine: Engine, tmp_path: Path, kind: str, form: str) -> None:
    document = images.busybox_image(oci=kind == "oci")
    name = "archived:1"
    archive = (
        images.docker_archive(document, [name]) if kind == "docker" else images.oci_layout(document, name)
    )
    file = tmp_path / "image.tar"
    file.write_bytes(compressed(archive, form))
    (image,) = engine.images.load(file)
    assert image.tags == (name,)
    assert engine.run(name, ["echo", "hi"], pull="never").stdout == b"hi\n"


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
def test_what_skopeo_writes(engine: Engine, registry: RegistryServer, tmp_path: Path, kind: str) -> None:
    reference = images.push(registry, "skopeo/x", "1", images.busybox_image())
    file = tmp_path / "image.tar"
    subprocess.run(
        [
            need_program("skopeo"),
            "--insecure-policy",
            "copy",
            "-q",
            "--src-tls-verify=false",
            f"docker://{reference}",
            f"{kind}:{file}:localhost/copied:2",
        ],
        check=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    (image,) = engine.images.load(file)
    assert image.tags == ("localhost/copied:2",)
    assert engine.run(image.id, ["echo", "hi"], pull="never").stdout == b"hi\n"


def test_from_standard_input(cli: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "image.tar.gz"
    file.write_bytes(gzip.compress(images.docker_archive(images.busybox_image(), ["piped:1", "piped:2"]), 1))
    with file.open("rb") as stream:
        done = subprocess.run(
            [cli.program(), "load", "-q"],
            stdin=stream,
            env=cli.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["Loaded image: piped:1", "Loaded image: piped:2"]
    named = cli("load", "-i", str(file), check=True)
    assert named.stdout == done.stdout


def test_an_archive_without_a_name_prints_the_id(cli: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "image.tar"
    file.write_bytes(images.docker_archive(images.busybox_image(), []))
    done = cli("image", "load", "-q", "-i", str(file), check=True)
    assert done.stdout.startswith("Loaded image ID: sha256:")


@pytest.mark.parametrize("data", [b"", b"nonsense", b"\0" * 10240], ids=["empty", "nonsense", "zeros"])
def test_what_is_no_archive_is_said(cli: CommandLine, tmp_path: Path, state_dir: Path, data: bytes) -> None:
    file = tmp_path / "image.tar"
    file.write_bytes(data)
    done = cli("load", "-i", str(file))
    assert done.returncode == 125
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
    left = state_dir / "tmp"
    assert not left.exists() or list(left.iterdir()) == []
