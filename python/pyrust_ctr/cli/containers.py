"""`pctr ps`, `pctr rm`, `pctr container prune`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pyrust_ctr.cli import _complete, _human, _output
from pyrust_ctr.cli._ask import confirm
from pyrust_ctr.cli._each import for_each
from pyrust_ctr.cli._filters import parse_filters
from pyrust_ctr.engine import Engine
from pyrust_ctr.models.moment import rfc3339

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyrust_ctr.containers.container import Container
    from pyrust_ctr.models.container import ContainerState

_HEADERS: Final = {
    "ID": "CONTAINER ID",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "CreatedAt": "CREATED AT",
    "RunningFor": "CREATED",
    "Status": "STATUS",
    "State": "STATE",
    "Ports": "PORTS",
    "Names": "NAMES",
    "Labels": "LABELS",
    "Mounts": "MOUNTS",
    "Networks": "NETWORKS",
    "LocalVolumes": "LOCAL VOLUMES",
    "Size": "SIZE",
    "Platform": "PLATFORM",
}
_COLUMNS: Final = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")
_COMMAND_WIDTH: Final = 20


def ps(
    everything: Annotated[bool, typer.Option("--all", "-a", help="Also those that do not run.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the ids.")] = False,
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            "-f",
            metavar="KEY=VALUE",
            help="id, name, label, status, exited, ancestor, before or since.",
        ),
    ] = None,
    template: Annotated[
        str | None,
        typer.Option("--format", metavar="TEMPLATE", help="`json`, `table TEMPLATE` or a Go template."),
    ] = None,
    no_trunc: Annotated[bool, typer.Option("--no-trunc", help="Show ids and commands whole.")] = False,
    last: Annotated[
        int | None,
        typer.Option("--last", "-n", metavar="NUMBER", help="The last so many, whatever their state."),
    ] = None,
    latest: Annotated[
        bool, typer.Option("--latest", "-l", help="The one created last, whatever its state.")
    ] = False,
) -> None:
    """List containers."""
    count = 1 if latest else -1 if last is None else last
    with Engine() as engine:
        found: Sequence[tuple[Container, ContainerState]] = engine.containers.list_with_state(
            all=everything or count >= 0, filters=parse_filters(filters or [])
        )
        if count >= 0:
            found = found[:count]
        items = [_item(container, state, is_whole=no_trunc) for container, state in found]
    _output.listing(
        items, headers=_HEADERS, columns=_COLUMNS, template=template, quiet="ID" if quiet else None
    )


def rm(
    containers: Annotated[
        list[str], typer.Argument(metavar="CONTAINER...", autocompletion=_complete.containers)
    ],
    force: Annotated[bool, typer.Option("--force", "-f", help="Kill it first when it runs.")] = False,
    volumes: Annotated[
        bool, typer.Option("--volumes", "-v", help="Also its anonymous volumes (there are none yet).")
    ] = False,
) -> None:
    """Remove containers."""
    del volumes
    with Engine() as engine:

        def act(name: str) -> None:
            engine.containers.get(name).remove(force=force)
            _output.line(name)

        for_each(containers, act)


def prune(
    force: Annotated[bool, typer.Option("--force", "-f", help="Do not ask.")] = False,
    filters: Annotated[
        list[str] | None, typer.Option("--filter", metavar="KEY=VALUE", help="Only those that match.")
    ] = None,
) -> None:
    """Remove every container that does not run."""
    if not force:
        _output.warn("this removes all containers that do not run")
        if not confirm("Are you sure you want to continue?"):
            return
    with Engine() as engine:
        removed = engine.containers.prune(filters=parse_filters(filters or []))
    if removed.containers:
        _output.line("Deleted Containers:")
        for container_id in removed.containers:
            _output.line(container_id)


def status_text(state: ContainerState) -> str:
    """`Up 3 minutes`, `Exited (0) 5 seconds ago`, `Created` …"""
    if state.status == "running":
        return f"Up {_human.ago(state.started_at_ns).removesuffix(' ago')}"
    if state.status == "exited":
        return f"Exited ({state.exit_code}) {_human.ago(state.finished_at_ns)}"
    return "Removal In Progress" if state.status == "removing" else "Created"


def _item(container: Container, state: ContainerState, *, is_whole: bool) -> dict[str, Any]:
    config = container.config
    command = " ".join(container.arguments)
    mounts = [mount.target for mount in config.mounts]
    labels = container.labels
    return {
        "ID": container.id if is_whole else container.short_id,
        "Image": container.image,
        "Command": json.dumps(
            command if is_whole else _human.ellipsis(command, _COMMAND_WIDTH), ensure_ascii=False
        ),
        "CreatedAt": rfc3339(container.created_at_ns),
        "RunningFor": _human.ago(container.created_at_ns),
        "Status": status_text(state),
        "State": state.status,
        "Ports": "",
        "Names": container.name,
        "Labels": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        "Mounts": ",".join(mounts),
        "Networks": config.network,
        "LocalVolumes": "0",
        "Size": "",
        "Platform": config.platform,
    }
