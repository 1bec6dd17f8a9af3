"""The two images that need no network: `hello-world`, a static program of this package, and `host`, the
machine's own root.

They are made when they are first asked for and nothing here has their name. A pulled image of that name wins.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
from typing import Any

from pyrust_ctr import paths
from pyrust_ctr.errors import StateError
from pyrust_ctr.images import content
from pyrust_ctr.images.context import ImageContext, now_ns
from pyrust_ctr.images.platform import host_platform
from pyrust_ctr.models.image import Image, ImageKind
from pyrust_ctr.refs import Reference

HELLO_WORLD = Reference.parse("hello-world").canonical
HOST = Reference.parse("host").canonical
NAMES = frozenset({HELLO_WORLD, HOST})

MANIFEST_TYPE = "builtin"
"""Stands in the row's `manifest_type` and says that the image came from here."""

_PROGRAM = "hello-world"
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SOURCE_LABEL = "io.pyrust-ctr.program"


def is_current(context: ImageContext, image: Image) -> bool:
    """Whether a built-in image is what this installation would make: an upgrade brings another program."""
    if image.manifest_type != MANIFEST_TYPE or HELLO_WORLD not in image.references:
        return True
    config = content.config_of(context, image, image.short_id)
    return config.labels.get(_SOURCE_LABEL) == _program_digest(_stamp())


def make(context: ImageContext, canonical: str) -> Image:
    """Makes the built-in image of that canonical name."""
    with content.adding(context):
        if canonical == HOST:
            return _put(context, HOST, "host", _config(["/bin/sh"], {}, ()), ())
        program = _program()
        archive = _layer(program)
        diff_id = _digest(archive)
        _apply(context, archive, diff_id)
        config = _config([f"/{_PROGRAM}"], {_SOURCE_LABEL: _digest(program)}, (diff_id,))
        return _put(context, HELLO_WORLD, "layers", config, (diff_id,))


def _put(
    context: ImageContext, canonical: str, kind: ImageKind, config: dict[str, Any], layers: tuple[str, ...]
) -> Image:
    data = json.dumps(config, separators=(",", ":"), sort_keys=True).encode()
    infos = [context.store.layer(diff_id) for diff_id in layers]
    image = Image(
        id=context.store.put_blob(data),
        manifest_digest="",
        manifest_type=MANIFEST_TYPE,
        platform=str(host_platform()),
        layers=layers,
        size_bytes=sum(info.disk_bytes for info in infos if info is not None),
        created_at_ns=0,
        pulled_at_ns=now_ns(),
        kind=kind,
    )
    return context.table.put(image, (canonical,))


def _config(command: list[str], labels: dict[str, str], diff_ids: tuple[str, ...]) -> dict[str, Any]:
    machine = host_platform()
    config: dict[str, Any] = {
        "os": machine.os,
        "architecture": machine.architecture,
        "config": {"Cmd": command, "Env": [_PATH], "WorkingDir": "/", "Labels": labels},
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
    }
    if machine.variant:
        config["variant"] = machine.variant
    return config


def _program() -> bytes:
    file = paths.binary(_PROGRAM)
    try:
        return file.read_bytes()
    except OSError as cause:
        raise StateError(
            f"this installation is incomplete: cannot read `{file}`: {cause.strerror}",
            hint="Install the package again.",
        ) from cause


def _stamp() -> tuple[int, int, int, int]:
    """Changes whenever another program is installed."""
    try:
        status = paths.binary(_PROGRAM).stat()
    except OSError:
        return (0, 0, 0, 0)
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=1)
def _program_digest(_stamp: tuple[int, int, int, int]) -> str:
    """Asked for on every start, and a whole program to hash."""
    return _digest(_program())


def _layer(program: bytes) -> bytes:
    """The same archive for the same program: no times, no names of users."""
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        entry = tarfile.TarInfo(_PROGRAM)
        entry.size = len(program)
        entry.mode = 0o755
        archive.addfile(entry, io.BytesIO(program))
    return buffer.getvalue()


def _apply(context: ImageContext, archive: bytes, diff_id: str) -> None:
    if context.store.layer(diff_id) is not None:
        return
    descriptor = os.memfd_create(_PROGRAM, os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "r+b") as file:
        file.write(archive)
        file.flush()
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        context.store.apply_layer(file.fileno(), diff_id=diff_id, max_bytes=2 * len(archive))


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
