"""The `host` image: programs of the machine, and nothing of it can be changed or reached."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.security.attacks import inside
from tests.support.trees import read_tree

import pyrust_ctr

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root


@pytest.fixture
def place(nothing_left: None) -> Iterator[Path]:
    """A directory that a container on the `host` image sees: not below `/tmp` or `/run`."""
    directory = Path(tempfile.mkdtemp(prefix="security-", dir="/var/tmp"))
    yield directory
    shutil.rmtree(directory)


def test_nothing_of_the_machine_changes(place: Path) -> None:
    work = place / "work"
    work.mkdir()
    (work / "folder").mkdir()
    (work / "file").write_text("precious")
    (work / "link").symlink_to("file")
    code = (
        f"os.chdir({str(work)!r})\n"
        "answer['before'] = sorted(os.listdir('.'))\n"
        "write('file', 'evil'); write('new', 'x', os.O_WRONLY | os.O_CREAT)\n"
        "os.chmod('file', 0o777); os.chown('file', 1, 1); os.utime('file', (1, 1))\n"
        "os.link('file', 'hard'); os.rename('file', 'moved'); os.rmdir('folder')\n"
        "os.unlink('link'); os.mkfifo('fifo')\n"
        "os.truncate('moved', 0)\n"
        "answer['after'] = sorted(os.listdir('.'))\n"
        "answer['removed'] = attempt(lambda: os.unlink('/etc/passwd'))\n"
        "answer['root'] = attempt(lambda: os.mkdir('/evil-directory'))\n"
    )
    before = read_tree(work)
    with pyrust_ctr.Engine(root=place / "state") as engine:
        answer = inside(engine, code)
    assert answer["before"] == ["file", "folder", "link"]
    assert answer["after"] == ["fifo", "hard", "moved", "new"]
    assert read_tree(work) == before
    assert os.path.exists("/etc/passwd")
    assert not os.path.exists("/evil-directory")


@pytest.mark.parametrize("through", ["itself", "a link", "a link above"])
def test_the_engines_state_is_hidden(place: Path, through: str) -> None:
    real = place / "real" / "state"
    real.parent.mkdir()
    root = real
    if through == "a link":
        real.mkdir()
        (place / "link").symlink_to(real)
        root = place / "link"
    elif through == "a link above":
        (place / "above").symlink_to(real.parent)
        root = place / "above" / "state"
    with pyrust_ctr.Engine(root=root) as engine:
        code = (
            f"for path in ({str(real)!r}, {str(root)!r}):\n"
            "    answer[path] = sorted(os.listdir(path))\n"
            "    answer[path + ' write'] = write(path + '/x', 'x', os.O_WRONLY | os.O_CREAT)\n"
            "    answer[path + ' database'] = attempt(lambda: os.open(path + '/state.db', os.O_RDONLY))\n"
        )
        answer = inside(engine, code)
    assert (real / "state.db").exists()
    for path in {str(real), str(root)}:
        assert answer[path] == []
        assert answer[f"{path} write"] in {"EROFS", "EACCES"}
        assert answer[f"{path} database"] == "ENOENT"


def test_other_file_systems_are_the_containers_own(place: Path) -> None:
    with tempfile.NamedTemporaryFile(dir="/tmp") as mine, pyrust_ctr.Engine(root=place / "state") as engine:
        code = (
            f"answer['file'] = os.path.exists({mine.name!r})\n"
            "for path in ('/tmp', '/run', '/dev/shm'):\n"
            "    answer[path] = os.listdir(path)\n"
            "    answer[path + ' write'] = write(path + '/evil', 'x', os.O_WRONLY | os.O_CREAT)\n"
            "answer['processes'] = sum(name.isdigit() for name in os.listdir('/proc'))\n"
            "disks = ('sd', 'vd', 'nvme', 'loop', 'dm-')\n"
            "answer['disks'] = [name for name in os.listdir('/dev') if name.startswith(disks)]\n"
            "answer['links'] = os.listdir('/sys/class/net')\n"
        )
        answer = inside(engine, code)
    assert answer["file"] is False
    assert answer["/tmp"] == []
    assert answer["/run"] == []
    assert answer["processes"] == 1
    assert answer["disks"] == []
    assert answer["links"] == ["lo"]
    assert not any(os.path.exists(f"{path}/evil") for path in ("/tmp", "/run", "/dev/shm"))


def test_sockets_and_pipes_of_the_machine_lead_nowhere(place: Path) -> None:
    """Who could talk to a daemon of the machine by its socket file could do what that daemon can."""
    path = place / "daemon.sock"
    with socket.socket(socket.AF_UNIX) as listener, pyrust_ctr.Engine(root=place / "state") as engine:
        listener.bind(str(path))
        listener.listen()
        os.mkfifo(place / "fifo")
        reader = os.open(place / "fifo", os.O_RDONLY | os.O_NONBLOCK)
        code = (
            "import socket\n"
            "client = socket.socket(socket.AF_UNIX)\n"
            f"answer['connect'] = attempt(lambda: client.connect({str(path)!r}))\n"
            f"fifo = {str(place / 'fifo')!r}\n"
            "answer['fifo'] = attempt(lambda: os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))\n"
        )
        try:
            answer = inside(engine, code)
        finally:
            os.close(reader)
    assert answer == {"connect": "ECONNREFUSED", "fifo": "ENXIO"}
