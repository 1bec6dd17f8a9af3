"""Layers on their way, several at once: workers raise counters, the caller's thread reports them.

The first failure, an interrupt or an exception from the caller's callback stops all of them; nothing keeps
running.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyrust_ctr.errors import Cancelled
from pyrust_ctr.models.progress import PullPhase, PullProgress

if TYPE_CHECKING:
    import threading

    from pyrust_ctr.runtime.interface import LayerInfo, Progress

ProgressCallback = Callable[[PullProgress], None]

_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Job:
    """One layer to bring into the store."""

    label: str
    """Digest by which the layer is shown."""
    size_bytes: int
    """As it travels."""
    progress: Progress
    work: Callable[[], LayerInfo]
    present: LayerInfo | None = None
    """The layer when it is in the store already: nothing is done for it."""


def run(
    jobs: Sequence[Job],
    *,
    parallel: int,
    report: ProgressCallback | None,
    cancel: threading.Event | None = None,
) -> list[LayerInfo]:
    """Runs the jobs and returns what each made, in their order; raises the first failure.

    Setting `cancel` ends all of them, also those that wait for a silent registry: `Cancelled`.
    """
    if not jobs:
        return []
    reporter = _Reporter(jobs, report)
    reporter.poll()
    waiting = [job for job in jobs if job.present is None]
    if not waiting:
        return [job.present for job in jobs if job.present is not None]
    from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

    workers = max(1, min(parallel, len(waiting)))
    pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="pyrust-ctr-layer")
    futures: dict[int, Future[LayerInfo]] = {}
    try:
        for index, job in enumerate(jobs):
            if job.present is None:
                futures[index] = pool.submit(job.work)
        pending = set(futures.values())
        while pending:
            if cancel is not None and cancel.is_set():
                raise Cancelled("the transfer was cancelled")
            done, pending = wait(pending, timeout=_POLL_S, return_when=FIRST_COMPLETED)
            _raise_first([failure for future in done if (failure := future.exception()) is not None])
            reporter.poll()
        reporter.finish()
        return [job.present or futures[index].result() for index, job in enumerate(jobs)]
    except BaseException:
        for job in jobs:
            job.progress.cancel()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _raise_first(failures: Sequence[BaseException]) -> None:
    """Raises what failed; a cancelled worker is only the consequence of another one's failure."""
    for failure in failures:
        if not isinstance(failure, Cancelled):
            raise failure
    if failures:
        raise failures[0]


class _Reporter:
    """Turns counters into events; only what changed is told."""

    def __init__(self, jobs: Sequence[Job], report: ProgressCallback | None) -> None:
        self._jobs = jobs
        self._report = report
        self._last: list[tuple[PullPhase, int] | None] = [None] * len(jobs)
        self._total = sum(job.size_bytes for job in jobs)

    def poll(self) -> None:
        """Tells what changed since the last time."""
        if self._report is not None:
            self._tell([_state(job) for job in self._jobs])

    def finish(self) -> None:
        """Tells the end of every layer that has not been told."""
        if self._report is not None:
            states = [_state(job) for job in self._jobs]
            self._tell(
                [
                    state if state[0] is PullPhase.ALREADY_EXISTS else (PullPhase.COMPLETE, job.size_bytes)
                    for job, state in zip(self._jobs, states, strict=True)
                ]
            )

    def _tell(self, states: list[tuple[PullPhase, int]]) -> None:
        assert self._report is not None
        overall = sum(current for _, current in states)
        for index, (job, state) in enumerate(zip(self._jobs, states, strict=True)):
            if state == self._last[index]:
                continue
            self._last[index] = state
            phase, current = state
            label = job.label.removeprefix("sha256:")[:12]
            self._report(PullProgress(label, phase, current, job.size_bytes, overall, self._total))


def _state(job: Job) -> tuple[PullPhase, int]:
    if job.present is not None:
        return PullPhase.ALREADY_EXISTS, job.size_bytes
    phase = PullPhase(job.progress.phase)
    if phase in {PullPhase.COMPLETE, PullPhase.ALREADY_EXISTS, PullPhase.EXTRACTING}:
        return phase, job.size_bytes
    return phase, min(job.progress.current_bytes, job.size_bytes)
