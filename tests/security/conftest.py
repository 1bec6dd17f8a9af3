"""Canaries: what belongs to the machine and must stay as it is, whatever a container does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.trees import read_tree

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A directory of the machine with a file in it, compared at the end; nothing was mounted on it either."""
    directory = tmp_path / "canary"
    directory.mkdir()
    (directory / "precious").write_bytes(b"precious")
    os.chmod(directory / "precious", 0o600)
    (directory / "folder").mkdir()
    before = read_tree(directory)
    yield directory
    assert read_tree(directory) == before
    assert (directory / "precious").stat().st_nlink == 1
    assert str(directory) not in Path("/proc/self/mountinfo").read_text()
