"""`pctr inspect` and `pctr container inspect`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyrust_ctr.cli import _complete, _output
from pyrust_ctr.cli._errors import report
from pyrust_ctr.engine import Engine
from pyrust_ctr.errors import (
    ContainerNotFound,
    Error,
    ImageNotFound,
    InvalidArgument,
    InvalidReference,
    NotFound,
)

if TYPE_CHECKING:
    from collections.abc import Callable

Names = Annotated[list[str], typer.Argument(metavar="NAME...", autocompletion=_complete.containers)]
Format = Annotated[
    str | None,
    typer.Option(
        "--format", "-f", metavar="TEMPLATE", help="`json` or a Go template, instead of the whole document."
    ),
]


def inspect(
    names: Names,
    template: Format = None,
    kind: Annotated[
        str, typer.Option("--type", metavar="TYPE", help="`container` or `image`, when both have the name.")
    ] = "",
) -> None:
    """Show everything about containers or images."""
    if kind not in {"", "container", "image"}:
        raise InvalidArgument(
            f"`{kind}` is not a type of thing to inspect", hint="Use `container` or `image`."
        )
    with Engine() as engine:

        def look(name: str) -> dict[str, Any]:
            if kind != "image":
                try:
                    return engine.containers.get(name).inspect()
                except (ContainerNotFound, InvalidArgument):
                    if kind == "container":
                        raise
            try:
                return engine.images.inspect(name)
            except (ImageNotFound, InvalidReference) as cause:
                if kind == "image":
                    raise
                raise NotFound(f"No such object: {name}") from cause

        _show(names, look, template)


def inspect_containers(names: Names, template: Format = None) -> None:
    """Show everything about containers."""
    with Engine() as engine:
        _show(names, lambda name: engine.containers.get(name).inspect(), template)


def _show(names: list[str], look: Callable[[str], dict[str, Any]], template: str | None) -> None:
    """What was found is shown before what was not is told."""
    found = []
    failures: list[Error] = []
    for name in names:
        try:
            found.append(look(name))
        except Error as failure:
            failures.append(failure)
    _output.inspection(found, template)
    status = 0
    for missing in failures:
        status = report(missing)
    if status:
        raise typer.Exit(status)
