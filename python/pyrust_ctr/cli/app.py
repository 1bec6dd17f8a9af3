"""The program: the table of commands, global options, and where errors become exit statuses."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from pyrust_ctr.cli._errors import report
from pyrust_ctr.cli._lazy import Entry, group_class
from pyrust_ctr.paths import ROOT_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CLI: Final = "pyrust_ctr.cli"

CONTAINER_COMMANDS: Final[Mapping[str, Entry]] = {
    "create": Entry(f"{_CLI}.run", "create", "Create a container"),
    "exec": Entry(f"{_CLI}.exec", "exec_", "Run a command in a running container"),
    "inspect": Entry(f"{_CLI}.inspect", "inspect_containers", "Show everything about containers"),
    "kill": Entry(f"{_CLI}.signals", "kill", "Send a signal to containers, SIGKILL unless told otherwise"),
    "logs": Entry(f"{_CLI}.logs", "logs", "Show the output of a container"),
    "ls": Entry(f"{_CLI}.containers", "ps", "List containers"),
    "prune": Entry(f"{_CLI}.containers", "prune", "Remove every container that does not run"),
    "rm": Entry(f"{_CLI}.containers", "rm", "Remove containers"),
    "run": Entry(f"{_CLI}.run", "run", "Create a container from an image and run a command in it"),
    "start": Entry(f"{_CLI}.start", "start", "Start containers"),
    "stop": Entry(f"{_CLI}.signals", "stop", "Stop containers"),
    "wait": Entry(f"{_CLI}.signals", "wait", "Wait until containers end, and print their exit codes"),
}

IMAGE_COMMANDS: Final[Mapping[str, Entry]] = {
    "inspect": Entry(f"{_CLI}.images", "inspect", "Show everything about images"),
    "load": Entry(f"{_CLI}.images", "load", "Load images from an archive"),
    "ls": Entry(f"{_CLI}.images", "ls", "List images"),
    "prune": Entry(f"{_CLI}.images", "prune", "Remove unused images"),
    "pull": Entry(f"{_CLI}.pull", "pull", "Download an image from a registry"),
    "rm": Entry(f"{_CLI}.images", "rm", "Remove images"),
    "tag": Entry(f"{_CLI}.images", "tag", "Give an image a further name"),
}

COMMANDS: Final[Mapping[str, Entry]] = {
    "run": CONTAINER_COMMANDS["run"],
    "exec": CONTAINER_COMMANDS["exec"],
    "ps": CONTAINER_COMMANDS["ls"],
    "pull": IMAGE_COMMANDS["pull"],
    "images": IMAGE_COMMANDS["ls"],
    "login": Entry(f"{_CLI}.login", "login", "Keep credentials for a registry"),
    "logout": Entry(f"{_CLI}.login", "logout", "Forget the credentials for a registry"),
    "create": CONTAINER_COMMANDS["create"],
    "start": CONTAINER_COMMANDS["start"],
    "stop": CONTAINER_COMMANDS["stop"],
    "kill": CONTAINER_COMMANDS["kill"],
    "wait": CONTAINER_COMMANDS["wait"],
    "logs": CONTAINER_COMMANDS["logs"],
    "rm": CONTAINER_COMMANDS["rm"],
    "rmi": IMAGE_COMMANDS["rm"],
    "tag": IMAGE_COMMANDS["tag"],
    "load": IMAGE_COMMANDS["load"],
    "inspect": Entry(f"{_CLI}.inspect", "inspect", "Show everything about containers or images"),
    "container": Entry(f"{_CLI}.app", "CONTAINER_COMMANDS", "Manage containers"),
    "image": Entry(f"{_CLI}.app", "IMAGE_COMMANDS", "Manage images"),
    "info": Entry(f"{_CLI}.system", "info", "Show what this engine and this machine are"),
    "doctor": Entry(f"{_CLI}.system", "doctor", "Check this machine for every feature that the engine uses"),
    "version": Entry(f"{_CLI}.system", "version", "Show the version"),
}

_app = typer.Typer(
    cls=group_class(COMMANDS),
    rich_markup_mode=None,
    no_args_is_help=True,
    context_settings={"max_content_width": 110},
    pretty_exceptions_enable=False,
)


def _show_version(asked: bool) -> None:
    if asked:
        from pyrust_ctr.cli.system import version_line

        typer.echo(version_line())
        raise typer.Exit


@_app.callback()
def _global_options(
    root: Annotated[
        str,
        typer.Option("--root", metavar="DIRECTORY", help="State directory; /var/lib/pyrust-ctr by default."),
    ] = "",
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """The container engine that you pip install: no daemon, containers in milliseconds."""
    if root:
        os.environ[ROOT_VARIABLE] = os.path.abspath(root)


def invoke(arguments: Sequence[str], program: str = "pctr") -> int:
    """Runs one command line and returns its exit status."""
    try:
        status = typer.main.get_command(_app).main(list(arguments), prog_name=program, standalone_mode=False)
        sys.stdout.flush()
    except SystemExit as end:  # shell completion ends this way
        return end.code if isinstance(end.code, int) else 0
    except BaseException as failure:  # the edge: everything becomes a sentence and a status
        return report(failure)
    return status if isinstance(status, int) else 0


def _open_standard_streams() -> None:
    """Gives `/dev/null` to a closed standard stream: else the next opened file, say the state
    database, would be it.
    """
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is `fd`


def main() -> NoReturn:
    """The entry point of `pctr` and `pyrust-ctr`."""
    _open_standard_streams()
    program = os.path.basename(sys.argv[0]) or "pctr"
    if program == "__main__.py":
        program = "pctr"
    sys.exit(invoke(sys.argv[1:], program))
