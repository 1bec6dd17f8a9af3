"""`pctr images`, `pctr image …`, `pctr rmi`, `pctr tag`, `pctr load`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pyrust_ctr.cli import _ask, _complete, _human, _output
from pyrust_ctr.cli._each import for_each
from pyrust_ctr.cli._filters import parse_filters

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pyrust_ctr.models.image import Image

_NONE: Final = "<none>"
_HEADERS: Final = {
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "ID": "IMAGE ID",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
    "Platform": "PLATFORM",
}


def ls(
    repository: Annotated[
        str | None,
        typer.Argument(metavar="[REPOSITORY[:TAG]]", help="Only images of that name.", show_default=False),
    ] = None,
    all: Annotated[
        bool, typer.Option("--all", "-a", help="Every image; there are no hidden ones here.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only ids.")] = False,
    no_trunc: Annotated[bool, typer.Option("--no-trunc", help="Whole ids.")] = False,
    digests: Annotated[bool, typer.Option("--digests", help="Show digests.")] = False,
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filter", "-f", metavar="KEY=VALUE", help="`dangling`, `reference`, `label`, `before`, `since`."
        ),
    ] = None,
    template: Annotated[
        str | None, typer.Option("--format", help="`table`, `json`, `table TEMPLATE` or a Go template.")
    ] = None,
) -> None:
    """List images."""
    from pyrust_ctr.engine import Engine

    wanted = parse_filters(filters or [])
    if repository is not None:
        wanted.setdefault("reference", []).append(repository)
    with Engine() as engine:
        found = engine.images.list(filters=wanted)
    columns = ["Repository", "Tag", *(["Digest"] if digests else []), "ID", "CreatedSince", "Size"]
    rows = [
        row
        for image in found
        for row in _rows(image, no_trunc=no_trunc, patterns=wanted.get("reference", ()))
    ]
    if quiet:
        rows = list({row["ID"]: row for row in rows}.values())
    _output.listing(rows, headers=_HEADERS, columns=columns, template=template, quiet="ID" if quiet else None)


def inspect(
    names: Annotated[
        list[str], typer.Argument(metavar="IMAGE...", help="Names or ids.", autocompletion=_complete.images)
    ],
    template: Annotated[str | None, typer.Option("--format", "-f", help="`json` or a Go template.")] = None,
) -> None:
    """Show everything about images."""
    from pyrust_ctr.engine import Engine

    documents: list[dict[str, Any]] = []
    with Engine() as engine:
        try:
            for_each(names, lambda name: documents.append(engine.images.inspect(name)))
        finally:
            _output.inspection(documents, template)


def rm(
    names: Annotated[
        list[str], typer.Argument(metavar="IMAGE...", help="Names or ids.", autocompletion=_complete.images)
    ],
    force: Annotated[
        bool,
        typer.Option(
            "--force", "-f", help="Also with names in several repositories, or used by a container."
        ),
    ] = False,
) -> None:
    """Remove images."""
    from pyrust_ctr.engine import Engine

    def remove(name: str) -> None:
        removal = engine.images.remove(name, force=force)
        for untagged in removal.untagged:
            _output.line(f"Untagged: {untagged}")
        for digest in removal.deleted:
            _output.line(f"Deleted: {digest}")

    with Engine() as engine:
        for_each(names, remove)


def prune(
    all: Annotated[
        bool,
        typer.Option(
            "--all", "-a", help="Every image that no container was made from, not only untagged ones."
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="Do not ask.")] = False,
) -> None:
    """Remove unused images."""
    from pyrust_ctr.engine import Engine

    if not force:
        what = "all images without a container" if all else "all images without a tag"
        _output.warn(f"this removes {what}")
        if not _ask.confirm("Are you sure?"):
            return
    with Engine() as engine:
        removal = engine.images.prune(all=all)
    if removal.untagged or removal.deleted:
        _output.line("Deleted Images:")
        for name in removal.untagged:
            _output.line(f"untagged: {name}")
        for digest in removal.deleted:
            _output.line(f"deleted: {digest}")
        _output.line("")
    _output.line(f"Total reclaimed space: {_human.size(removal.freed_bytes)}")


def tag(
    source: Annotated[
        str, typer.Argument(metavar="IMAGE", help="Name or id.", autocompletion=_complete.images)
    ],
    target: Annotated[str, typer.Argument(metavar="NAME[:TAG]", help="The further name.")],
) -> None:
    """Give an image a further name."""
    from pyrust_ctr.engine import Engine

    with Engine() as engine:
        engine.images.tag(source, target)


def load(
    file: Annotated[
        str | None, typer.Option("--input", "-i", metavar="FILE", help="Read FILE instead of standard input.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Load images from an archive: docker-archive or OCI layout, plain or compressed."""
    import sys

    from pyrust_ctr.cli import _progress
    from pyrust_ctr.engine import Engine
    from pyrust_ctr.errors import InvalidArgument

    if file is None and sys.stdin.isatty():
        raise InvalidArgument(
            "nothing to load: standard input is a terminal", hint="Name a file with `--input`."
        )
    with Engine() as engine, _progress.layers(quiet=quiet) as progress:
        loaded = engine.images.load(sys.stdin.fileno() if file is None else file, progress=progress)
    for image in loaded:
        for name in image.tags:
            _output.line(f"Loaded image: {name}")
        if not image.tags:
            _output.line(f"Loaded image ID: {image.id}")


def _rows(image: Image, *, no_trunc: bool, patterns: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """One row a tag; a repository that is known only by digest has a row without a tag."""
    from pyrust_ctr.images.list import matches_reference
    from pyrust_ctr.refs import Reference

    shown = [name for name in image.references if not patterns or matches_reference(name, patterns)]
    references = [Reference.parse(name) for name in shown]
    digests = {
        reference.repository: reference.digest
        for reference in map(Reference.parse, image.references)
        if reference.digest is not None
    }
    tagged = [reference for reference in references if reference.tag is not None]
    tagged_repositories = {reference.repository for reference in tagged}
    only_digest = [
        reference
        for reference in references
        if reference.tag is None and reference.repository not in tagged_repositories
    ]
    common = {
        "ID": image.id if no_trunc else image.short_id,
        "CreatedSince": _human.ago(image.created_at_ns),
        "CreatedAt": _created_at(image.created_at_ns),
        "Size": _human.size(image.size_bytes),
        "Platform": image.platform,
    }
    for reference in (*tagged, *only_digest):
        yield {
            "Repository": reference.familiar_name,
            "Tag": reference.tag or _NONE,
            "Digest": digests.get(reference.repository) or _NONE,
            **common,
        }
    if not image.references:
        yield {"Repository": _NONE, "Tag": _NONE, "Digest": _NONE, **common}


def _created_at(unix_ns: int) -> str:
    if unix_ns <= 0:
        return "N/A"
    return time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC", time.gmtime(unix_ns // 1_000_000_000))
