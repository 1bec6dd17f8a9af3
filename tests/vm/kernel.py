"""Debian's cloud kernel, taken out of its package and not installed."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.vm.errors import Unavailable

META_PACKAGE = "linux-image-cloud-amd64"


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel to boot."""

    version: str
    image: Path
    modules: Path

    def module_files(self, name: str) -> Iterator[Path]:
        """A module and what it depends on, in the order in which they are loaded."""
        found = next(self.modules.rglob(f"{name}.ko"), None)
        if found is None:
            return  # built in
        depends = re.search(rb"\0depends=([^\0]*)\0", found.read_bytes())
        for other in depends.group(1).decode().split(",") if depends else []:
            if other:
                yield from self.module_files(other)
        yield found


def fetch(place: Path) -> Kernel:
    """Download the newest kernel package into `place` and unpack it there.

    Raises: Unavailable when apt has none.
    """
    try:
        return _fetch(place)
    except Unavailable:
        # The lists of packages may be old.
        _apt("get", "update", "-qq")
        return _fetch(place)


def _fetch(place: Path) -> Kernel:
    name = re.search(r"^\s*Depends: (linux-image-\S+)", _apt("cache", "depends", META_PACKAGE), re.MULTILINE)
    if name is None:
        raise Unavailable(f"apt knows no package `{META_PACKAGE}`")
    _apt("get", "download", name.group(1), cwd=place)
    archive = next(place.glob("linux-image-*.deb"))
    subprocess.run(["dpkg-deb", "-x", archive, place / "kernel"], check=True)
    archive.unlink()
    image = next((place / "kernel/boot").glob("vmlinuz-*"))
    return Kernel(image.name.removeprefix("vmlinuz-"), image, place / "kernel/lib/modules")


def _apt(tool: str, *arguments: str, cwd: Path | None = None) -> str:
    command = [f"apt-{tool}", *arguments]
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"the kernel package could not be fetched: {error}") from error
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["no reason given"]
        raise Unavailable(f"`{' '.join(command)}` failed: {said[-1]}")
    return done.stdout
