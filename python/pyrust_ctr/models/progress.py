"""What a pull or load tells its caller while it works."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class PullPhase(StrEnum):
    """What one layer is doing."""

    WAITING = "waiting"
    DOWNLOADING = "downloading"
    EXTRACTING = "extracting"
    COMPLETE = "complete"
    ALREADY_EXISTS = "already_exists"


@dataclass(frozen=True, slots=True)
class PullProgress:
    """One change of one layer; given to the `progress` callback on the caller's own thread, about ten times a
    second.

    Sizes are bytes as they travel (compressed).
    """

    layer: str
    """The twelve digits that name the layer."""
    phase: PullPhase
    current_bytes: int
    total_bytes: int
    overall_current_bytes: int
    """Sum over all layers of the image."""
    overall_total_bytes: int

    @property
    def is_finished(self) -> bool:
        """Whether nothing further will come for this layer."""
        return self.phase in (PullPhase.COMPLETE, PullPhase.ALREADY_EXISTS)
