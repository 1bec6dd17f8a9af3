"""A runtime in plain Python: containers that are threads of this process, programs that are five words.

`true`, `exit N`, `echo WORDS`, `cat`, `sleep SECONDS`, `trap SECONDS` (deaf to SIGTERM); everything else is
not found. What the real core promises about directories, states and errors is kept, so that the services
can be
tested without root.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.fake_store import FakeImageRuntime, FakeStore

from pyrust_ctr.errors import (
    CommandNotFound,
    Conflict,
    ContainerNotRunning,
    ContainerRunning,
    KernelFeatureMissing,
    NotFound,
    UnknownUser,
)

DEAF = frozenset({"trap"})


@dataclass(frozen=True, slots=True)
class FakeExit:
    """An exit record."""

    exit_code: int
    signal: int | None = None
    oom_killed: bool = False
    timed_out: bool = False
    peak_memory_bytes: int | None = 4096
    cpu_ns: int | None = 1_000_000
    started_at_ns: int = 1
    finished_at_ns: int = 2
    duration_ns: int = 1
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class FakeProbe:
    state: str
    pid: int | None = None
    pid_start_time: int | None = None
    started_at_ns: int | None = None
    exit: FakeExit | None = None


@dataclass(frozen=True, slots=True)
class FakeOutcome:
    exit: FakeExit
    stdout: bytes
    stderr: bytes = b""
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class FakeFeature:
    name: str
    available: bool
    required: bool
    detail: str
    remedy: str


class FakeContainer:
    """The main program of a container, and its shim."""

    def __init__(self, directory: Path, spec: dict[str, Any]) -> None:
        self.directory = directory
        self.spec = spec
        self.killed_by: int | None = None
        self.wake = threading.Event()
        self.ended = threading.Event()
        self.record: FakeExit | None = None
        self.output = b""
        self.started_at_ns = time.time_ns()
        self.shim_is_dead = False

    def run(self, data: bytes) -> None:
        """The program from beginning to end."""
        word, *rest = self.spec["process"]["args"]
        timeout_ms = self.spec.get("timeout_ms")
        code, number, timed_out = 0, None, False
        if word == "exit":
            code = int(rest[0])
        elif word == "echo":
            self.output = " ".join(rest).encode() + b"\n"
        elif word == "cat":
            self.output = data
        elif word in {"sleep", "trap"}:
            patience = float(rest[0])
            if timeout_ms is not None and timeout_ms / 1000 < patience:
                patience, timed_out = timeout_ms / 1000, True
            if self.wake.wait(patience):
                timed_out = False
                number = self.killed_by
            elif timed_out:
                number = signal.SIGKILL
            code = 128 + number if number else 0
        if self.spec["log"]["driver"] == "json-file" and self.output:
            self._log()
        self.record = FakeExit(
            code, number, timed_out=timed_out, started_at_ns=self.started_at_ns, finished_at_ns=time.time_ns()
        )
        if self.spec["auto_remove"]:
            shutil.rmtree(self.directory, ignore_errors=True)
        self.ended.set()

    def _log(self) -> None:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + ".000000001Z"
        with open(self.directory / "container.log", "a", encoding="utf-8") as file:
            file.writelines(
                json.dumps({"log": line, "stream": "stdout", "time": moment}) + "\n"
                for line in self.output.decode().splitlines(keepends=True)
            )

    def kill(self, number: int) -> None:
        if number != signal.SIGKILL and self.spec["process"]["args"][0] in DEAF:
            return
        self.killed_by = number
        self.wake.set()


class FakeStarted:
    """The starter's connection."""

    def __init__(self, container: FakeContainer) -> None:
        self._container = container
        self.pid = os.getpid()
        self.started_at_ns = container.started_at_ns
        self.warnings: list[str] = []

    def take_stdin_fd(self) -> int | None:
        return None

    def fileno(self) -> int:
        raise NotImplementedError

    def wait(self, timeout_s: float | None = None) -> FakeExit | None:
        self._container.ended.wait(timeout_s)
        return self._container.record

    def close(self) -> None:
        pass


class FakeRuntime(FakeImageRuntime):
    """`Runtime` for tests."""

    def __init__(self) -> None:
        super().__init__()
        self.containers: dict[str, FakeContainer] = {}
        self.specs: list[dict[str, Any]] = []
        self.repaired: list[str] = []
        self.stores: dict[str, FakeStore] = {}

    def open_store(self, root: str) -> FakeStore:
        # What is stored is there for the next engine.
        return self.stores.setdefault(root, FakeStore(Path(root)))

    def create_container(self, container_dir: str, spec_json: bytes) -> None:
        directory = Path(container_dir)
        if directory.exists():
            raise Conflict(f"`{directory}` exists")
        directory.mkdir(parents=True)
        (directory / "spec.json").write_bytes(spec_json)
        self.specs.append(json.loads(spec_json))

    def start_container(self, container_dir: str, trash_dir: str, **streams: Any) -> FakeStarted:
        del trash_dir, streams
        container = self._launch(container_dir, b"", in_thread=True)
        return FakeStarted(container)

    def run_container(
        self, container_dir: str, trash_dir: str, spec_json: bytes, *, input: bytes | None = None
    ) -> FakeOutcome:
        del trash_dir
        self.create_container(container_dir, spec_json)
        container = self._launch(container_dir, input or b"", in_thread=False)
        assert container.record is not None
        return FakeOutcome(container.record, container.output)

    def _launch(self, container_dir: str, data: bytes, *, in_thread: bool) -> FakeContainer:
        present = self.containers.get(container_dir)
        if present is not None and not present.ended.is_set():
            raise ContainerRunning("already running")
        directory = Path(container_dir)
        spec = json.loads((directory / "spec.json").read_bytes())
        word = spec["process"]["args"][0]
        if word not in {"true", "exit", "echo", "cat", "sleep", "trap"}:
            raise CommandNotFound(f"executable file not found in $PATH: `{word}`")
        if spec["process"]["user"]["name"] == "nobody-here":
            raise UnknownUser("unable to find user `nobody-here`")
        container = FakeContainer(directory, spec)
        self.containers[container_dir] = container
        if in_thread:
            threading.Thread(target=container.run, args=(data,), daemon=True).start()
        else:
            container.run(data)
        return container

    def exec_capture(
        self, container_dir: str, exec_json: bytes, *, input: bytes | None = None
    ) -> FakeOutcome:
        self._running(container_dir)
        spec = json.loads(exec_json)
        spec["log"] = {"driver": "none"}
        spec["auto_remove"] = False
        self.specs.append(spec)
        process = FakeContainer(Path(container_dir), spec)
        process.run(input or b"")
        assert process.record is not None
        return FakeOutcome(process.record, process.output)

    def exec_container(self, container_dir: str, exec_json: bytes, **streams: Any) -> Any:
        raise NotImplementedError

    def attach_container(self, container_dir: str, **streams: Any) -> Any:
        raise NotImplementedError

    def signal_container(self, container_dir: str, signal: int, *, everyone: bool = False) -> None:
        del everyone
        self._running(container_dir).kill(signal)

    def resize_container(self, container_dir: str, rows: int, columns: int) -> None:
        del rows, columns
        self._running(container_dir)

    def wait_container(self, container_dir: str, timeout_s: float | None = None) -> FakeExit | None:
        container = self.containers.get(container_dir)
        if container is None:
            if not os.path.isdir(container_dir):
                raise NotFound("no directory")
            return None
        container.ended.wait(timeout_s)
        return container.record

    def probe_container(self, container_dir: str) -> FakeProbe:
        if not os.path.isdir(container_dir):
            return FakeProbe("gone")
        container = self.containers.get(container_dir)
        if container is None:
            return FakeProbe("created")
        if container.shim_is_dead and container.record is None:
            return FakeProbe("dead")
        if container.record is not None:
            return FakeProbe("exited", exit=container.record)
        return FakeProbe("running", os.getpid(), 1, container.started_at_ns)

    def repair_container(self, container_dir: str, container_id: str) -> FakeProbe:
        container = self.containers[container_dir]
        if container.shim_is_dead and container.record is None:
            self.repaired.append(container_id)
            container.record = FakeExit(137, failure="the container's supervisor was killed")
            container.ended.set()
        return self.probe_container(container_dir)

    def remove_container(self, container_dir: str, container_id: str, trash_dir: str) -> None:
        del container_id, trash_dir
        if self.probe_container(container_dir).state == "running":
            raise ContainerRunning("running")
        shutil.rmtree(container_dir, ignore_errors=True)
        self.containers.pop(container_dir, None)

    def release_spare_shims(self) -> None:
        pass

    def doctor(self, state_dir: str) -> list[FakeFeature]:
        del state_dir
        return [
            FakeFeature("overlayfs", True, True, "available", ""),
            FakeFeature("openat2", False, False, "missing", "Use Linux 5.6 or later."),
        ]

    def host_cgroup_version(self) -> str:
        return "hybrid"

    def version(self) -> str:
        return "0.0"

    def _running(self, container_dir: str) -> FakeContainer:
        container = self.containers.get(container_dir)
        if container is None or container.ended.is_set() or container.shim_is_dead:
            raise ContainerNotRunning("not running")
        return container


class BrokenRuntime(FakeRuntime):
    """A kernel without what a start needs."""

    def run_container(self, *_: Any, **__: Any) -> FakeOutcome:
        raise KernelFeatureMissing("the kernel has no overlayfs")
