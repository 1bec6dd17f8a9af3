"""From an image and a configuration to the `ContainerSpec` document (`rust/spec/src/container.rs`). Pure.

Docker's rules: a given entrypoint drops the image's command; variables are merged by name; the user's
values win.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pyrust_ctr import ids
from pyrust_ctr.errors import InvalidArgument
from pyrust_ctr.models.capability import container_mask
from pyrust_ctr.models.environment import merge_env
from pyrust_ctr.models.mount import BindMount, Mount
from pyrust_ctr.models.ulimit import RESOURCES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyrust_ctr.containers.host import Host
    from pyrust_ctr.models.container import ContainerConfig
    from pyrust_ctr.models.image import ResolvedImage

SPEC_VERSION: Final = 1
DEFAULT_PATH: Final = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CPU_PERIOD_US: Final = 100_000

MASKED_PATHS: Final = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
READONLY_PATHS: Final = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

_ANY: Final = None
# Paths inside the container.
_SHM: Final = "/dev/shm"  # noqa: S108
_HOST_TMPFS: Final = (("/tmp", 0o1777), ("/run", 0o755))  # noqa: S108
DEVICE_RULES: Final[tuple[tuple[str, int | None, int | None, str, bool], ...]] = (
    ("c", _ANY, _ANY, "m", True),
    ("b", _ANY, _ANY, "m", True),
    ("c", 1, 3, "rwm", True),  # null
    ("c", 1, 5, "rwm", True),  # zero
    ("c", 1, 7, "rwm", True),  # full
    ("c", 1, 8, "rwm", True),  # random
    ("c", 1, 9, "rwm", True),  # urandom
    ("c", 5, 0, "rwm", True),  # tty
    ("c", 5, 1, "rwm", True),  # console
    ("c", 5, 2, "rwm", True),  # ptmx
    ("c", 136, _ANY, "rwm", True),  # pts/*
    ("c", 10, 229, "rwm", False),  # fuse
)
"""Kind, major, minor, access, allow; Docker's default."""

_HOSTS: Final = (
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::\tip6-localnet\n"
    "ff00::\tip6-mcastprefix\n"
    "ff02::1\tip6-allnodes\n"
    "ff02::2\tip6-allrouters\n"
)


@dataclass(frozen=True, slots=True)
class JoinedContainer:
    """A running container whose namespaces are joined."""

    pid: int
    start_time: int
    hostname: str
    files: tuple[dict[str, Any], ...] = ()
    """The network files that it has."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a specification needs beside image and configuration."""

    host: Host
    joined: Mapping[str, JoinedContainer] = field(default_factory=dict)
    """`network`, `pid`, `ipc`: the container whose namespace is joined."""
    network_files: Mapping[str, str] = field(default_factory=dict)
    """Content of the machine's `/etc/hosts` and `/etc/resolv.conf`, where they are wanted."""
    is_direct: bool = False
    """The program gets the caller's descriptors, and nothing is logged."""
    is_volatile: bool = False
    """Nobody reads the writable layer afterwards."""
    timeout_ms: int | None = None
    terminal_size: tuple[int, int] = (24, 80)
    """Rows and columns."""


def build_spec(
    container_id: str, config: ContainerConfig, image: ResolvedImage, around: Surroundings
) -> dict[str, Any]:
    """The specification of a container; `InvalidArgument` when there is no command to run."""
    hostname = _hostname(container_id, config, around)
    is_open = config.is_privileged or config.shows_system_paths
    spec: dict[str, Any] = {
        "version": SPEC_VERSION,
        "id": container_id,
        "process": _process(config, image, hostname, around.host),
        "stdio": _stdio(config, around),
        "root": {
            "lowers": [{"kind": "directory", "path": path} for path in image.lowers],
            "is_readonly": config.is_readonly,
            "is_volatile": around.is_volatile or image.is_host,
            "hidden_paths": list(around.host.hidden_paths) if image.is_host else [],
        },
        "hostname": hostname,
        "mounts": _mounts(config, image),
        "files": _files(config, image, hostname, around),
        "shm_size_bytes": config.shm_size_bytes,
        "namespaces": _namespaces(config, around),
        "limits": _limits(config),
        "devices": _devices(config),
        "seccomp": _seccomp(config),
        "masked_paths": [] if is_open else [*MASKED_PATHS, *around.host.throttle_paths],
        "readonly_paths": [] if is_open else list(READONLY_PATHS),
        "writable_sys": config.is_privileged,
        "init": config.init,
        "log": _log(config, around),
        "auto_remove": config.auto_remove,
    }
    if config.domainname:
        spec["domainname"] = config.domainname
    if around.timeout_ms is not None:
        spec["timeout_ms"] = around.timeout_ms
    return spec


def merged_command(config: ContainerConfig, image: ResolvedImage) -> list[str]:
    """Entrypoint and command after Docker's rules; `InvalidArgument` when nothing is left."""
    entrypoint, command = config.entrypoint, config.command
    if entrypoint is None:
        entrypoint = image.config.entrypoint or ()
        if not command:
            command = image.config.cmd
    arguments = [*entrypoint, *(command or ())]
    if not arguments:
        raise InvalidArgument(
            f"no command specified: the image `{image.name}` has none", hint="Give one after the image."
        )
    if not arguments[0]:
        raise InvalidArgument("the program to run has an empty name")
    return arguments


def merged_env(config: ContainerConfig, image: ResolvedImage, hostname: str) -> list[str]:
    """The environment: defaults, then the image's, then the user's."""
    defaults = [DEFAULT_PATH, f"HOSTNAME={hostname}"]
    if config.tty:
        defaults.append("TERM=xterm")
    return merge_env(defaults, image.config.env, config.env)


def merged_labels(config: ContainerConfig, image_labels: Mapping[str, str]) -> dict[str, str]:
    """The image's labels, replaced by the user's."""
    return {**image_labels, **config.labels}


def _process(config: ContainerConfig, image: ResolvedImage, hostname: str, host: Host) -> dict[str, Any]:
    working_dir = config.working_dir or image.config.working_dir or "/"
    if not working_dir.startswith("/"):
        raise InvalidArgument(f"the working directory `{working_dir}` of the image is not an absolute path")
    process: dict[str, Any] = {
        "args": merged_command(config, image),
        "env": merged_env(config, image, hostname),
        "cwd": posixpath.normpath(working_dir).replace("//", "/"),
        "user": {"name": config.user or image.config.user, "additional_groups": list(config.groups)},
        "capabilities": container_mask(
            config.cap_add, config.cap_drop, is_privileged=config.is_privileged, available=host.capabilities
        ),
        "no_new_privileges": config.no_new_privileges,
        "rlimits": [
            {
                "resource": RESOURCES[limit.name],
                "name": limit.name,
                "soft": limit.soft,
                "hard": limit.hard,
                "is_required": True,
            }
            for limit in config.ulimits
        ],
    }
    if config.oom_score_adj is not None:
        process["oom_score_adj"] = config.oom_score_adj
    return process


def _stdio(config: ContainerConfig, around: Surroundings) -> dict[str, Any]:
    if around.is_direct:
        return {"mode": "direct"}
    if config.tty:
        rows, columns = around.terminal_size
        return {"mode": "terminal", "rows": rows, "columns": columns}
    return {"mode": "piped", "open_stdin": config.stdin_open, "stdin_once": config.stdin_once}


def _hostname(container_id: str, config: ContainerConfig, around: Surroundings) -> str:
    if config.uts == "host":
        return config.hostname or around.host.hostname
    if config.hostname:
        return config.hostname
    if config.network == "host":
        return around.host.hostname
    if "network" in around.joined:
        return around.joined["network"].hostname
    return ids.short(container_id)


def _mounts(config: ContainerConfig, image: ResolvedImage) -> list[dict[str, Any]]:
    targets = {mount.target for mount in config.mounts}
    mounts: list[dict[str, Any]] = []
    if image.is_host:
        mounts += [
            {
                "target": target,
                "kind": {"type": "tmpfs", "size_bytes": None, "mode": mode},
                "no_suid": True,
                "no_dev": True,
            }
            for target, mode in _HOST_TMPFS
            if target not in targets
        ]
    if config.ipc == "none" and _SHM not in targets:
        # A fresh, empty, read-only file system: nothing can be shared there.
        mounts.append(
            {
                "target": _SHM,
                "kind": {"type": "tmpfs", "size_bytes": 4096, "mode": 0o555},
                "is_readonly": True,
            }
        )
    # Parents before children, whatever the order of the options.
    mounts += [_mount(mount) for mount in sorted(config.mounts, key=lambda mount: mount.target.count("/"))]
    return mounts


def _mount(mount: Mount) -> dict[str, Any]:
    if isinstance(mount, BindMount):
        return {
            "target": mount.target,
            "kind": {
                "type": "bind",
                "source": mount.source,
                "recursive": mount.is_recursive,
                "propagation": mount.propagation,
            },
            "is_readonly": mount.is_readonly,
        }
    return {
        "target": mount.target,
        "kind": {"type": "tmpfs", "size_bytes": mount.size_bytes, "mode": mount.mode},
        "is_readonly": mount.is_readonly,
        "no_exec": mount.no_exec,
        "no_suid": mount.no_suid,
        "no_dev": mount.no_dev,
    }


def _files(
    config: ContainerConfig, image: ResolvedImage, hostname: str, around: Surroundings
) -> list[dict[str, Any]]:
    if "network" in around.joined:
        files = [dict(file) for file in around.joined["network"].files]
    elif image.is_host:
        files = []
    else:
        hosts = around.network_files.get("/etc/hosts") or f"{_HOSTS}127.0.0.1\t{hostname}\n"
        files = [
            {"path": "/etc/hostname", "content": f"{hostname}\n", "mode": 0o644},
            {"path": "/etc/hosts", "content": hosts, "mode": 0o644},
            {
                "path": "/etc/resolv.conf",
                "content": around.network_files.get("/etc/resolv.conf", ""),
                "mode": 0o644,
            },
        ]
    targets = {mount.target for mount in config.mounts}
    return [file for file in files if file["path"] not in targets]


def _namespaces(config: ContainerConfig, around: Surroundings) -> dict[str, Any]:
    modes = {"pid": config.pid, "network": config.network, "ipc": config.ipc, "uts": config.uts}
    namespaces: dict[str, Any] = {}
    for name, mode in modes.items():
        if name in around.joined:
            target = around.joined[name]
            namespaces[name] = {"mode": "process", "pid": target.pid, "start_time": target.start_time}
        else:
            namespaces[name] = {"mode": "host" if mode == "host" else "private"}
    return namespaces


def _limits(config: ContainerConfig) -> dict[str, Any]:
    limits: dict[str, Any] = {
        "memory_bytes": config.memory_bytes,
        "memory_swap_bytes": config.memory_swap_bytes,
        "cpu_shares": config.cpu_shares,
        "cpuset_cpus": config.cpuset_cpus or None,
        "cpuset_mems": config.cpuset_mems or None,
        "pids": config.pids_limit,
    }
    if config.nano_cpus is not None:
        limits["cpu_quota_us"] = config.nano_cpus * CPU_PERIOD_US // 1_000_000_000
        limits["cpu_period_us"] = CPU_PERIOD_US
    return {name: value for name, value in limits.items() if value is not None}


def _devices(config: ContainerConfig) -> dict[str, Any]:
    rules = [
        {"kind": kind, "major": major, "minor": minor, "access": access, "allow": allow}
        for kind, major, minor, access, allow in DEVICE_RULES
    ]
    return {"allow_all": config.is_privileged, "rules": rules}


def _seccomp(config: ContainerConfig) -> dict[str, Any]:
    if config.seccomp == "default":
        return {"mode": "unconfined" if config.is_privileged else "default"}
    if config.seccomp == "unconfined":
        return {"mode": "unconfined"}
    import json

    return {"mode": "profile", "profile": json.loads(config.seccomp)}


def _log(config: ContainerConfig, around: Surroundings) -> dict[str, Any]:
    driver = "none" if around.is_direct else config.log_driver
    return {"driver": driver, "max_size_bytes": config.log_max_bytes, "max_files": config.log_max_files}
