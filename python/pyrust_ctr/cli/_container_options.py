"""The options that `run` and `create` share: their declaration, and what they say in Python."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from typer.core import TyperArgument, TyperOption

from pyrust_ctr.cli._lazy import PlainCommand
from pyrust_ctr.cli._unsupported import hidden_options
from pyrust_ctr.errors import InvalidArgument
from pyrust_ctr.models.environment import parse_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyrust_ctr.models.options import ContainerOptions


class _Option(NamedTuple):
    """One option: its spellings, a placeholder (none for a flag), a help text, and whether it may be
    repeated.
    """

    names: str
    metavar: str
    help: str
    is_multiple: bool = False
    type: Any = None


_OPTIONS: Final = (
    _Option("--name", "NAME", "Name of the container; a random one otherwise"),
    _Option("--env -e", "NAME[=VALUE]", "Set an environment variable", True),
    _Option("--env-file", "FILE", "Read environment variables from a file", True),
    _Option("--workdir -w", "DIRECTORY", "Working directory in the container"),
    _Option("--user -u", "USER[:GROUP]", "User (and group) by name or number"),
    _Option("--group-add", "GROUP", "Add a further group", True),
    _Option("--entrypoint", "PROGRAM", "Replace the image's entrypoint"),
    _Option("--hostname -h", "NAME", "Host name of the container"),
    _Option("--domainname", "NAME", "NIS domain name of the container"),
    _Option("--volume -v", "FROM:TO[:ro]", "Show a directory or file of the host", True),
    _Option("--mount", "SPEC", "Mount: type=bind,source=…,target=… or type=tmpfs,target=…", True),
    _Option("--tmpfs", "TO[:OPTIONS]", "Mount a file system in memory", True),
    _Option("--read-only", "", "The root file system is read-only"),
    _Option("--memory -m", "SIZE", "Memory limit (64m, 1g)"),
    _Option("--memory-swap", "SIZE", "Limit of memory and swap together; -1 for none"),
    _Option("--cpus", "NUMBER", "CPUs to use (0.5)"),
    _Option("--cpu-shares -c", "WEIGHT", "Weight among containers (1024 is usual)", type=int),
    _Option("--cpuset-cpus", "LIST", "CPUs to run on (0-2,5)"),
    _Option("--cpuset-mems", "LIST", "Memory nodes to use"),
    _Option("--pids-limit", "NUMBER", "Most processes and threads; -1 for no limit", type=int),
    _Option("--ulimit", "NAME=SOFT[:HARD]", "Resource limit of processes (nofile=1024)", True),
    _Option("--oom-score-adj", "NUMBER", "Tune whom the kernel kills first, -1000 to 1000", type=int),
    _Option("--cap-add", "NAME", "Add a capability", True),
    _Option("--cap-drop", "NAME", "Drop a capability (ALL)", True),
    _Option("--privileged", "", "Every capability and device, nothing masked or filtered"),
    _Option("--security-opt", "OPTION", "seccomp=unconfined|FILE, no-new-privileges, …", True),
    _Option("--network --net", "MODE", "none (default), host or container:NAME"),
    _Option("--pid", "MODE", "host or container:NAME"),
    _Option("--ipc", "MODE", "private, none, shareable, host or container:NAME"),
    _Option("--uts", "MODE", "host"),
    _Option("--init", "", "Process 1 forwards signals and reaps processes"),
    _Option("--shm-size", "SIZE", "Size of /dev/shm (64m by default)"),
    _Option("--stop-signal", "SIGNAL", "Signal that stops the container"),
    _Option("--stop-timeout", "SECONDS", "Time between that signal and SIGKILL (10)", type=int),
    _Option("--label -l", "KEY[=VALUE]", "Add a label", True),
    _Option("--label-file", "FILE", "Read labels from a file", True),
    _Option("--log-driver", "NAME", "json-file (default) or none"),
    _Option("--log-opt", "NAME=VALUE", "max-size=10m, max-file=3", True),
    _Option("--tty -t", "", "Give the program a terminal"),
    _Option("--interactive -i", "", "Keep standard input open"),
    _Option("--rm", "", "Remove the container when it ends"),
    _Option("--pull", "POLICY", "Download the image: missing (default), always or never"),
    _Option("--platform", "OS/ARCH[/VARIANT]", "Platform of the image"),
    _Option("--quiet -q", "", "Download without progress"),
    _Option("--cidfile", "FILE", "Write the container's id to a file"),
)

_RUN_OPTIONS: Final = (
    _Option("--detach -d", "", "Run in the background and print the container's id"),
    _Option("--no-sig-proxy", "", "Do not pass signals on to the program"),
)


class ContainerCommand(PlainCommand):
    """`run` or `create`: options, then the image, then everything else is the container's command."""

    def __init__(self, name: str, callback: Any, help: str, *, is_run: bool) -> None:
        declared = (*_OPTIONS, *_RUN_OPTIONS) if is_run else _OPTIONS
        super().__init__(
            name,
            callback=callback,
            help=help,
            params=[
                TyperArgument(param_decls=["image"], metavar="IMAGE", required=True),
                TyperArgument(param_decls=["command"], metavar="[COMMAND] [ARG...]", nargs=-1),
                *map(_parameter, sorted(declared)),
                *hidden_options(),
            ],
            context_settings={"allow_interspersed_args": False, "max_content_width": 110},
            rich_markup_mode=None,
        )

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Accepts `--flag=true` and `--flag=false` beside `--flag`, as Docker does."""
        parsed: list[str] = super().parse_args(ctx, self._without_flag_values(args))
        return parsed

    def _without_flag_values(self, args: Sequence[str]) -> list[str]:
        flags: dict[str, bool] = {
            name: bool(getattr(parameter, "is_flag", False))
            for parameter in self.params
            for name in parameter.opts
            if parameter.param_type_name == "option"
        }
        kept: list[str] = []
        position = 0
        while position < len(args) and args[position].startswith("-") and args[position] not in {"-", "--"}:
            token = args[position]
            name, equals, value = token.partition("=")
            position += 1
            if name == "--sig-proxy" and value in {"", "true", "false"}:
                kept += ["--no-sig-proxy"] if value == "false" else []
            elif equals and flags.get(name):
                kept += _flag(name, value)
            else:
                kept.append(token)
                if _wants_value(token, flags) and position < len(args):
                    kept.append(args[position])
                    position += 1
        return kept + list(args[position:])


def _flag(name: str, value: str) -> list[str]:
    if value.lower() in {"true", "1", "t"}:
        return [name]
    if value.lower() in {"false", "0", "f"}:
        return []
    raise InvalidArgument(f"`{name}` is `true` or `false`, not `{value}`")


def _wants_value(token: str, flags: Mapping[str, bool]) -> bool:
    """Whether the next token is the value of this one."""
    if token.startswith("--"):
        return "=" not in token and flags.get(token) is False
    for index, letter in enumerate(token[1:], 1):
        if flags.get(f"-{letter}") is False:
            return index == len(token) - 1
    return False


def _parameter(option: _Option) -> TyperOption:
    arguments: dict[str, Any] = (
        {"metavar": option.metavar, "multiple": option.is_multiple, "type": option.type}
        if option.metavar
        else {"is_flag": True, "default": False}
    )
    return TyperOption(param_decls=option.names.split(), help=option.help, **arguments)


def options_of(values: Mapping[str, Any]) -> ContainerOptions:
    """What was written on the command line as the options of `Containers.create`."""
    entrypoint = values["entrypoint"]
    options: dict[str, Any] = {
        "env": [*_entries(values["env_file"]), *values["env"]],
        "labels": [*_entries(values["label_file"]), *values["label"]],
        "volumes": values["volume"],
        "mounts": values["mount"],
        "ulimits": values["ulimit"],
        "log_opts": dict(_pair(text) for text in values["log_opt"]),
        "stdin_open": values["interactive"],
        "auto_remove": values["rm"],
    }
    if entrypoint is not None:
        options["entrypoint"] = [entrypoint] if entrypoint else []
    for name in _SAME_NAME:
        options[name] = values[name]
    return options  # type: ignore[return-value]  # the names are those of the typed dictionary, as a test proves


_SAME_NAME: Final = (
    "cap_add",
    "cap_drop",
    "cpu_shares",
    "cpus",
    "cpuset_cpus",
    "cpuset_mems",
    "domainname",
    "group_add",
    "hostname",
    "init",
    "ipc",
    "log_driver",
    "memory",
    "memory_swap",
    "name",
    "network",
    "oom_score_adj",
    "pid",
    "pids_limit",
    "platform",
    "privileged",
    "read_only",
    "security_opt",
    "shm_size",
    "stop_signal",
    "stop_timeout",
    "tmpfs",
    "tty",
    "user",
    "uts",
    "workdir",
)


def _entries(files: Sequence[str]) -> list[str]:
    entries: list[str] = []
    for name in files:
        try:
            with open(os.path.expanduser(name), encoding="utf-8") as file:
                entries += parse_file(file.read(), name)
        except OSError as cause:
            raise InvalidArgument(f"cannot read `{name}`: {cause.strerror}") from cause
        except UnicodeDecodeError as cause:
            raise InvalidArgument(f"`{name}` is not a text file") from cause
    return entries


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InvalidArgument(f"a log option is `name=value`, not `{text}`")
    return name, value
