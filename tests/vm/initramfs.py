"""The file system that the machine boots into: busybox, the test programs, modules; an archive made here."""

import os
import stat
from pathlib import Path

from tests.vm.errors import Unavailable
from tests.vm.kernel import Kernel
from tests.vm.programs import Programs

MODULES = ["overlay", "brd"]
DIRECTORIES = ["bin", "dev", "etc", "lib/modules", "mnt", "proc", "run", "sys", "t/deps", "tmp", "var"]


class Archive:
    """A cpio archive of the form `newc` (`Documentation/driver-api/early-userspace/buffer-format.rst`)."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._names: set[str] = set()

    def directory(self, name: str) -> None:
        """A directory and those above it."""
        parts = name.split("/")
        for depth in range(1, len(parts) + 1):
            above = "/".join(parts[:depth])
            if above not in self._names:
                self._member(above, stat.S_IFDIR | 0o755, b"")

    def file(self, name: str, content: bytes, mode: int = 0o755) -> None:
        """A regular file."""
        self.directory(os.path.dirname(name))
        self._member(name, stat.S_IFREG | mode, content)

    def close(self) -> None:
        """Write the end."""
        self._member("TRAILER!!!", 0, b"")
        self._file.close()

    def _member(self, name: str, mode: int, content: bytes) -> None:
        self._names.add(name)
        raw = name.encode() + b"\0"
        fields = [len(self._names), mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(raw), 0]
        head = b"070701" + b"".join(b"%08x" % field for field in fields) + raw
        for part in (head, content):
            self._file.write(part + b"\0" * (-len(part) % 4))


def make(path: Path, kernel: Kernel, programs: Programs, init: bytes) -> None:
    """Write the archive.

    Raises: Unavailable without a static busybox.
    """
    archive = Archive(path)
    for name in DIRECTORIES:
        archive.directory(name)
    archive.file("bin/busybox", _busybox())
    archive.file("init", init)
    archive.file("etc/passwd", b"root:x:0:0::/:/bin/sh\n", 0o644)
    files = [file for name in MODULES for file in kernel.module_files(name)]
    for number, file in enumerate(files):
        archive.file(f"lib/modules/{number:02}-{file.name}", file.read_bytes(), 0o644)
    for name, program in programs.suites.items():
        archive.file(f"t/deps/{name}", program.read_bytes())
    archive.file("t/pyrust-ctr-shim", programs.shim.read_bytes())
    for name, library in programs.libraries.items():
        archive.file(name.lstrip("/"), library.read_bytes())
    archive.close()


def _busybox() -> bytes:
    for path in (Path("/bin/busybox"), Path("/usr/bin/busybox")):
        if path.exists():
            content = path.read_bytes()
            if b"/ld-linux" not in content:
                return content
    raise Unavailable("there is no static busybox (package `busybox-static`)")
