"""A minimal Debian root file system from this machine's own package sources."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from tests.support.processes import need_program

if TYPE_CHECKING:
    from pathlib import Path


def minimal_debian(directory: Path) -> bytes:
    """An archive with dpkg, bash, coreutils: real owners, links, setuid programs."""
    archive = directory / "debian.tar"
    command = [
        need_program("mmdebstrap"),
        "--quiet",
        "--variant=essential",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "bookworm",
        str(archive),
    ]
    # On failure it sends a hang-up to its whole process group.
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, start_new_session=True
    )
    if done.returncode != 0:
        pytest.skip(f"mmdebstrap cannot make an image here: {done.stderr.strip().splitlines()[-1:]}")
    return archive.read_bytes()
