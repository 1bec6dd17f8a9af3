"""`wait`: until a container ends."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from pyrust_ctr.containers import truth
from pyrust_ctr.containers.find import not_found
from pyrust_ctr.errors import NotFound, ShimLost
from pyrust_ctr.models.container import WaitResult

if TYPE_CHECKING:
    from pyrust_ctr.containers.context import ContainerContext
    from pyrust_ctr.containers.table import ContainerRow
    from pyrust_ctr.runtime.interface import ExitRecord

_NOT_STARTED_S: Final = 0.05


def wait(context: ContainerContext, row: ContainerRow, timeout_s: float | None) -> WaitResult | None:
    """How the container ended; None when the time is over. One that was never started is waited for, too."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    directory = context.directory(row.id)
    while True:
        remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            record = context.runtime.wait_container(directory, remaining)
        except (NotFound, ShimLost):
            record = None  # looked into below
        if record is not None:
            return result_of(record)
        state = truth.observe(context, row)
        if state is None:
            raise not_found(row.name)
        if remaining == 0.0:
            return None
        if not state.is_running:
            # Created and not started: nothing to wait on yet.
            time.sleep(_NOT_STARTED_S if remaining is None else min(_NOT_STARTED_S, remaining))


def result_of(record: ExitRecord) -> WaitResult:
    """A record in the words of the public model."""
    return WaitResult(
        record.exit_code, record.signal, record.oom_killed, record.timed_out, record.failure or ""
    )
