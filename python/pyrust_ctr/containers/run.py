"""The fast path of `Engine.run`: one row in, one call into the core, one row out."""

from __future__ import annotations

import signal
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from pyrust_ctr import ids
from pyrust_ctr.containers import plan
from pyrust_ctr.containers.create import image_removed, insert, refuse_taken
from pyrust_ctr.containers.names import check_name
from pyrust_ctr.containers.owner import Owner
from pyrust_ctr.containers.table import ContainerRow, ImageGone
from pyrust_ctr.errors import Cancelled, Error, ProcessFailed
from pyrust_ctr.models.container import RunResult
from pyrust_ctr.models.signal import signal_name

if TYPE_CHECKING:
    from pyrust_ctr.containers.context import ContainerContext
    from pyrust_ctr.models.container import ContainerConfig
    from pyrust_ctr.runtime.interface import RunOutcome

_KILL_INTERVAL_S = 0.02


class Run:
    """One run, which another thread may cancel."""

    def __init__(
        self,
        context: ContainerContext,
        config: ContainerConfig,
        *,
        name: str | None = None,
        pull: str = "missing",
        input: bytes | None = None,
        timeout_ms: int | None = None,
    ) -> None:
        self.id = ids.new_id()
        self._context = context
        self._config = replace(config, auto_remove=True, tty=False)
        self._name = None if name is None else check_name(name)
        self._pull = pull
        self._input = input
        self._timeout_ms = timeout_ms
        self._is_cancelled = threading.Event()
        self._is_over = threading.Event()

    def execute(self) -> RunResult:
        """Runs the container to its end; the errors of a start are `StartError`s, `Cancelled` after
        `cancel`.
        """
        try:
            result = self._execute()
        finally:
            self._is_over.set()
        if self._is_cancelled.is_set():
            raise Cancelled("the run was cancelled and its container killed")
        return result

    def cancel(self) -> None:
        """Kills the container, whether it runs already or is about to; returns when it is over."""
        self._is_cancelled.set()
        directory = self._context.directory(self.id)
        while not self._is_over.wait(_KILL_INTERVAL_S):
            try:
                self._context.runtime.signal_container(directory, signal.SIGKILL, everyone=True)
            except Error:
                continue  # not started yet, or ended just now

    def _execute(self) -> RunResult:
        context = self._context
        if self._name is not None:
            refuse_taken(context, self._name)
        config = plan.with_ids(context, self._config)
        plan.make_sources(config)
        around = plan.surroundings(context, config, is_direct=True, timeout_ms=self._timeout_ms)
        image = plan.resolve_image(context, config.image, config.platform, self._pull)
        spec = plan.spec_bytes(self.id, config, image, around)
        try:
            insert(context, self._name, self._row(image.image.id, plan.with_image_defaults(config, image)))
        except ImageGone as cause:
            raise image_removed(config.image) from cause
        directory = context.directory(self.id)
        has_ended = False
        try:
            if self._is_cancelled.is_set():
                raise Cancelled("the run was cancelled before its container was started")
            outcome = context.runtime.run_container(directory, context.trash, spec, input=self._input)
            has_ended = True
        finally:
            context.table.delete(self.id)
            if not has_ended:
                context.runtime.remove_container(directory, self.id, context.trash)
        return result_of(outcome)

    def _row(self, image_id: str, config: ContainerConfig) -> ContainerRow:
        owner = Owner.current()
        return ContainerRow(
            self.id, "", image_id, config.image, time.time_ns(), config.to_json(), True, owner
        )


def raise_for_status(result: RunResult, what: str) -> None:
    """`ProcessFailed` unless the exit code is 0."""
    if result.exit_code == 0 and not result.timed_out:
        return
    reason = f"ended with exit code {result.exit_code}"
    if result.timed_out:
        reason = "was killed because its time was over"
    elif result.oom_killed:
        reason = "was killed because its memory limit was reached"
    elif result.signal is not None:
        reason = f"was ended by {signal_name(result.signal)}"
    raise ProcessFailed(f"the command in `{what}` {reason}", result)


def result_of(outcome: RunOutcome) -> RunResult:
    """The public result of a run that ended."""
    record = outcome.exit
    warnings = tuple(outcome.warnings)
    if record.failure:
        warnings += (record.failure,)
    return RunResult(
        record.exit_code,
        outcome.stdout,
        outcome.stderr,
        record.duration_ns / 1e9,
        record.timed_out,
        record.oom_killed,
        record.peak_memory_bytes,
        None if record.cpu_ns is None else record.cpu_ns / 1e9,
        record.signal,
        warnings,
    )
