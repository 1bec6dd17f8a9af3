"""`rm` and `prune`; what a killed process left of either files or rows is swept."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from pyrust_ctr import ids
from pyrust_ctr.containers import truth
from pyrust_ctr.containers.stop import kill_and_wait
from pyrust_ctr.errors import ContainerRunning, Error
from pyrust_ctr.models.container import PruneResult

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyrust_ctr.containers.context import ContainerContext
    from pyrust_ctr.containers.table import ContainerRow

_FORCE_PATIENCE_S: Final = 30.0
_MOMENT_S: Final = 0.01
_ORPHAN_AGE_S: Final = 60.0
"""A folder without a row is left alone for so long: its row may be about to be written."""


def remove(context: ContainerContext, row: ContainerRow, *, force: bool) -> None:
    """Removes a container; `ContainerRunning` unless forced, which kills it."""
    state = truth.observe(context, row)
    if state is None:
        return
    if state.is_running and not force:
        raise _running(row)
    deadline = time.monotonic() + _FORCE_PATIENCE_S
    while True:
        if force:
            kill_and_wait(context, row)
        try:
            truth.discard(context, row)
        except ContainerRunning as cause:
            # Somebody is starting it at this moment: it runs before long, and is killed then.
            if not force or time.monotonic() > deadline:
                raise _running(row) from cause
            time.sleep(_MOMENT_S)
        else:
            return


def _running(row: ContainerRow) -> ContainerRunning:
    return ContainerRunning(
        f"You cannot remove a running container {row.id}. "
        "Stop the container before attempting removal or force remove"
    )


def prune(context: ContainerContext, rows: Iterable[ContainerRow]) -> PruneResult:
    """Removes those of `rows` that do not run, and the folders of containers that nobody knows."""
    removed = []
    for row in rows:
        state = truth.observe(context, row)
        if state is None or state.is_running or row.owner is not None:
            continue
        try:
            truth.discard(context, row)
        except ContainerRunning:  # started meanwhile
            continue
        removed.append(row.id)
    sweep_orphans(context)
    return PruneResult(tuple(removed))


def sweep_orphans(context: ContainerContext) -> None:
    """Removes folders of containers without a row, which killed processes left."""
    known = {row.id for row in context.table.all()}
    try:
        names = os.listdir(context.paths.containers)
    except FileNotFoundError:
        return
    oldest = time.time() - _ORPHAN_AGE_S
    for name in names:
        if name in known or not ids.is_full_id(name):
            continue
        directory = context.directory(name)
        try:
            if (
                os.stat(directory).st_mtime > oldest
                or context.runtime.probe_container(directory).state == "running"
            ):
                continue
            context.runtime.remove_container(directory, name, context.trash)
        except (Error, OSError):
            continue  # another sweeper was here, or the next one will be
