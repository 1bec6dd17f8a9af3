"""Attackers' tools: images made for an attack, and code that runs inside a container with any system call."""

from __future__ import annotations

import json
import os
import platform
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support import images, layers
from tests.support.layers import archive_of, entry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyrust_ctr import Engine

Member = tuple[tarfile.TarInfo, bytes]

INTERPRETER = os.path.realpath(sys.executable)
"""Where this interpreter lies on the machine's own root; the `host` image has it there too."""

PRELUDE = """
import ctypes, errno, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    \"\"\"The name of the error, or the result as a text.\"\"\"
    ctypes.set_errno(0)
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    result = libc.syscall(ctypes.c_long(number), *words)
    return errno.errorcode.get(ctypes.get_errno(), "?") if result == -1 else str(result)
def attempt(action):
    try:
        return repr(action())
    except OSError as error:
        return errno.errorcode[error.errno]
def write(path, text, flags=os.O_WRONLY):
    def action():
        with os.fdopen(os.open(path, flags), "w", closefd=True) as file:
            file.write(text)
    return attempt(action)
answer = {}
"""


def inside(engine: Engine, code: str, **options: Any) -> dict[str, Any]:
    """Runs Python in a container of the `host` image; returns what `code` put into `answer`."""
    if INTERPRETER.startswith(("/tmp/", "/run/")):
        pytest.skip("the interpreter lies where the `host` image has directories of its own")
    script = PRELUDE + code + "\nprint(json.dumps(answer))"
    command = [INTERPRETER, "-I", "-S", "-c", script]
    result = engine.run("host", command, **options)
    assert result.exit_code == 0, result
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def need_x86_64() -> None:
    """Skips the test where its numbers of system calls do not apply."""
    if platform.machine() != "x86_64":
        pytest.skip("the numbers of the system calls are those of x86-64")


def link(name: str, to: str) -> Member:
    """A symbolic link."""
    return entry(name, kind=tarfile.SYMTYPE, link=to)


def attack_image(
    engine: Engine,
    members: Sequence[Member] = (),
    *,
    config: Mapping[str, Any] | None = None,
    name: str = "attack:1",
) -> str:
    """Loads busybox with a second layer of `members`; returns the image's name."""
    stack = [layers.plain_layer(layers.busybox_archive())]
    if members:
        stack.append(layers.plain_layer(archive_of(members)))
    archive = Path(engine.root).with_name("attack.tar")
    archive.write_bytes(images.docker_archive(images.image(stack, config=config), [name]))
    engine.images.load(archive)
    archive.unlink()
    return name
