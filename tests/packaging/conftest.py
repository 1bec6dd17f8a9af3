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
# Compiled dependencies are kept for the next run, apart from the checkout's: cargo takes crates of one
# workspace-relative path for the same, and believes the old time stamps of a source distribution.
TARGET = ROOT / "target/from-sdist"
CRATES = ("ctr-sys", "ctr-spec", "ctr-core", "ctr-shim", "ctr-py")


def _run(*command: str | Path, cwd: Path = ROOT) -> None:
    environment = os.environ | {
        "CARGO_TARGET_DIR": str(TARGET),
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
    assert done.returncode == 0, f"{command}\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}"


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
    if TARGET.exists():
        _run("cargo", "clean", "-q", "--release", *(word for crate in CRATES for word in ("-p", crate)))
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
