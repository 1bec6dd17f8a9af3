"""Unpacking a layer of 60,000 small files, beside `tar -xzf` of the same archive on the same file system."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from benches.conftest import in_turns

from pyrust_ctr import _core

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES = 60_000
LARGEST = 64 << 10
ROUNDS = 5
GOAL = 1.0


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of /usr with their directories; copies of them when /usr has fewer."""
    path = tmp_path_factory.mktemp("archive") / "layer.tar.gz"
    found = list(_small_files(Path("/usr")))
    with tarfile.open(path, "w:gz", compresslevel=6, format=tarfile.PAX_FORMAT) as writer:
        folders: set[str] = set()
        for number in range(FILES):
            copy, index = divmod(number, len(found))
            source = found[index]
            name = f"{copy}{source}"
            for folder in reversed(Path(name).parents[:-1]):
                if str(folder) not in folders:
                    folders.add(str(folder))
                    info = tarfile.TarInfo(str(folder))
                    info.type, info.mode, info.mtime = tarfile.DIRTYPE, 0o755, 1_700_000_000
                    writer.addfile(info)
            info = writer.gettarinfo(source, name)
            if not info.isreg():  # a hard link to a file that is in already
                info.type, info.size = tarfile.REGTYPE, source.stat().st_size
            with source.open("rb") as data:
                writer.addfile(info, data)
    return path


def _small_files(top: Path) -> Iterator[Path]:
    for folder, directories, names in os.walk(top):
        directories.sort()
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink() and path.stat().st_size <= LARGEST:
                yield path


def bench_apply_beside_tar(archive: Path, tmp_path: Path) -> None:
    def ours() -> float:
        directory = tmp_path / "store"
        store = _core.Store(str(directory))
        os.sync()
        begun = time.perf_counter()
        with archive.open("rb") as file:
            info = store.apply_layer(file.fileno(), diff_id=None, max_bytes=1 << 34)
        taken = time.perf_counter() - begun
        assert info.entries > FILES
        shutil.rmtree(directory)
        return taken

    def theirs() -> float:
        directory = tmp_path / "tar"
        directory.mkdir()
        os.sync()
        begun = time.perf_counter()
        subprocess.run(["tar", "-xzf", archive, "-C", directory], check=True)
        taken = time.perf_counter() - begun
        shutil.rmtree(directory)
        return taken

    compared = in_turns(ours, theirs, rounds=ROUNDS, warm_up=1)
    print(compared.report(f"a layer of {FILES} files", "`tar -xzf`"))
    assert compared.ratio < GOAL, f"applying takes {compared.ratio:.2f} of tar's time"
