"""`pctr stop`, `pctr kill`, `pctr wait`."""

from __future__ import annotations

from typing import Annotated

import typer

from pyrust_ctr.cli import _complete, _output
from pyrust_ctr.cli._each import for_each
from pyrust_ctr.engine import Engine

Running = Annotated[
    list[str], typer.Argument(metavar="CONTAINER...", autocompletion=_complete.running_containers)
]


def stop(
    containers: Running,
    timeout: Annotated[
        int | None,
        typer.Option(
            "--time",
            "--timeout",
            "-t",
            metavar="SECONDS",
            help="Seconds to wait before SIGKILL; -1 for ever.",
        ),
    ] = None,
    signal: Annotated[
        str | None,
        typer.Option(
            "--signal", "-s", metavar="SIGNAL", help="Signal to send instead of the container's own."
        ),
    ] = None,
) -> None:
    """Stop containers: ask them to end, then kill them."""
    with Engine() as engine:

        def act(name: str) -> None:
            engine.containers.get(name).stop(timeout, signal=signal)
            _output.line(name)

        for_each(containers, act)


def kill(
    containers: Running,
    signal: Annotated[
        str, typer.Option("--signal", "-s", metavar="SIGNAL", help="Signal by name or number.")
    ] = "KILL",
) -> None:
    """Send a signal to containers, SIGKILL unless told otherwise."""
    with Engine() as engine:

        def act(name: str) -> None:
            engine.containers.get(name).kill(signal)
            _output.line(name)

        for_each(containers, act)


def wait(containers: Running) -> None:
    """Wait until containers end, and print their exit codes."""
    with Engine() as engine:

        def act(name: str) -> None:
            _output.line(str(engine.containers.get(name).wait().exit_code))

        for_each(containers, act)
