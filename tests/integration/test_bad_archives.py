"""Archives that attack or are damaged, and disks that are full: refused, and nothing kept."""

from __future__ import annotations

import gc
import gzip
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest
from tests.support import images, layers
from tests.support.layers import archive_of, entry
from tests.support.processes import need_program
from tests.support.trees import read_tree

from pyrust_ctr import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.registry import RegistryServer

    from pyrust_ctr import Engine

pytestmark = pytest.mark.root

UP = "../" * 40
LINK, SYMLINK = tarfile.LNKTYPE, tarfile.SYMTYPE


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A directory outside of every layer, which no archive may touch."""
    directory = tmp_path / "canary"
    directory.mkdir()
    (directory / "precious").write_bytes(b"precious")
    os.chmod(directory / "precious", 0o600)
    before = read_tree(tmp_path / "canary")
    yield directory
    assert read_tree(directory) == before
    assert (directory / "precious").stat().st_nlink == 1


# Each makes the members of a layer for the path of the canary, without its leading slash.
ATTACKS: dict[str, Callable[[str], list[tuple[tarfile.TarInfo, bytes]]]] = {
    "climbs-up": lambda canary: [entry(f"{UP}{canary}/new", b"x")],
    "climbs-up-in-the-middle": lambda canary: [entry("a/"), entry(f"a/{UP}{canary}/new", b"x")],
    "absolute": lambda canary: [entry(f"/{canary}/new", b"x")],
    "directory-climbs-up": lambda canary: [entry(f"{UP}{canary}/new/")],
    "through-absolute-symlink": lambda canary: [
        entry("a", kind=SYMLINK, link=f"/{canary}"),
        entry("a/new", b"x"),
    ],
    "through-relative-symlink": lambda canary: [
        entry("a", kind=SYMLINK, link=UP + canary),
        entry("a/new", b"x"),
    ],
    "through-two-symlinks": lambda canary: [
        entry("a", kind=SYMLINK, link="b"),
        entry("b", kind=SYMLINK, link=f"/{canary}"),
        entry("a/new", b"x"),
    ],
    "over-a-symlink": lambda canary: [
        entry("a", kind=SYMLINK, link=f"/{canary}/precious"),
        entry("a", b"changed"),
    ],
    "directory-over-a-symlink": lambda canary: [
        entry("a", kind=SYMLINK, link=f"/{canary}"),
        entry("a/", mode=0o777),
        entry("a/new", b"x"),
    ],
    "hard-link-climbs-up": lambda canary: [entry("a", kind=LINK, link=f"{UP}{canary}/precious")],
    "hard-link-absolute": lambda canary: [entry("a", kind=LINK, link=f"/{canary}/precious")],
    "hard-link-through-a-symlink": lambda canary: [
        entry("a", kind=SYMLINK, link=f"/{canary}"),
        entry("b", kind=LINK, link="a/precious"),
        entry("b", b"changed"),
    ],
    "mode-through-a-hard-link-to-a-symlink": lambda canary: [
        entry("a", kind=SYMLINK, link=f"/{canary}/precious"),
        entry("b", kind=LINK, link="a", mode=0o777),
    ],
    "whiteout-climbs-up": lambda canary: [entry(f"{UP}{canary}/.wh.precious", b"")],
    "whiteout-through-a-symlink": lambda canary: [
        entry("a", kind=SYMLINK, link=f"/{canary}"),
        entry("a/.wh.precious", b""),
    ],
    "whiteout-of-dot-dot": lambda _: [entry(".wh...", b"")],
    "whiteout-of-dot": lambda _: [entry(".wh..", b"")],
    "whiteout-of-nothing": lambda _: [entry(".wh.", b"")],
    "opaque-through-a-symlink": lambda canary: [
        entry("a", kind=SYMLINK, link=f"/{canary}"),
        entry("a/.wh..wh..opq", b""),
    ],
    "device-through-a-symlink": lambda canary: [
        entry("a", kind=SYMLINK, link=f"/{canary}"),
        entry("a/disk", kind=tarfile.BLKTYPE, device=(8, 0)),
    ],
    "attribute-through-a-symlink": lambda canary: [
        entry("a", kind=SYMLINK, link=f"/{canary}/precious", pax={"SCHILY.xattr.user.evil": "1"}),
    ],
    "root-is-a-symlink": lambda canary: [
        entry("./", kind=SYMLINK, link=f"/{canary}"),
        entry("new", b"x"),
    ],
    "root-is-a-file": lambda _: [entry(".", b"x")],
    "name-too-long": lambda _: [entry("n" * 256, b"x")],
    "path-too-long": lambda _: [entry("d/" * 2500 + "x", b"x")],
}

MUST_BE_REFUSED = {
    "climbs-up",
    "directory-climbs-up",
    "hard-link-climbs-up",
    "hard-link-through-a-symlink",
    "whiteout-climbs-up",
    "whiteout-of-dot-dot",
    "name-too-long",
}


def _load(engine: Engine, tmp_path: Path, archive: bytes) -> None:
    document = images.image([layers.plain_layer(archive)])
    (tmp_path / "image.tar").write_bytes(images.docker_archive(document, ["attack:1"]))
    engine.images.load(tmp_path / "image.tar")


@pytest.mark.parametrize("attack", ATTACKS)
def test_attack(engine: Engine, tmp_path: Path, canary: Path, attack: str) -> None:
    archive = archive_of(ATTACKS[attack](str(canary).lstrip("/")))
    try:
        _load(engine, tmp_path, archive)
    except errors.ContentError as refusal:
        assert "\n" not in refusal.message
        assert engine.images.list() == []
    else:
        assert attack not in MUST_BE_REFUSED, "the archive was accepted"


def test_attack_on_a_lower_layer(engine: Engine, tmp_path: Path, canary: Path) -> None:
    """A symlink of one layer is no way out for the next one, which is unpacked apart from it."""
    bottom = archive_of([entry("a", kind=SYMLINK, link=str(canary))])
    top = archive_of([entry("a/new", b"x"), entry("a/.wh.precious", b"")])
    document = images.image([layers.plain_layer(bottom), layers.plain_layer(top)])
    (tmp_path / "image.tar").write_bytes(images.docker_archive(document, ["attack:1"]))
    engine.images.load(tmp_path / "image.tar")


def test_overlay_attributes_are_not_smuggled(engine: Engine, tmp_path: Path, state_dir: Path) -> None:
    evil = {
        "SCHILY.xattr.trusted.overlay.redirect": "/etc",
        "SCHILY.xattr.trusted.overlay.metacopy": "1",
        "SCHILY.xattr.user.overlay.redirect": "/etc",
    }
    try:
        _load(engine, tmp_path, archive_of([entry("a/", pax=evil), entry("a/b", b"x", pax=evil)]))
    except errors.ContentError:
        return
    for folder, directories, files in os.walk(state_dir):
        for name in (*directories, *files):
            found = os.listxattr(os.path.join(folder, name), follow_symlinks=False)
            assert not [
                attribute for attribute in found if "redirect" in attribute or "metacopy" in attribute
            ]


@pytest.mark.parametrize(
    "blob",
    [
        b"this is no archive at all " * 40,
        archive_of([entry("file", os.urandom(100_000))])[:50_000],
        gzip.compress(archive_of([entry("file", os.urandom(100_000))]))[:50_000],
        gzip.compress(archive_of([entry("file", b"x")])) + b"trailing garbage" * 100,
        gzip.compress(b"\0" * 100),
        b"",
    ],
    ids=["nonsense", "cut-tar", "cut-gzip", "garbage-behind-gzip", "half-a-block", "empty"],
)
def test_damaged_layer(engine: Engine, tmp_path: Path, blob: bytes) -> None:
    layer = layers.Layer(blob, blob, layers.DOCKER_GZIP)
    (tmp_path / "image.tar").write_bytes(images.docker_archive(images.image([layer]), ["damaged:1"]))
    try:
        engine.images.load(tmp_path / "image.tar")
    except errors.ContentError:
        assert engine.images.list() == []


@pytest.mark.parametrize("size", [1 << 40, -1, -(1 << 62)], ids=["terabyte", "minus-one", "very-negative"])
def test_size_that_lies(engine: Engine, tmp_path: Path, size: int) -> None:
    archive = bytearray(archive_of([entry("file", b"x" * 1000)]))
    # The size field in base 256 (GNU): a marker byte, then a big-endian number in two's complement.
    field = size.to_bytes(12, "big", signed=True)
    archive[124:136] = bytes([0x80 if size >= 0 else 0xFF]) + field[1:]
    archive[148:156] = b" " * 8
    archive[148:156] = b"%06o\0 " % sum(archive[:512])
    with pytest.raises(errors.ContentError):
        _load(engine, tmp_path, bytes(archive))
    assert engine.images.list() == []


def test_bomb(engine: Engine, registry: RegistryServer, state_dir: Path) -> None:
    """A small blob that unpacks to much more than is allowed."""
    state_dir.mkdir(exist_ok=True)
    (state_dir / "config.toml").write_text(f"max_layer_bytes = {32 << 20}\n")
    import pyrust_ctr

    bomb = layers.gzip_layer(archive_of([entry("zeros", b"\0" * (128 << 20))]))
    reference = images.push(registry, "bad/bomb", "1", images.image([bomb]))
    with pyrust_ctr.Engine(root=state_dir) as careful, pytest.raises(errors.TooLarge):
        careful.images.pull(reference)
    assert sum(path.stat().st_size for path in state_dir.rglob("*") if path.is_file()) < 16 << 20


# --- no space ---------------------------------------------------------------------------------------


@pytest.fixture
def small_state(nothing_left: None, tmp_path: Path) -> Iterator[Path]:
    """A state directory on a file system of 12 MiB."""
    directory = tmp_path / "small"
    directory.mkdir()
    mount, umount = need_program("mount"), need_program("umount")
    subprocess.run([mount, "-t", "tmpfs", "-o", "size=12m", "small", directory], check=True, timeout=30)
    try:
        yield directory
    finally:
        # A caught exception and its frames hold each other, and with them the engine's descriptors.
        gc.collect()
        # Lazily: a failed test may keep an engine, and with it the directory, alive.
        subprocess.run([umount, "-l", directory], check=True, timeout=30)


def test_no_space_for_a_layer(small_state: Path, registry: RegistryServer, busybox_reference: str) -> None:
    import pyrust_ctr

    large = layers.plain_layer(archive_of([entry("large", os.urandom(24 << 20))]))
    reference = images.push(registry, "bad/large", "1", images.image([large], oci=True))
    with pyrust_ctr.Engine(root=small_state) as engine:
        with pytest.raises(errors.NoSpace) as failure:
            engine.images.pull(reference)
        assert "\n" not in failure.value.message
        assert engine.images.list() == []
        status = os.statvfs(small_state)
        assert (status.f_blocks - status.f_bfree) * status.f_frsize < 2 << 20, "the space was not given back"
        engine.images.pull(busybox_reference)
        assert engine.run(busybox_reference, ["echo", "hi"]).stdout == b"hi\n"
