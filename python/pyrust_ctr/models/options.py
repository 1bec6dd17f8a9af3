"""The options of `Engine.run` and `Containers.create`: Docker's, with Python types."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyrust_ctr.models.mount import Mount
    from pyrust_ctr.models.ulimit import Ulimit


class ContainerOptions(TypedDict, total=False):
    """Every option is optional. Sizes are bytes or texts like `64m`; durations are seconds."""

    name: str | None
    """A name of its own; a random one otherwise."""
    entrypoint: str | Sequence[str] | None
    """Replaces the image's entrypoint, and drops the image's command; `""` or `[]` clears it."""
    env: Mapping[str, str | None] | Sequence[str]
    """Variables; None (or a name without `=` that is not set here) removes what the image sets."""
    workdir: str
    """Absolute working directory in the container."""
    user: str
    """`name`, `uid`, `name:group` or `uid:gid`, looked up in the image's own files."""
    group_add: Sequence[str | int]
    """Further groups."""
    hostname: str
    domainname: str
    labels: Mapping[str, str] | Sequence[str]
    volumes: Sequence[str]
    """`SOURCE:TARGET[:ro]`, both paths; a missing source is made."""
    mounts: Sequence[Mount | str]
    """`BindMount`, `TmpfsMount` or texts like those of `--mount`."""
    tmpfs: Mapping[str, str] | Sequence[str]
    """Target to options, or texts `TARGET:size=16m,mode=1777`."""
    read_only: bool
    """The root file system is read-only."""
    memory: int | str | None
    """Most memory, at least 6 MiB."""
    memory_swap: int | str | None
    """Most memory and swap together; -1 is unlimited."""
    cpus: float | str | None
    """CPUs, `0.5` is half of one."""
    cpu_shares: int | None
    """Weight among containers, 2 to 262,144; 1,024 is usual."""
    cpuset_cpus: str
    """CPUs to run on, `0-2,5`."""
    cpuset_mems: str
    pids_limit: int | None
    """Most processes and threads; -1 is unlimited."""
    ulimits: Mapping[str, int | tuple[int, int]] | Sequence[str | Ulimit]
    """Resource limits: `{"nofile": 1024}`, `{"nofile": (1024, 2048)}` or texts `nofile=1024:2048`."""
    oom_score_adj: int | None
    cap_add: Sequence[str]
    cap_drop: Sequence[str]
    privileged: bool
    """Every capability, every device, no filter, nothing masked."""
    security_opt: Sequence[str]
    """`seccomp=unconfined`, `seccomp=FILE`, `no-new-privileges` …"""
    network: str
    """`none` (the default), `host` or `container:NAME`."""
    pid: str
    """`host` or `container:NAME`."""
    ipc: str
    """`private`, `none`, `shareable`, `host` or `container:NAME`."""
    uts: str
    """`host`."""
    init: bool
    """An init of ours is process 1: it forwards signals and reaps."""
    shm_size: int | str
    """Size of `/dev/shm`."""
    stop_signal: int | str | None
    stop_timeout: float | None
    """Seconds between the stop signal and SIGKILL; 10 by default."""
    tty: bool
    """A pseudo terminal."""
    stdin_open: bool
    """Standard input stays open."""
    stdin_once: bool
    """Standard input ends with the first client that attached to it."""
    auto_remove: bool
    """The container is removed when it ends."""
    log_driver: str
    """`json-file` (the default) or `none`."""
    log_opts: Mapping[str, str]
    """`max-size` and `max-file` of the log."""
    platform: str
    """`os/arch[/variant]` of the image."""
