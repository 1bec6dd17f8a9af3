"""The options that `run` and `create` share: their declaration, and what they say in Python."""

from __future__ import annotations

import inspect
import os
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import typer

from pyrust_ctr.cli import _unsupported
from pyrust_ctr.cli._lazy import PlainCommand, settings
from pyrust_ctr.errors import InvalidArgument
from pyrust_ctr.models.environment import parse_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

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

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Accepts `--flag=true` beside `--flag`, as Docker does, and refuses by name what is not
        there yet.
        """
        parsed: list[str] = super().parse_args(ctx, self._prepared(args))
        return parsed

    def _prepared(self, args: Sequence[str]) -> list[str]:
        flags: dict[str, bool] = {
            name: bool(getattr(parameter, "is_flag", False))
            for parameter in self.params
            for name in parameter.opts
            if parameter.param_type_name == "option"
        }
        refused = _unsupported.reasons()
        takes_value = {name: not is_flag for name, is_flag in flags.items()}
        takes_value |= {name: has_value for name, (_, has_value) in refused.items()}
        kept: list[str] = []
        position = 0
        while position < len(args) and args[position].startswith("-") and args[position] not in {"-", "--"}:
            token = args[position]
            name, equals, value = token.partition("=")
            position += 1
            follows = _wants_value(token, takes_value) and position < len(args)
            given = args[position] if follows else value if equals else None
            unknown = next((one for one in _spellings(token, takes_value) if one in refused), None)
            if unknown is not None:
                _unsupported.refuse(unknown, refused[unknown][0], given)
            elif name == "--sig-proxy" and value in {"", "true", "false"}:
                kept += ["--no-sig-proxy"] if value == "false" else []
            elif equals and flags.get(name):
                kept += _flag(name, value)
            else:
                kept += [token, args[position]] if follows else [token]
            position += follows
        return kept + list(args[position:])


def command(name: str, callback: Callable[..., None], help: str, *, is_run: bool) -> Callable[..., None]:
    """A function that the command line takes for a command with all these options."""

    def call(**values: Any) -> None:
        callback(values.pop("image"), tuple(values.pop("command") or ()), **values)

    declared = sorted((*_OPTIONS, *_RUN_OPTIONS) if is_run else _OPTIONS)
    parameters = [
        _parameter("image", Annotated[str, typer.Argument(metavar="IMAGE")], inspect.Parameter.empty),
        _parameter(
            "command", Annotated[list[str] | None, typer.Argument(metavar="[COMMAND] [ARG...]")], None
        ),
        *map(_option, declared),
    ]
    call.__name__ = name
    call.__doc__ = help
    call.__dict__["__signature__"] = inspect.Signature(parameters)
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return settings(cls=ContainerCommand, allow_interspersed_args=False)(call)


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _option(option: _Option) -> inspect.Parameter:
    spellings = option.names.split()
    name = spellings[0].removeprefix("--").replace("-", "_")
    if not option.metavar:
        return _parameter(name, Annotated[bool, typer.Option(*spellings, help=option.help)], False)
    kind: Any = list[str] if option.is_multiple else option.type or str
    declared = typer.Option(*spellings, metavar=option.metavar, help=option.help)
    return _parameter(name, Annotated[kind | None, declared], None)


def _flag(name: str, value: str) -> list[str]:
    if value.lower() in {"true", "1", "t"}:
        return [name]
    if value.lower() in {"false", "0", "f"}:
        return []
    raise InvalidArgument(f"`{name}` is `true` or `false`, not `{value}`")


def _wants_value(token: str, takes_value: Mapping[str, bool]) -> bool:
    """Whether the next token is the value of this one."""
    if token.startswith("--"):
        return "=" not in token and takes_value.get(token, False)
    last = _spellings(token, takes_value)[-1]
    return (
        takes_value.get(last, False)
        and token.endswith(last[1:])
        and _length(token, takes_value) == len(token)
    )


def _spellings(token: str, takes_value: Mapping[str, bool]) -> list[str]:
    """The options that a token names: one long one, or a cluster of short ones up to the first with a
    value.
    """
    if token.startswith("--"):
        return [token.partition("=")[0]]
    return [f"-{letter}" for letter in token[1 : _length(token, takes_value)]]


def _length(token: str, takes_value: Mapping[str, bool]) -> int:
    """How much of a cluster of short options is options, not a value."""
    for index, letter in enumerate(token[1:], 2):
        if takes_value.get(f"-{letter}", False):
            return index
    return len(token)


def options_of(values: Mapping[str, Any]) -> ContainerOptions:
    """What was written on the command line as the options of `Containers.create`."""
    entrypoint = values["entrypoint"]
    options: dict[str, Any] = {
        "env": [*_entries(values["env_file"] or ()), *(values["env"] or ())],
        "labels": [*_entries(values["label_file"] or ()), *(values["label"] or ())],
        "volumes": values["volume"],
        "mounts": values["mount"],
        "ulimits": values["ulimit"],
        "log_opts": dict(_pair(text) for text in values["log_opt"] or ()),
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
