"""What the benchmarks share. They compare: every figure beside a peer's, on this machine, in this run."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from tests.support.registry import open_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.registry import RegistryServer


@dataclass(frozen=True, slots=True)
class Comparison:
    """Times of two things that were done in turns, seconds."""

    ours: list[float]
    theirs: list[float]

    @property
    def ratio(self) -> float:
        """Our median over theirs."""
        return statistics.median(self.ours) / statistics.median(self.theirs)

    def report(self, what: str, peer: str) -> str:
        """One line for people."""
        mine, other = statistics.median(self.ours) * 1e3, statistics.median(self.theirs) * 1e3
        rounds = len(self.ours)
        return (
            f"\n{what}: {mine:.2f} ms, {peer}: {other:.2f} ms, ratio {self.ratio:.2f} (medians of {rounds})"
        )


def in_turns(
    ours: Callable[[], float | None], theirs: Callable[[], float | None], *, rounds: int, warm_up: int = 3
) -> Comparison:
    """Does both in turns, so that whatever else the machine does falls on both.

    A callable may measure itself and return the seconds, when it prepares and cleans up.
    """
    times: tuple[list[float], list[float]] = ([], [])
    for round_ in range(warm_up + rounds):
        # Who comes first changes, too.
        order = (0, 1) if round_ % 2 == 0 else (1, 0)
        for who in order:
            begun = time.perf_counter()
            own = (ours, theirs)[who]()
            taken = time.perf_counter() - begun
            if round_ >= warm_up:
                times[who].append(taken if own is None else own)
    return Comparison(*times)


@pytest.fixture(scope="session")
def bench_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """A real registry."""
    with open_registry(tmp_path_factory.mktemp("registry")) as server:
        yield server
