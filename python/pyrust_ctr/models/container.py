"""Containers: what was asked for, what is true of them, and what came of a run or an exec."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pyrust_ctr.models.mount import Mount, mount_from_json, mount_to_json
from pyrust_ctr.models.ulimit import Ulimit

Status = Literal["created", "running", "exited", "removing"]
"""`created` was never started; `removing` ended and is being removed."""

Stream = Literal["stdout", "stderr"]

DEFAULT_SHM_BYTES: Final = 64 * 1024 * 1024
DEFAULT_LOG_BYTES: Final = 10 * 1024 * 1024
DEFAULT_LOG_FILES: Final = 3
DEFAULT_STOP_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerConfig:
    """What the user asked for, before the image's own wishes are added: the options of `create` and `run`.

    Kept as JSON in the state database, where fields with their default value are left out.
    """

    image: str
    command: tuple[str, ...] | None = None
    """Replaces the image's command; None keeps it."""
    entrypoint: tuple[str, ...] | None = None
    """Replaces the image's entrypoint (and drops its command); None keeps it, empty clears it."""
    env: tuple[str, ...] = ()
    """`NAME=value`; a mere `NAME` removes what the image sets."""
    working_dir: str = ""
    user: str = ""
    groups: tuple[str, ...] = ()
    hostname: str = ""
    domainname: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    tty: bool = False
    stdin_open: bool = False
    stdin_once: bool = False
    """Standard input ends with the first client that attached to it."""
    mounts: tuple[Mount, ...] = ()
    is_readonly: bool = False
    memory_bytes: int | None = None
    memory_swap_bytes: int | None = None
    """Memory and swap together; -1 is unlimited."""
    nano_cpus: int | None = None
    """Billionths of a CPU."""
    cpu_shares: int | None = None
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_limit: int | None = None
    """-1 is unlimited."""
    ulimits: tuple[Ulimit, ...] = ()
    oom_score_adj: int | None = None
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    is_privileged: bool = False
    seccomp: str = "default"
    """`default`, `unconfined`, or a profile in Docker's JSON form."""
    no_new_privileges: bool = False
    shows_system_paths: bool = False
    network: str = "none"
    """`none`, `host` or `container:ID`."""
    pid: str = "private"
    ipc: str = "private"
    uts: str = "private"
    init: bool = False
    shm_size_bytes: int = DEFAULT_SHM_BYTES
    stop_signal: int | None = None
    """None is the image's, or SIGTERM."""
    stop_timeout_s: float = DEFAULT_STOP_TIMEOUT_S
    auto_remove: bool = False
    log_driver: Literal["json-file", "none"] = "json-file"
    log_max_bytes: int = DEFAULT_LOG_BYTES
    log_max_files: int = DEFAULT_LOG_FILES
    platform: str = ""
    """`os/arch[/variant]`; empty is this machine's."""

    def to_json(self) -> str:
        """A JSON object of the fields that differ from their default."""
        document: dict[str, Any] = {}
        for name, default in _DEFAULTS.items():
            value = getattr(self, name)
            if value != default:
                document[name] = value
        if self.mounts:
            document["mounts"] = [mount_to_json(mount) for mount in self.mounts]
        if self.ulimits:
            document["ulimits"] = [[limit.name, limit.soft, limit.hard] for limit in self.ulimits]
        return json.dumps(document, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> ContainerConfig:
        """The configuration that `to_json` wrote."""
        values: dict[str, Any] = json.loads(text)
        for name in _TUPLES & values.keys():
            values[name] = tuple(values[name])
        if "mounts" in values:
            values["mounts"] = tuple(mount_from_json(mount) for mount in values["mounts"])
        if "ulimits" in values:
            values["ulimits"] = tuple(Ulimit(*limit) for limit in values["ulimits"])
        return cls(**values)


_DEFAULTS: Final[dict[str, Any]] = {
    item.name: {} if item.default_factory is not dataclasses.MISSING else item.default
    for item in dataclasses.fields(ContainerConfig)
}
_TUPLES: Final = frozenset({"command", "entrypoint", "env", "groups", "cap_add", "cap_drop"})


@dataclass(frozen=True, slots=True)
class ContainerState:
    """What is true of a container right now. Times are Unix nanoseconds, 0 when they have not come."""

    status: Status
    pid: int = 0
    """Of the first process, on the host; 0 unless running."""
    exit_code: int = 0
    signal: int | None = None
    """The signal that ended the program."""
    oom_killed: bool = False
    timed_out: bool = False
    peak_memory_bytes: int | None = None
    cpu_ns: int | None = None
    started_at_ns: int = 0
    finished_at_ns: int = 0
    failure: str = ""
    """Why the program never ran, or its supervisor ended early."""

    @property
    def is_running(self) -> bool:
        """Whether the first process lives."""
        return self.status == "running"


@dataclass(frozen=True, slots=True)
class RunResult:
    """What came of `Engine.run`."""

    exit_code: int
    """The program's own, or 128 + signal."""
    stdout: bytes
    stderr: bytes
    duration_s: float
    """From the program's start to its end, seconds."""
    timed_out: bool = False
    """The container was killed because `timeout` was over."""
    oom_killed: bool = False
    """The kernel killed a process of the container for its memory limit."""
    peak_memory_bytes: int | None = None
    """Highest memory use of the whole container; None when the machine cannot tell."""
    cpu_s: float | None = None
    """CPU time of the whole container, seconds."""
    signal: int | None = None
    """The signal that ended the program."""
    warnings: tuple[str, ...] = ()
    """Sentences about defaults that the machine refused."""


@dataclass(frozen=True, slots=True)
class ExecResult:
    """What came of `Container.exec`."""

    exit_code: int
    """The program's own, or 128 + signal."""
    stdout: bytes
    stderr: bytes
    duration_s: float
    timed_out: bool = False
    """The exec and every process it left behind were killed because `timeout` was over."""
    oom_killed: bool = False
    """The kernel killed for memory in this container while the exec ran."""
    signal: int | None = None


@dataclass(frozen=True, slots=True)
class WaitResult:
    """How a container ended."""

    exit_code: int
    """The program's own, or 128 + signal."""
    signal: int | None = None
    oom_killed: bool = False
    timed_out: bool = False
    failure: str = ""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One record of a container's log: usually a line, its line end included."""

    stream: Stream
    data: bytes
    time_ns: int
    """When it was written, Unix nanoseconds."""

    def __bytes__(self) -> bytes:
        return self.data


@dataclass(frozen=True, slots=True)
class PruneResult:
    """What `prune` removed."""

    containers: tuple[str, ...]
    """Full ids."""
