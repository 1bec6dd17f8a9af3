"""What is true of a container, asked of the kernel and of its shim's records; repairs what a killed process
left.

probe        row has a living owner    what follows
created      yes or no owner           `created`
created      owner died                removed
running      yes or no owner           `running`
running      owner died                killed and removed: nobody can receive its result
exited       -                         `exited`; `removing` while its shim removes it, which we do
                                       ourselves when it takes too long: the shim was killed
dead         -                         repaired, then as `exited`
gone         yes                       `created`: it is being made
gone         no owner, or it died      its row goes too
"""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from pyrust_ctr.errors import ContainerNotRunning, ContainerRunning, Error
from pyrust_ctr.models.container import ContainerState

if TYPE_CHECKING:
    from pyrust_ctr.containers.context import ContainerContext
    from pyrust_ctr.containers.table import ContainerRow
    from pyrust_ctr.runtime.interface import ExitRecord, Probe

_KILL_PATIENCE_S = 10.0
_REMOVAL_PATIENCE_NS = 5_000_000_000


def observe(context: ContainerContext, row: ContainerRow) -> ContainerState | None:
    """The state of a container; None when it is no more, and its row is gone then."""
    probe = context.runtime.probe_container(context.directory(row.id))
    if probe.state == "dead":
        probe = context.runtime.repair_container(context.directory(row.id), row.id)
        if row.auto_remove and _discarded(context, row):
            return None
    if row.owner is not None and not row.owner.is_alive():
        abandon(context, row)
        return None
    if probe.state == "gone":
        if row.owner is not None:
            return ContainerState("created")
        context.table.delete(row.id)
        return None
    if _is_overdue(row, probe) and _discarded(context, row):
        return None
    return state_of(probe, auto_remove=row.auto_remove)


def state_of(probe: Probe, *, auto_remove: bool) -> ContainerState:
    """A probe in the words of the public model."""
    if probe.state == "running":
        return ContainerState("running", pid=probe.pid or 0, started_at_ns=probe.started_at_ns or 0)
    if probe.exit is None:
        return ContainerState("created")
    return _ended(probe.exit, is_removing=auto_remove)


def reap_abandoned(context: ContainerContext) -> None:
    """Removes the transient containers of killed processes. Looks only at those that have an owner."""
    for row in context.table.owned():
        if row.owner is not None and not row.owner.is_alive():
            abandon(context, row)


def abandon(context: ContainerContext, row: ContainerRow) -> None:
    """Kills and removes a container whose owner died; one that is just starting is left to the next comer."""
    directory = context.directory(row.id)
    try:
        context.runtime.signal_container(directory, signal.SIGKILL, everyone=True)
        context.runtime.wait_container(directory, _KILL_PATIENCE_S)
    except ContainerNotRunning:
        pass
    except Error:
        # Whatever is wrong with its supervisor, repairing settles it.
        context.runtime.repair_container(directory, row.id)
    _discarded(context, row)


def discard(context: ContainerContext, row: ContainerRow) -> None:
    """Removes an ended container's files, then forgets it; `ContainerRunning` when it was started meanwhile.

    Killed in between, this leaves a row without files, which the next comer takes for what it is.
    """
    context.runtime.remove_container(context.directory(row.id), row.id, context.trash)
    context.table.delete(row.id)


def _is_overdue(row: ContainerRow, probe: Probe) -> bool:
    """Whether a container that is thrown away should have been removed by its shim long ago."""
    if not row.auto_remove or row.owner is not None or probe.exit is None:
        return False
    return time.time_ns() - probe.exit.finished_at_ns > _REMOVAL_PATIENCE_NS


def _discarded(context: ContainerContext, row: ContainerRow) -> bool:
    """`discard`, unless somebody is starting the container, or its shim still cleans up: the next
    comer tries again.
    """
    try:
        discard(context, row)
    except ContainerRunning:
        return False
    return True


def _ended(record: ExitRecord, *, is_removing: bool) -> ContainerState:
    return ContainerState(
        "removing" if is_removing else "exited",
        exit_code=record.exit_code,
        signal=record.signal,
        oom_killed=record.oom_killed,
        timed_out=record.timed_out,
        peak_memory_bytes=record.peak_memory_bytes,
        cpu_ns=record.cpu_ns,
        started_at_ns=record.started_at_ns,
        finished_at_ns=record.finished_at_ns,
        failure=record.failure or "",
    )
