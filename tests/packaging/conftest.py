"""The source distribution of this checkout, and the wheel that is built from it alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


def _run(*command: str | Path, cwd: Path = ROOT) -> None:
    # The release dependencies of the checkout's own target directory are used again.
    environment = os.environ | {
        "CARGO_TARGET_DIR": os.environ.get("CARGO_TARGET_DIR", str(ROOT / "target")),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution."""
    if shutil.which("cargo") is None:
        pytest.skip("`cargo` is not installed")
    directory = tmp_path_factory.mktemp("sdist")
    _run(Path(sys.executable).with_name("maturin"), "sdist", "-o", directory)
    (archive,) = directory.glob("*.tar.gz")
    return archive


@pytest.fixture(scope="session")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built outside of the checkout from nothing but the source distribution."""
    directory = tmp_path_factory.mktemp("wheel")
    _run(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        directory,
        sdist,
        cwd=directory,
    )
    (built,) = directory.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def installation(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A fresh virtual environment in which the wheel and its dependencies are installed, and nothing else."""
    directory = tmp_path_factory.mktemp("installation") / "venv"
    _run(sys.executable, "-m", "venv", "--without-pip", directory)
    _run(sys.executable, "-m", "pip", "--python", directory / "bin/python", "install", "-q", wheel)
    yield directory
    shutil.rmtree(directory)
