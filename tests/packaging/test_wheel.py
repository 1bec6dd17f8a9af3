"""What `pip install` gets: one wheel for every Python, static programs, no need for other programs."""

from __future__ import annotations

import stat
import struct
import subprocess
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

PROGRAMS = ("pyrust_ctr/_bin/pyrust-ctr-shim", "pyrust_ctr/_bin/hello-world")
PT_INTERP = 3
SHT_SYMTAB = 2


def _program_header_types(elf: bytes) -> list[int]:
    """Types of the program headers of a 64-bit ELF file (elf(5))."""
    assert elf[:5] == b"\x7fELF\x02"
    (table,) = struct.unpack_from("<Q", elf, 0x20)
    size, count = struct.unpack_from("<HH", elf, 0x36)
    return [struct.unpack_from("<I", elf, table + size * number)[0] for number in range(count)]


def _section_types(elf: bytes) -> list[int]:
    """Types of the sections of a 64-bit ELF file (elf(5))."""
    (table,) = struct.unpack_from("<Q", elf, 0x28)
    size, count = struct.unpack_from("<HH", elf, 0x3A)
    return [struct.unpack_from("<I", elf, table + size * number + 4)[0] for number in range(count)]


def test_one_wheel_for_every_python(wheel: Path) -> None:
    assert "-cp311-abi3-" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        extensions = [name for name in archive.namelist() if name.endswith(".so")]
    assert extensions == ["pyrust_ctr/_core.abi3.so"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_are_executable_and_static(wheel: Path, program: str) -> None:
    with zipfile.ZipFile(wheel) as archive:
        mode = archive.getinfo(program).external_attr >> 16
        elf = archive.read(program)
    assert stat.S_IMODE(mode) == 0o755
    assert PT_INTERP not in _program_header_types(elf), "the program wants a dynamic loader"
    assert SHT_SYMTAB not in _section_types(elf), "the program is not stripped"


def test_installed_programs_keep_their_mode(installation: Path) -> None:
    (package,) = installation.glob("lib/python3*/site-packages/pyrust_ctr")
    for program in PROGRAMS:
        assert stat.S_IMODE((package.parent / program).stat().st_mode) == 0o755


def test_sdist_holds_every_crate_and_no_built_thing(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    for crate in ("sys", "spec", "core", "shim", "py"):
        assert f"rust/{crate}/Cargo.toml" in names
    assert "rust/shim/src/main.rs" in names
    assert "Cargo.lock" in names
    assert not [
        name for name in names if name.endswith(".so") or "/_bin/" in name or name.startswith("target/")
    ]


def test_both_commands_are_the_same_program(installation: Path) -> None:
    answers = [
        subprocess.run(
            [installation / "bin" / name, "--version"], capture_output=True, timeout=60, check=True
        ).stdout
        for name in ("pctr", "pyrust-ctr")
    ]
    assert answers[0] == answers[1] != b""


@pytest.mark.root
def test_runs_where_no_other_program_is_found(installation: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [installation / "bin/pctr", "run", "--rm", "hello-world"],
        env={"PYRUST_CTR_ROOT": str(tmp_path / "state"), "PATH": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
