"""The door to the core itself: signals, descriptors and errors of the container verbs, with the real shim."""

from __future__ import annotations

import json
import os
import secrets
import select
import shutil
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_core = pytest.importorskip("pyrust_ctr._core", reason="the extension is not built")
from pyrust_ctr import paths  # noqa: E402

pytestmark = pytest.mark.root

BUSYBOX = Path("/bin/busybox")
DOCKER_CAPABILITIES = 0xA80425FB


@dataclass(slots=True)
class Place:
    """A root with busybox, and the containers that were made from it."""

    base: Path
    made: list[str] = field(default_factory=list)

    @property
    def trash(self) -> str:
        return str(self.base / "trash")

    def directory(self, identifier: str) -> str:
        return str(self.base / "containers" / identifier)

    def specification(self, args: list[str], **changes: Any) -> tuple[str, bytes]:
        """A fresh id and the document of a container that runs `args`."""
        identifier = secrets.token_hex(32)
        self.made.append(identifier)
        document = {
            "version": 1,
            "id": identifier,
            "hostname": "box",
            "shm_size_bytes": 1 << 20,
            "process": {
                "args": args,
                "env": ["PATH=/bin"],
                "cwd": "/",
                "capabilities": DOCKER_CAPABILITIES,
            },
            "stdio": {"mode": "direct"},
            "root": {"lowers": [{"kind": "directory", "path": str(self.base / "root")}]},
            "namespaces": {},
            "devices": {
                "allow_all": False,
                "rules": [{"kind": "c", "major": None, "minor": None, "access": "rwm", "allow": True}],
            },
            "seccomp": {"mode": "default"},
            "log": {"driver": "none", "max_size_bytes": 0, "max_files": 1},
            "auto_remove": True,
        } | changes
        return identifier, json.dumps(document).encode()

    def service(self, args: list[str]) -> str:
        """The id of a created container that is started on its own."""
        stdio = {"mode": "piped", "open_stdin": True, "stdin_once": True}
        identifier, document = self.specification(args, stdio=stdio, auto_remove=False)
        _core.create_container(self.directory(identifier), document)
        return identifier


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    shim = paths.binary("pyrust-ctr-shim")
    if not shim.exists():
        pytest.skip(f"`{shim}` is not built")
    if not BUSYBOX.exists():
        pytest.skip(f"`{BUSYBOX}` is not installed")
    _core.set_shim(str(shim))
    for name in ("root/bin", "containers", "trash"):
        (tmp_path / name).mkdir(parents=True)
    shutil.copy(BUSYBOX, tmp_path / "root/bin/busybox")
    for applet in ("sh", "cat", "sleep", "echo"):
        (tmp_path / "root/bin" / applet).symlink_to("busybox")
    place = Place(tmp_path)
    yield place
    for identifier in place.made:
        directory = place.directory(identifier)
        if _core.probe_container(directory).state == "running":
            _core.signal_container(directory, signal.SIGKILL, everyone=True)
            _core.wait_container(directory, 10.0)
        _core.repair_container(directory, identifier)
        _core.remove_container(directory, identifier, place.trash)


def test_ctrl_c_kills_the_container_and_is_raised(place: Place) -> None:
    identifier, document = place.specification(["sleep", "1000"])
    directory = place.directory(identifier)

    def interrupt() -> None:
        while _core.probe_container(directory).state != "running":
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        _core.run_container(directory, place.trash, document)
    thread.join()
    assert _core.probe_container(directory).state == "gone"


def test_ctrl_c_ends_a_wait_and_not_the_container(place: Place) -> None:
    directory = place.directory(place.service(["sleep", "1000"]))
    started = _core.start_container(directory, place.trash)
    for wait in (started.wait, lambda: _core.wait_container(directory)):
        timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            wait()
        timer.join()
    assert _core.probe_container(directory).state == "running"
    assert started.wait(0.01) is None


def test_the_interpreter_runs_while_a_container_does(place: Place) -> None:
    identifier, document = place.specification(["sleep", "0.3"])
    turns = 0
    thread = threading.Thread(
        target=_core.run_container, args=(place.directory(identifier), place.trash, document)
    )
    thread.start()
    while thread.is_alive():
        turns += 1
        time.sleep(0.01)
    assert turns > 10


def test_descriptors_are_the_callers(place: Place) -> None:
    directory = place.directory(place.service(["cat"]))
    reader, writer = os.pipe()
    started = _core.start_container(directory, place.trash, stdout_sink=writer, attach_stdin=True)
    os.close(writer)
    stdin = started.take_stdin_fd()
    assert stdin is not None
    assert started.take_stdin_fd() is None
    os.write(stdin, b"through")
    os.close(stdin)
    assert select.select([started.fileno()], [], [], 10)[0], "readable when the container ended"
    assert started.wait(10).exit_code == 0
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    started.close()
    with pytest.raises(_core.CoreError) as caught:
        started.fileno()
    assert caught.value.kind == "invalid_argument"


def test_errors_have_a_kind_and_say_what_failed(place: Place) -> None:
    identifier, document = place.specification(["nothing"])
    directory = place.directory(identifier)
    with pytest.raises(_core.CoreError) as caught:
        _core.run_container(directory, place.trash, document)
    assert caught.value.kind == "command_not_found"
    assert "`nothing`" in caught.value.message
    assert caught.value.errno == 2
    with pytest.raises(_core.CoreError) as caught:
        _core.exec_capture(directory, document)
    assert caught.value.kind == "invalid_argument"
    with pytest.raises(_core.CoreError) as caught:
        _core.signal_container(directory, signal.SIGTERM)
    assert caught.value.kind == "not_running"
    service = place.directory(place.service(["sleep", "1"]))
    with pytest.raises(_core.CoreError) as caught:
        _core.start_container(service, place.trash, stdout_sink=9999)
    assert (caught.value.kind, caught.value.errno) == ("invalid_argument", 9)
    with pytest.raises(ValueError, match="not a number"):
        _core.wait_container(service, float("nan"))


def test_the_machine_is_examined(tmp_path: Path) -> None:
    features = {feature.name: feature for feature in _core.doctor(str(tmp_path))}
    assert features["overlayfs"].available
    assert features["overlayfs"].required
    assert all(bool(feature.remedy) != feature.available for feature in features.values())
    assert _core.host_cgroup_version() in {"v1", "v2", "hybrid"}
