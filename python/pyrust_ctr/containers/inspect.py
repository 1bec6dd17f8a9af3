"""`inspect`: everything about a container, in the shape of Docker's document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyrust_ctr.containers import plan
from pyrust_ctr.containers.spec import SPEC_VERSION
from pyrust_ctr.models import capability
from pyrust_ctr.models.moment import rfc3339
from pyrust_ctr.models.mount import BindMount, Mount
from pyrust_ctr.models.signal import signal_name
from pyrust_ctr.models.ulimit import UNLIMITED, Ulimit

if TYPE_CHECKING:
    from pyrust_ctr.containers.context import ContainerContext
    from pyrust_ctr.containers.table import ContainerRow
    from pyrust_ctr.models.container import ContainerConfig, ContainerState


def inspect(context: ContainerContext, row: ContainerRow, state: ContainerState) -> dict[str, Any]:
    """A document that can be written as JSON."""
    spec = _spec(context, row)
    process = spec["process"]
    config = row.config
    arguments: list[str] = process["args"]
    log = config.log_driver == "json-file"
    return {
        "Id": row.id,
        "Created": rfc3339(row.created_at_ns),
        "Path": arguments[0] if arguments else "",
        "Args": arguments[1:],
        "State": _state(state),
        "Image": row.image_id,
        "ResolvConfPath": "",
        "HostnamePath": "",
        "HostsPath": "",
        "LogPath": str(context.paths.container_log(row.id)) if log else "",
        "Name": f"/{row.name}",
        "RestartCount": 0,
        "Driver": "overlay",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": None,
        "HostConfig": _host_config(config, spec),
        "Mounts": [_mount(mount) for mount in config.mounts],
        "Config": _config(row, config, spec),
        "NetworkSettings": {"Ports": {}, "Networks": {config.network: {}}},
    }


def _spec(context: ContainerContext, row: ContainerRow) -> dict[str, Any]:
    # Without one, it is being made or removed right now.
    return plan.kept_spec(context, row) or {
        "version": SPEC_VERSION,
        "process": {"args": [], "env": [], "cwd": "", "user": {"name": ""}, "capabilities": 0},
        "hostname": "",
        "masked_paths": [],
        "readonly_paths": [],
    }


def _state(state: ContainerState) -> dict[str, Any]:
    return {
        "Status": state.status,
        "Running": state.is_running,
        "Paused": False,
        "Restarting": False,
        "OOMKilled": state.oom_killed,
        "Dead": False,
        "Pid": state.pid,
        "ExitCode": state.exit_code,
        "Error": state.failure,
        "StartedAt": rfc3339(state.started_at_ns),
        "FinishedAt": rfc3339(state.finished_at_ns),
        "Signal": "" if state.signal is None else signal_name(state.signal),
        "TimedOut": state.timed_out,
        "PeakMemoryBytes": state.peak_memory_bytes or 0,
        "CpuNanoseconds": state.cpu_ns or 0,
    }


def _config(row: ContainerRow, config: ContainerConfig, spec: dict[str, Any]) -> dict[str, Any]:
    process = spec["process"]
    return {
        "Hostname": spec["hostname"],
        "Domainname": config.domainname,
        "User": process["user"]["name"],
        "AttachStdin": False,
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": config.tty,
        "OpenStdin": config.stdin_open,
        "StdinOnce": config.stdin_once,
        "Env": process["env"],
        "Cmd": None if config.command is None else list(config.command),
        "Image": config.image,
        "Volumes": None,
        "WorkingDir": process["cwd"],
        "Entrypoint": None if config.entrypoint is None else list(config.entrypoint),
        "Labels": row.labels,
        "StopSignal": signal_name(row.stop_signal),
        "StopTimeout": config.stop_timeout_s,
    }


def _host_config(config: ContainerConfig, spec: dict[str, Any]) -> dict[str, Any]:
    mask = spec["process"]["capabilities"]
    return {
        "NetworkMode": config.network,
        "PidMode": "" if config.pid == "private" else config.pid,
        "IpcMode": config.ipc,
        "UTSMode": "" if config.uts == "private" else config.uts,
        "CgroupnsMode": "private",
        "UsernsMode": "",
        "AutoRemove": config.auto_remove,
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "LogConfig": {
            "Type": config.log_driver,
            "Config": {"max-size": str(config.log_max_bytes), "max-file": str(config.log_max_files)},
        },
        "Binds": [_bind(mount) for mount in config.mounts if isinstance(mount, BindMount)] or None,
        "Tmpfs": {mount.target: "" for mount in config.mounts if not isinstance(mount, BindMount)},
        "CapAdd": [f"CAP_{name}" for name in config.cap_add] or None,
        "CapDrop": [f"CAP_{name}" for name in config.cap_drop] or None,
        "Capabilities": [f"CAP_{name}" for bit, name in enumerate(capability.NAMES) if mask >> bit & 1],
        "GroupAdd": list(config.groups) or None,
        "Privileged": config.is_privileged,
        "ReadonlyRootfs": config.is_readonly,
        "SecurityOpt": _security_options(config) or None,
        "MaskedPaths": spec["masked_paths"],
        "ReadonlyPaths": spec["readonly_paths"],
        "Init": config.init,
        "ShmSize": config.shm_size_bytes,
        "Memory": config.memory_bytes or 0,
        "MemorySwap": config.memory_swap_bytes or 0,
        "NanoCpus": config.nano_cpus or 0,
        "CpuShares": config.cpu_shares or 0,
        "CpusetCpus": config.cpuset_cpus,
        "CpusetMems": config.cpuset_mems,
        "PidsLimit": config.pids_limit or 0,
        "OomScoreAdj": config.oom_score_adj or 0,
        "Ulimits": [_ulimit(limit) for limit in config.ulimits],
    }


def _security_options(config: ContainerConfig) -> list[str]:
    options = []
    if config.seccomp != "default":
        options.append(f"seccomp={config.seccomp}")
    if config.no_new_privileges:
        options.append("no-new-privileges")
    if config.shows_system_paths:
        options.append("systempaths=unconfined")
    return options


def _mount(mount: Mount) -> dict[str, Any]:
    is_bind = isinstance(mount, BindMount)
    return {
        "Type": "bind" if is_bind else "tmpfs",
        "Source": mount.source if isinstance(mount, BindMount) else "",
        "Destination": mount.target,
        "Mode": "ro" if mount.is_readonly else "",
        "RW": not mount.is_readonly,
        "Propagation": f"r{mount.propagation}" if isinstance(mount, BindMount) else "",
    }


def _bind(mount: BindMount) -> str:
    return f"{mount.source}:{mount.target}" + (":ro" if mount.is_readonly else "")


def _ulimit(limit: Ulimit) -> dict[str, Any]:
    soft, hard = (-1 if value == UNLIMITED else value for value in (limit.soft, limit.hard))
    return {"Name": limit.name, "Soft": soft, "Hard": hard}
