"""`pctr start`."""

from __future__ import annotations

from typing import Annotated

import typer

from pyrust_ctr.cli import _complete, _foreground, _output
from pyrust_ctr.cli._each import for_each
from pyrust_ctr.engine import Engine
from pyrust_ctr.errors import InvalidArgument


def start(
    containers: Annotated[
        list[str], typer.Argument(metavar="CONTAINER...", autocompletion=_complete.containers)
    ],
    attach: Annotated[bool, typer.Option("--attach", "-a", help="Stay with it: show its output.")] = False,
    interactive: Annotated[
        bool, typer.Option("--interactive", "-i", help="Stay with it, and pass standard input on.")
    ] = False,
    no_sig_proxy: Annotated[
        bool, typer.Option("--no-sig-proxy", help="Do not pass signals on to the program.")
    ] = False,
) -> None:
    """Start created or ended containers."""
    with Engine() as engine:
        if not (attach or interactive):

            def act(name: str) -> None:
                engine.containers.get(name).start()
                _output.line(name)

            for_each(containers, act)
            return
        if len(containers) > 1:
            raise InvalidArgument("you cannot start and attach multiple containers at once")
        container = engine.containers.get(containers[0])
        tty = container.config.tty
        interactive = interactive and container.config.stdin_open
        _foreground.check_terminal(tty=tty, interactive=interactive)
        status = _foreground.run_in_foreground(
            container,
            tty=tty,
            interactive=interactive,
            passes_signals=not no_sig_proxy,
            ends_with_reader=container.config.auto_remove,
        )
        if status is not None and container.config.auto_remove:
            container.remove(force=True)
    if status:
        raise typer.Exit(status)
