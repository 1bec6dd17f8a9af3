"""File trees as data, to compare what two programs made of one archive."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from tests.support.layers import sha256
from tests.support.processes import need_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

# The engine's own, and what overlayfs keeps for itself.
_PRIVATE_ATTRIBUTES = ("trusted.overlay.", "user.overlay.", "trusted.pyrust_ctr.", "user.pyrust_ctr.")


@dataclass(frozen=True, slots=True)
class Node:
    """Everything that an archive says about one file."""

    kind: int
    mode: int
    owner: tuple[int, int]
    content: str
    """Digest of a regular file, target of a symbolic link, empty otherwise."""
    device: int
    links: tuple[str, ...]
    """Every name of a regular file with more than one."""
    attributes: tuple[tuple[str, bytes], ...]
    mtime_ns: int


def read_tree(root: Path, *, directory_times: bool = True) -> dict[str, Node]:
    """Every file below `root`, by its name relative to it; the root itself is left out."""
    statuses: dict[str, os.stat_result] = {}
    names: dict[tuple[int, int], list[str]] = {}
    for folder, directories, files in os.walk(root):
        for name in (*directories, *files):
            path = os.path.join(folder, name)
            relative = os.path.relpath(path, root)
            status = os.lstat(path)
            statuses[relative] = status
            if stat.S_ISREG(status.st_mode):
                names.setdefault((status.st_dev, status.st_ino), []).append(relative)
    tree: dict[str, Node] = {}
    for relative, status in sorted(statuses.items()):
        same = names.get((status.st_dev, status.st_ino), [])
        is_timed = directory_times or not stat.S_ISDIR(status.st_mode)
        tree[relative] = Node(
            kind=stat.S_IFMT(status.st_mode),
            mode=stat.S_IMODE(status.st_mode),
            owner=(status.st_uid, status.st_gid),
            content=_content(root / relative, status),
            device=status.st_rdev,
            links=tuple(sorted(same)) if len(same) > 1 else (),
            attributes=_attributes(root / relative),
            mtime_ns=status.st_mtime_ns if is_timed else 0,
        )
    return tree


def differences(ours: Mapping[str, Node], theirs: Mapping[str, Node]) -> list[str]:
    """One line for each thing in which two trees differ."""
    found = [f"only ours: {name}" for name in sorted(ours.keys() - theirs.keys())]
    found += [f"only theirs: {name}" for name in sorted(theirs.keys() - ours.keys())]
    for name in sorted(ours.keys() & theirs.keys()):
        mine, other = asdict(ours[name]), asdict(theirs[name])
        found += [
            f"{name}: {field} is {mine[field]!r} here and {other[field]!r} there"
            for field in mine
            if mine[field] != other[field]
        ]
    return found


@contextmanager
def merged(lowers: Sequence[str], mount_point: Path) -> Iterator[Path]:
    """The layers of an image (topmost first) as one tree, read-only."""
    import subprocess

    if len(lowers) == 1:
        from pathlib import Path as RealPath

        yield RealPath(lowers[0])
        return
    mount_point.mkdir()
    mount, umount = need_program("mount"), need_program("umount")
    options = "ro,lowerdir=" + ":".join(lowers)
    subprocess.run([mount, "-t", "overlay", "overlay", "-o", options, mount_point], check=True, timeout=30)
    try:
        yield mount_point
    finally:
        subprocess.run([umount, mount_point], check=True, timeout=30)


def _content(path: Path, status: os.stat_result) -> str:
    if stat.S_ISREG(status.st_mode):
        return sha256(path.read_bytes())
    return os.readlink(path) if stat.S_ISLNK(status.st_mode) else ""


def _attributes(path: Path) -> tuple[tuple[str, bytes], ...]:
    names = os.listxattr(path, follow_symlinks=False)
    kept = [name for name in names if not name.startswith(_PRIVATE_ATTRIBUTES)]
    return tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in sorted(kept))
