"""From the options of a call to a checked `ContainerConfig`: pure, apart from reading a seccomp profile."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pyrust_ctr.errors import InvalidArgument, UnsupportedOption
from pyrust_ctr.models import namespace
from pyrust_ctr.models.capability import parse_capability
from pyrust_ctr.models.container import ContainerConfig
from pyrust_ctr.models.environment import env_of_mapping, parse_env, parse_labels
from pyrust_ctr.models.mount import Mount, parse_mount, parse_tmpfs, parse_volume
from pyrust_ctr.models.options import ContainerOptions
from pyrust_ctr.models.security import parse_security_options
from pyrust_ctr.models.signal import parse_signal
from pyrust_ctr.models.size import parse_size
from pyrust_ctr.models.ulimit import Ulimit

MINIMUM_MEMORY_BYTES: Final = 6 * 1024 * 1024
_HOSTNAME: Final = re.compile(r"(?=.{1,63}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?", re.ASCII)
_CPU_LIST: Final = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*", re.ASCII)


def configure(
    image: str,
    command: Sequence[str] | str | None,
    options: ContainerOptions,
    *,
    outer_env: Mapping[str, str],
) -> ContainerConfig:
    """The configuration of a container; the first option that is not acceptable raises `InvalidArgument`."""
    given: dict[str, Any] = dict(options)
    given.pop("name", None)
    if given.keys() - ContainerOptions.__annotations__.keys():
        unknown = sorted(given.keys() - ContainerOptions.__annotations__.keys())
        raise InvalidArgument(f"there is no option `{unknown[0]}`")
    if not image:
        raise InvalidArgument("a container needs the name of an image")
    values: dict[str, Any] = {}
    for name, value in given.items():
        # None leaves an option alone: callers may pass their own optional values through.
        if value is not None or name == "entrypoint":
            _APPLY[name](values, value)
    values["env"] = _env(given.get("env") or (), outer_env)
    values["mounts"] = _mounts(given)
    _check_memory(values)
    return ContainerConfig(image=image, command=_arguments(command, "the command"), **values)


def _arguments(value: Sequence[str] | str | None, what: str) -> tuple[str, ...] | None:
    if value is None:
        return None
    arguments = (value,) if isinstance(value, str) else tuple(value)
    for argument in arguments:
        if not isinstance(argument, str):
            raise InvalidArgument(f"{what} must be a list of texts, and `{argument!r}` is none")
        if "\0" in argument:
            raise InvalidArgument(f"{what} has a NUL character")
    return arguments


def _entrypoint(values: dict[str, Any], value: Any) -> None:
    arguments = _arguments(value, "the entrypoint")
    values["entrypoint"] = () if arguments == ("",) else arguments


def _env(value: Any, outer_env: Mapping[str, str]) -> tuple[str, ...]:
    if isinstance(value, Mapping):
        return env_of_mapping(value)
    return parse_env(value, outer_env)


def _labels(values: dict[str, Any], value: Any) -> None:
    values["labels"] = dict(value) if isinstance(value, Mapping) else parse_labels(value)


def _mounts(given: Mapping[str, Any]) -> tuple[Mount, ...]:
    mounts: list[Mount] = [parse_volume(text) for text in _texts(given.get("volumes"))]
    mounts += [parse_mount(item) if isinstance(item, str) else item for item in given.get("mounts") or ()]
    tmpfs = given.get("tmpfs") or ()
    if isinstance(tmpfs, Mapping):
        tmpfs = [f"{target}:{options}" for target, options in tmpfs.items()]
    mounts += [parse_tmpfs(text) for text in _texts(tmpfs)]
    targets = set()
    for mount in mounts:
        if mount.target in targets:
            raise InvalidArgument(f"two mounts have the target `{mount.target}`")
        targets.add(mount.target)
    return tuple(mounts)


def _texts(value: Any) -> Sequence[str]:
    """A list of texts; one text alone is a list of one, not of its letters."""
    return (value,) if isinstance(value, str) else value or ()


def _memory(values: dict[str, Any], value: Any) -> None:
    size = parse_size(value, "`memory`")
    if size and size < MINIMUM_MEMORY_BYTES:
        raise InvalidArgument(f"`memory` must be at least 6m, not `{value}`")
    values["memory_bytes"] = size or None


def _memory_swap(values: dict[str, Any], value: Any) -> None:
    is_unlimited = value in (-1, "-1")
    values["memory_swap_bytes"] = -1 if is_unlimited else parse_size(value, "`memory_swap`") or None


def _check_memory(values: Mapping[str, Any]) -> None:
    memory, swap = values.get("memory_bytes"), values.get("memory_swap_bytes")
    if swap is None or swap == -1:
        return
    if memory is None:
        raise InvalidArgument(
            "`memory_swap` needs `memory`", hint="It is the limit of memory and swap together."
        )
    if swap < memory:
        raise InvalidArgument(
            "`memory_swap` is the limit of memory and swap together: it cannot be below `memory`"
        )


def _cpus(values: dict[str, Any], value: Any) -> None:
    try:
        cpus = float(value)
    except (TypeError, ValueError):
        raise InvalidArgument(f"`cpus` must be a number like `0.5`, not `{value}`") from None
    available = os.cpu_count() or 1
    if cpus == 0:
        return
    if not 0.01 <= cpus <= available:
        raise InvalidArgument(
            f"`cpus` must be between 0.01 and {available}, the CPUs of this machine, not `{value}`"
        )
    values["nano_cpus"] = round(cpus * 1_000_000_000)


def _cpu_shares(values: dict[str, Any], value: Any) -> None:
    if value == 0:
        return
    if not isinstance(value, int) or not 2 <= value <= 262_144:
        raise InvalidArgument(f"`cpu_shares` must be between 2 and 262144, not `{value}`")
    values["cpu_shares"] = value


def _cpu_list(what: str) -> Any:
    def apply(values: dict[str, Any], value: Any) -> None:
        if value and not _CPU_LIST.fullmatch(value):
            raise InvalidArgument(f"`{what}` must be a list like `0-2,5`, not `{value}`")
        values[what] = value

    return apply


def _pids_limit(values: dict[str, Any], value: Any) -> None:
    if not isinstance(value, int) or value < -1:
        raise InvalidArgument(f"`pids_limit` must be a positive number, or -1 for none, not `{value}`")
    values["pids_limit"] = None if value in (0, -1) else value


def _ulimits(values: dict[str, Any], value: Any) -> None:
    if isinstance(value, Mapping):
        limits = [
            Ulimit.of(name, *(limit if isinstance(limit, tuple) else (limit,)))
            for name, limit in value.items()
        ]
    else:
        given: Sequence[Any] = _texts(value)
        limits = [Ulimit.parse(item) if isinstance(item, str) else item for item in given]
    values["ulimits"] = tuple({limit.name: limit for limit in limits}.values())


def _oom_score_adj(values: dict[str, Any], value: Any) -> None:
    if not isinstance(value, int) or not -1000 <= value <= 1000:
        raise InvalidArgument(f"`oom_score_adj` must be between -1000 and 1000, not `{value}`")
    values["oom_score_adj"] = value


def _hostname(what: str) -> Any:
    def apply(values: dict[str, Any], value: str) -> None:
        if value and not _HOSTNAME.fullmatch(value):
            raise InvalidArgument(f"`{value}` is not a {what}: letters, digits, `-`, `_` and `.`, at most 63")
        values[what] = value

    return apply


def _workdir(values: dict[str, Any], value: str) -> None:
    if value and not value.startswith("/"):
        raise InvalidArgument(f"the working directory `{value}` is not an absolute path")
    if "\0" in value:
        raise InvalidArgument("the working directory has a NUL character")
    values["working_dir"] = value


def _user(values: dict[str, Any], value: Any) -> None:
    if "\0" in str(value):
        raise InvalidArgument("the user has a NUL character")
    values["user"] = str(value)


def _capabilities(what: str) -> Any:
    def apply(values: dict[str, Any], value: Any) -> None:
        values[what] = tuple(parse_capability(name) for name in _texts(value))

    return apply


def _security_opt(values: dict[str, Any], value: Any) -> None:
    chosen = parse_security_options(_texts(value))
    values["seccomp"] = chosen.seccomp
    values["no_new_privileges"] = chosen.no_new_privileges
    values["shows_system_paths"] = chosen.shows_system_paths


def _stop_timeout(values: dict[str, Any], value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < -1:
        raise InvalidArgument(
            f"`stop_timeout` must be a number of seconds, or -1 to wait for ever, not `{value}`"
        )
    values["stop_timeout_s"] = float(value)


def _log_driver(values: dict[str, Any], value: Any) -> None:
    if value in {"local", "syslog", "journald", "gelf", "fluentd", "awslogs", "splunk", "etwlogs", "gcplogs"}:
        raise UnsupportedOption(
            f"the log driver `{value}` is not available yet", hint="Use `json-file` or `none`."
        )
    if value not in {"json-file", "none"}:
        raise InvalidArgument(f"`{value}` is not a log driver", hint="Use `json-file` or `none`.")
    values["log_driver"] = value


def _log_opts(values: dict[str, Any], value: Mapping[str, str]) -> None:
    for name, text in value.items():
        if name == "max-size":
            values["log_max_bytes"] = 0 if text == "-1" else parse_size(text, "the log option `max-size`")
        elif name == "max-file" and str(text).isdecimal() and 1 <= int(text) <= 1000:
            values["log_max_files"] = int(text)
        elif name == "max-file":
            raise InvalidArgument(f"the log option `max-file` must be between 1 and 1000, not `{text}`")
        else:
            raise UnsupportedOption(
                f"the log option `{name}` is not available", hint="Use `max-size` or `max-file`."
            )


def _plain(field: str) -> Any:
    def apply(values: dict[str, Any], value: Any) -> None:
        values[field] = value

    return apply


def _parsed(field: str, parse: Any) -> Any:
    def apply(values: dict[str, Any], value: Any) -> None:
        values[field] = parse(value)

    return apply


def _nothing(_values: dict[str, Any], _value: Any) -> None:
    """For options that are read together with others."""


_APPLY: Final[Mapping[str, Any]] = {
    "entrypoint": _entrypoint,
    "env": _nothing,
    "workdir": _workdir,
    "user": _user,
    "group_add": _parsed("groups", lambda groups: tuple(str(group) for group in groups)),
    "hostname": _hostname("hostname"),
    "domainname": _hostname("domainname"),
    "labels": _labels,
    "volumes": _nothing,
    "mounts": _nothing,
    "tmpfs": _nothing,
    "read_only": _plain("is_readonly"),
    "memory": _memory,
    "memory_swap": _memory_swap,
    "cpus": _cpus,
    "cpu_shares": _cpu_shares,
    "cpuset_cpus": _cpu_list("cpuset_cpus"),
    "cpuset_mems": _cpu_list("cpuset_mems"),
    "pids_limit": _pids_limit,
    "ulimits": _ulimits,
    "oom_score_adj": _oom_score_adj,
    "cap_add": _capabilities("cap_add"),
    "cap_drop": _capabilities("cap_drop"),
    "privileged": _plain("is_privileged"),
    "security_opt": _security_opt,
    "network": _parsed("network", namespace.parse_network),
    "pid": _parsed("pid", namespace.parse_pid),
    "ipc": _parsed("ipc", namespace.parse_ipc),
    "uts": _parsed("uts", namespace.parse_uts),
    "init": _plain("init"),
    "shm_size": _parsed("shm_size_bytes", lambda size: parse_size(size, "`shm_size`")),
    "stop_signal": _parsed("stop_signal", parse_signal),
    "stop_timeout": _stop_timeout,
    "tty": _plain("tty"),
    "stdin_open": _plain("stdin_open"),
    "stdin_once": _plain("stdin_once"),
    "auto_remove": _plain("auto_remove"),
    "log_driver": _log_driver,
    "log_opts": _log_opts,
    "platform": _plain("platform"),
}
