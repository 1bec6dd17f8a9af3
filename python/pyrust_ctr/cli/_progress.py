"""Layers on their way, on stderr: bars on a terminal, plain lines elsewhere. For `pull`, `load`, `run`."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from pyrust_ctr.cli import _output
from pyrust_ctr.models.progress import PullPhase, PullProgress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import TaskID

_BAR_WORDS: Final = {
    PullPhase.WAITING: "Waiting",
    PullPhase.DOWNLOADING: "Downloading",
    PullPhase.EXTRACTING: "Extracting",
    PullPhase.COMPLETE: "Pull complete",
    PullPhase.ALREADY_EXISTS: "Already exists",
}
_LINE_WORDS: Final = {
    PullPhase.WAITING: "Pulling fs layer",
    PullPhase.EXTRACTING: "Download complete",
    PullPhase.COMPLETE: "Pull complete",
    PullPhase.ALREADY_EXISTS: "Already exists",
}


@contextmanager
def layers(*, quiet: bool = False) -> Iterator[Callable[[PullProgress], None] | None]:
    """A progress callback for `images.pull` and `images.load`; None when nothing is to be shown."""
    if quiet:
        yield None
    elif sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        with _bars() as show:
            yield show
    else:
        yield _lines()


def _lines() -> Callable[[PullProgress], None]:
    told: set[tuple[str, PullPhase]] = set()

    def show(event: PullProgress) -> None:
        word = _LINE_WORDS.get(event.phase)
        if word is not None and (event.layer, event.phase) not in told:
            told.add((event.layer, event.phase))
            _output.note(f"{event.layer}: {word}")

    return show


@contextmanager
def _bars() -> Iterator[Callable[[PullProgress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    bars = Progress(
        TextColumn("{task.description}"),
        TextColumn("{task.fields[word]:<14}"),
        BarColumn(bar_width=None),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=Console(stderr=True),
        expand=True,
    )
    tasks: dict[str, TaskID] = {}

    def show(event: PullProgress) -> None:
        task = tasks.get(event.layer)
        if task is None:
            task = tasks[event.layer] = bars.add_task(event.layer, total=event.total_bytes, word="")
        bars.update(
            task,
            completed=event.current_bytes,
            total=max(1, event.total_bytes) if event.is_finished else event.total_bytes,
            word=_BAR_WORDS[event.phase],
        )
        if event.is_finished:
            bars.update(task, completed=max(1, event.total_bytes))

    with bars:
        yield show
