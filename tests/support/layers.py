"""Layer archives made by code, and the forms in which registries keep them."""

from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.processes import need_program

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BUSYBOX = Path("/bin/busybox")
DOCKER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_PLAIN = "application/vnd.docker.image.rootfs.diff.tar"
OCI_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_PLAIN = "application/vnd.oci.image.layer.v1.tar"
OCI_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"


def sha256(data: bytes) -> str:
    """The digest of `data`, `sha256:…`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer as a registry keeps it."""

    archive: bytes
    """Uncompressed."""
    blob: bytes
    media_type: str

    @property
    def diff_id(self) -> str:
        return sha256(self.archive)

    @property
    def digest(self) -> str:
        return sha256(self.blob)


def gzip_layer(archive: bytes, *, members: int = 1, media_type: str = DOCKER_GZIP) -> Layer:
    """Compressed as `members` gzip members, one behind the other, as RFC 1952 allows."""
    step = max(1, -(-len(archive) // members))
    parts = [archive[start : start + step] for start in range(0, len(archive), step)] or [b""]
    return Layer(archive, b"".join(gzip.compress(part, 6, mtime=0) for part in parts), media_type)


def zstd_layer(archive: bytes) -> Layer:
    """Compressed by the `zstd` program."""
    done = subprocess.run(
        [need_program("zstd"), "-q", "-3", "-c"], input=archive, capture_output=True, check=True, timeout=60
    )
    return Layer(archive, done.stdout, OCI_ZSTD)


def plain_layer(archive: bytes, media_type: str = OCI_PLAIN) -> Layer:
    """Not compressed."""
    return Layer(archive, archive, media_type)


def entry(
    name: str,
    data: bytes | None = None,
    *,
    kind: bytes | None = None,
    mode: int | None = None,
    link: str = "",
    uid: int = 0,
    gid: int = 0,
    mtime: int = 1_700_000_000,
    device: tuple[int, int] = (0, 0),
    pax: Mapping[str, str] | None = None,
) -> tuple[tarfile.TarInfo, bytes]:
    """One archive member: a file when `data` is given, else a directory, else what `kind` says."""
    info = tarfile.TarInfo(name)
    info.type = kind if kind is not None else (tarfile.DIRTYPE if data is None else tarfile.REGTYPE)
    info.mode = mode if mode is not None else (0o755 if info.type == tarfile.DIRTYPE else 0o644)
    info.linkname = link
    info.uid, info.gid, info.mtime = uid, gid, mtime
    info.devmajor, info.devminor = device
    info.pax_headers = dict(pax or {})
    info.size = len(data or b"")
    return info, data or b""


def archive_of(
    entries: Iterable[tuple[tarfile.TarInfo, bytes]], *, format: int = tarfile.PAX_FORMAT
) -> bytes:
    """The archive of `entries`, in their order."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=format) as writer:
        for info, data in entries:
            writer.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def busybox_archive() -> bytes:
    """A root file system around the static busybox: every applet as a link, users, a world-writable /tmp."""
    if not BUSYBOX.exists():
        import pytest

        pytest.skip("`busybox-static` is not installed")
    listed = subprocess.run(
        [str(BUSYBOX), "--list-full"], capture_output=True, check=True, timeout=20, text=True
    )
    applets = [name for name in listed.stdout.split() if name not in {"bin/busybox", "linuxrc"}]
    folders = [
        "bin",
        "dev",
        "etc",
        "home",
        "home/app",
        "proc",
        "root",
        "sbin",
        "sys",
        "usr",
        "usr/bin",
        "usr/sbin",
    ]
    folders += ["var", "var/log"]
    entries = [entry(f"{folder}/", mode=0o755) for folder in folders]
    entries.append(entry("tmp/", mode=0o1777))
    entries.append(entry("bin/busybox", BUSYBOX.read_bytes(), mode=0o755))
    for applet in applets:
        entries.append(entry(applet, kind=tarfile.SYMTYPE, link="/bin/busybox", mode=0o777))
    passwd = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:App:/home/app:/bin/sh\n"
    passwd += "nobody:x:65534:65534::/:/bin/false\n"
    group = "root:x:0:\napp:x:1001:\nextra:x:2000:app\nnogroup:x:65534:\n"
    entries.append(entry("etc/passwd", passwd.encode()))
    entries.append(entry("etc/group", group.encode()))
    entries.append(entry("etc/os-release", b'NAME="busybox test image"\n'))
    return archive_of(entries)
