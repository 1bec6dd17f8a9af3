"""Layers as other programs unpack them: the same archive, the same tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support import images, layers
from tests.support.layers import archive_of, entry
from tests.support.processes import need_program
from tests.support.trees import Node, differences, merged, read_tree

from pyrust_ctr import _core

if TYPE_CHECKING:
    import io
    from collections.abc import Sequence

pytestmark = pytest.mark.root

# cap_net_raw=ep, version 2, little-endian (linux/capability.h, `struct vfs_cap_data`).
NET_RAW_CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")


def _everything() -> list[tuple[tarfile.TarInfo, bytes]]:
    """One of each kind of file that an image may hold."""
    deep = ["deep/"] + ["deep/" + "/".join(["d" * 60] * depth) + "/" for depth in range(1, 6)]
    long_name = deep[-1] + "n" * 200
    attributes = {
        "SCHILY.xattr.user.colour": "blue",
        "SCHILY.xattr.security.capability": NET_RAW_CAPABILITY.decode("latin-1"),
    }
    return [
        entry("bin/", mode=0o755),
        entry("bin/program", b"#!/bin/sh\n", mode=0o755),
        entry("bin/setuid", b"x", mode=0o4755),
        entry("bin/setgid", b"x", mode=0o2711, uid=0, gid=5),
        entry("bin/same", kind=tarfile.LNKTYPE, link="bin/program", mode=0o755),
        entry("bin/alias", kind=tarfile.SYMTYPE, link="program"),
        entry("bin/outside", kind=tarfile.SYMTYPE, link="../../../../etc/shadow"),
        entry("bin/dangling", kind=tarfile.SYMTYPE, link="/no/such/file"),
        entry("bin/same-link", kind=tarfile.LNKTYPE, link="bin/alias", mode=0o644),
        entry("dev/", mode=0o755),
        entry("dev/null", kind=tarfile.CHRTYPE, device=(1, 3), mode=0o666),
        entry("dev/disk", kind=tarfile.BLKTYPE, device=(7, 300), mode=0o660, gid=6),
        entry("dev/pipe", kind=tarfile.FIFOTYPE, mode=0o620),
        entry("home/", mode=0o700, uid=70_000, gid=80_000, mtime=1),
        entry("home/big-owner", b"1", uid=3_000_000, gid=4_000_000, mode=0o600),
        entry("home/attributes", b"2", pax=attributes, mode=0o755),
        entry("home/fraction", b"3", pax={"mtime": "1700000000.123456789"}),
        entry("home/far-future", b"5", pax={"mtime": "4200000000"}),
        entry("home/empty", b""),
        entry("home/large", os.urandom(3_000_000)),
        entry("home/ünïcödé ☃ name", b"6"),
        entry("home/new\nline", b"7"),
        *(entry(folder, mode=0o750) for folder in deep),
        entry(long_name, b"8"),
        entry("deep/to-long", kind=tarfile.SYMTYPE, link="x/" * 60 + "end"),
        entry("sticky/", mode=0o1777),
        entry("sealed/", mode=0o555, mtime=12_345),
        entry("sealed/inside", b"9", mode=0o444),
    ]


def _apply(tmp_path: Path, archives: Sequence[bytes]) -> list[str]:
    """Unpacks archives with the engine; returns the directories, topmost first."""
    store = _core.Store(str(tmp_path / "store"))
    diff_ids = []
    for archive in archives:
        with tarfile_on_disk(tmp_path, archive) as file:
            diff_ids.append(store.apply_layer(file.fileno(), diff_id=None, max_bytes=1 << 30).diff_id)
    return store.rootfs_lowers(diff_ids)


def tarfile_on_disk(tmp_path: Path, archive: bytes) -> io.BufferedReader:
    path = tmp_path / "layer.tar"
    path.write_bytes(archive)
    return path.open("rb")


def _gnu_tar(directory: Path, archive: bytes) -> dict[str, Node]:
    directory.mkdir()
    subprocess.run(
        [
            need_program("tar"),
            "--numeric-owner",
            "--xattrs",
            "--xattrs-include=*",
            "--warning=none",
            "-xpf",
            "-",
        ],
        cwd=directory,
        input=archive,
        check=True,
        timeout=60,
    )
    return read_tree(directory)


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT], ids=["pax", "gnu"])
def test_single_layer_beside_gnu_tar(tmp_path: Path, format: int) -> None:
    # Kept apart: podman refuses two entries of one name, and knows no time before 1970.
    further = [entry("twice", b"first"), entry("twice", b"second", mode=0o600)]
    if format == tarfile.PAX_FORMAT:
        further.append(entry("before-1970", b"4", pax={"mtime": "-86400.5"}))
    archive = archive_of([*_everything(), *further], format=format)
    (ours,) = _apply(tmp_path, [archive])
    assert differences(read_tree(Path(ours)), _gnu_tar(tmp_path / "theirs", archive)) == []


def test_archives_that_gnu_tar_writes(tmp_path: Path) -> None:
    """Sparse files in every form, and incremental-free GNU headers."""
    source = tmp_path / "source"
    source.mkdir()
    with (source / "sparse").open("wb") as sparse:
        for offset in (0, 1 << 20, 5 << 20, 30 << 20):
            sparse.seek(offset)
            sparse.write(os.urandom(5000))
        sparse.truncate(40 << 20)
    (source / "hole").touch()
    os.truncate(source / "hole", 1 << 20)
    (source / ("long" * 50)).write_bytes(b"long")
    for number, form in enumerate(
        (
            ["--format=gnu"],
            ["--format=posix", "--sparse-version=0.0"],
            ["--format=posix", "--sparse-version=0.1"],
            ["--format=posix", "--sparse-version=1.0"],
        )
    ):
        made = subprocess.run(
            [need_program("tar"), *form, "--sparse", "--numeric-owner", "-cf", "-", "."],
            cwd=source,
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
        work = tmp_path / f"form-{number}"
        work.mkdir()
        (ours,) = _apply(work, [made])
        assert differences(read_tree(Path(ours)), _gnu_tar(work / "theirs", made)) == [], form
        used = os.stat(os.path.join(ours, "sparse")).st_blocks * 512
        assert used < 1 << 20, f"{form}: the holes of a sparse file take {used} bytes"
        shutil.rmtree(work)


def _history() -> list[bytes]:
    """Three layers in which things are replaced, removed and hidden."""
    bottom = [
        entry("a/", mode=0o755),
        entry("a/keep", b"keep"),
        entry("a/remove", b"remove"),
        entry("a/sub/", mode=0o700, uid=1000, gid=1000),
        entry("a/sub/one", b"1"),
        entry("a/sub/two", b"2"),
        entry("opaque/"),
        entry("opaque/old", b"old"),
        entry("opaque/deep/"),
        entry("opaque/deep/old", b"old"),
        entry("becomes-file/"),
        entry("becomes-file/inner", b"x"),
        entry("becomes-directory", b"file"),
        entry("becomes-link/"),
        entry("becomes-link/inner", b"x"),
        entry("link-becomes-directory", kind=tarfile.SYMTYPE, link="a"),
        entry("gone/"),
        entry("gone/with", b"x"),
        entry("pair-one", b"pair"),
        entry("pair-two", kind=tarfile.LNKTYPE, link="pair-one"),
    ]
    middle = [
        entry("a/", mode=0o711),
        entry("a/.wh.remove", b""),
        entry("a/sub/.wh.one", b""),
        entry("opaque/"),
        entry("opaque/.wh..wh..opq", b""),
        entry("opaque/new", b"new"),
        entry("becomes-file", b"now a file"),
        entry("becomes-directory/"),
        entry("becomes-directory/inner", b"y"),
        entry("becomes-link", kind=tarfile.SYMTYPE, link="a"),
        entry("link-becomes-directory/", mode=0o750),
        entry("link-becomes-directory/inner", b"z"),
        entry(".wh.gone", b""),
        entry(".wh.never-was", b""),
        entry("pair-one", b"changed"),
    ]
    top = [
        entry("gone/"),
        entry("gone/again", b"again"),
        entry("a/remove", b"back"),
        entry("opaque/deep/"),
        entry("opaque/deep/new", b"new"),
        entry("becomes-file", b"a file still", mode=0o755),
        # A whiteout beside the new entry of the same name, in the order that some builders write.
        entry("a/sub/.wh.two", b""),
        entry("a/sub/three", b"3"),
    ]
    return [archive_of(members) for members in (bottom, middle, top)]


def _merged_tree(tmp_path: Path, archives: Sequence[bytes]) -> dict[str, Node]:
    with merged(_apply(tmp_path, archives), tmp_path / "merged") as root:
        return read_tree(root, directory_times=False)


def _umoci(tmp_path: Path, archives: Sequence[bytes]) -> dict[str, Node]:
    document = images.image([layers.gzip_layer(archive) for archive in archives], oci=True)
    layout = images.write_oci_layout(document, "1", tmp_path / "layout")
    subprocess.run(
        [need_program("umoci"), "unpack", "--image", f"{layout}:1", str(tmp_path / "bundle")],
        check=True,
        capture_output=True,
        timeout=120,
    )
    return read_tree(tmp_path / "bundle/rootfs", directory_times=False)


def _podman(tmp_path: Path, archives: Sequence[bytes]) -> dict[str, Node]:
    # Its run directory must have a name of at most 50 characters.
    locks = Path("/dev/shm/libpod_lock")
    had_locks = locks.exists()
    try:
        with tempfile.TemporaryDirectory(prefix="podman") as run_directory:
            return _podman_in(Path(run_directory), tmp_path, archives)
    finally:
        if not had_locks:
            locks.unlink(missing_ok=True)


def _podman_in(run_directory: Path, tmp_path: Path, archives: Sequence[bytes]) -> dict[str, Node]:
    podman = [need_program("podman"), "--storage-driver", "vfs", "--root", str(tmp_path / "podman")]
    podman += ["--runroot", str(run_directory / "run"), "--tmpdir", str(run_directory / "tmp")]
    document = images.image([layers.gzip_layer(archive) for archive in archives])
    archive = tmp_path / "image.tar"
    archive.write_bytes(images.docker_archive(document, ["oracle:1"]))
    environment = os.environ | {"HOME": str(tmp_path), "TMPDIR": str(tmp_path)}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [*podman, *arguments], capture_output=True, text=True, timeout=120, env=environment, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    run("load", "-q", "-i", str(archive))
    mounted = run("image", "mount", "oracle:1")
    try:
        return read_tree(Path(mounted), directory_times=False)
    finally:
        run("image", "umount", "oracle:1")
        run("rmi", "oracle:1")


@pytest.mark.parametrize("oracle", [_umoci, _podman], ids=["umoci", "podman"])
def test_layers_on_layers(tmp_path: Path, oracle: object) -> None:
    assert callable(oracle)
    archives = _history()
    ours = _merged_tree(tmp_path, archives)
    assert differences(ours, oracle(tmp_path, archives)) == []


@pytest.mark.parametrize("oracle", [_umoci, _podman], ids=["umoci", "podman"])
def test_every_kind_of_file(tmp_path: Path, oracle: object) -> None:
    assert callable(oracle)
    archives = [archive_of(_everything())]
    ours = _merged_tree(tmp_path, archives)
    assert differences(ours, oracle(tmp_path, archives)) == []


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_debian_beside_gnu_tar(tmp_path: Path, debian_archive: bytes) -> None:
    (ours,) = _apply(tmp_path, [debian_archive])
    assert differences(read_tree(Path(ours)), _gnu_tar(tmp_path / "theirs", debian_archive)) == []
