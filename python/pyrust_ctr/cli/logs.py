"""`pctr logs`."""

from __future__ import annotations

from typing import Annotated

import typer

from pyrust_ctr.cli import _complete, _output
from pyrust_ctr.engine import Engine
from pyrust_ctr.models.moment import rfc3339


def logs(
    container: Annotated[str, typer.Argument(metavar="CONTAINER", autocompletion=_complete.containers)],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the container ends.")] = False,
    tail: Annotated[
        str, typer.Option("--tail", "-n", metavar="NUMBER", help="Lines from the end, or `all`.")
    ] = "all",
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="A time, or a duration before now (10m).")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="A time, or a duration before now (10m).")
    ] = None,
    timestamps: Annotated[bool, typer.Option("--timestamps", "-t", help="Show when it was written.")] = False,
    details: Annotated[bool, typer.Option("--details", hidden=True)] = False,
) -> None:
    """Show the output of a container; standard error goes to standard error."""
    del details  # Docker's extra attributes come from log options that do not exist here
    with Engine() as engine:
        found = engine.containers.get(container)
        stream = "stdout"
        for line in found.logs(follow=follow, tail=tail, since=since, until=until):
            data = f"{rfc3339(line.time_ns)} ".encode() + line.data if timestamps else line.data
            if follow or line.stream != stream:
                # What a person sees of both streams is in the order in which it was written.
                _output.flush_raw()
                stream = line.stream
            _output.raw(data, is_error=stream == "stderr")
            if follow:
                _output.flush_raw()
    _output.flush_raw()
