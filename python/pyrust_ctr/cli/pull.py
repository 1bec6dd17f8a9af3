"""`pctr pull`."""

from __future__ import annotations

from typing import Annotated

import typer

from pyrust_ctr.cli import _output, _progress


def pull(
    reference: Annotated[str, typer.Argument(metavar="REFERENCE", help="`NAME[:TAG|@DIGEST]`.")],
    platform: Annotated[
        str | None,
        typer.Option("--platform", metavar="OS/ARCH[/VARIANT]", help="Another platform than this machine's."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the image's name.")] = False,
) -> None:
    """Download an image from a registry."""
    from pyrust_ctr.engine import Engine
    from pyrust_ctr.errors import RegistryError
    from pyrust_ctr.images import builtin
    from pyrust_ctr.refs import Reference

    parsed = Reference.parse(reference)
    with Engine() as engine:
        if not quiet:
            _output.note(f"{parsed.wanted}: Pulling from {parsed.path}")
        try:
            with _progress.layers(quiet=quiet) as progress:
                outcome = engine.images.pull_with_outcome(reference, platform=platform, progress=progress)
        except RegistryError as failure:
            if parsed.canonical in builtin.NAMES:
                failure.hint = f"`{parsed.familiar_name}` is built in: `pctr run` needs no download of it."
            raise
    if not quiet:
        _output.line(f"Digest: {outcome.digest}")
        word = "Downloaded newer image" if outcome.is_new else "Image is up to date"
        _output.line(f"Status: {word} for {parsed.familiar}")
    _output.line(parsed.canonical)
