"""What every verb on images needs, passed down as one value."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from pyrust_ctr.config import EngineConfig
    from pyrust_ctr.images.access import RegistryAccess
    from pyrust_ctr.images.table import ImageTable
    from pyrust_ctr.paths import Paths
    from pyrust_ctr.runtime.interface import Runtime, Store
    from pyrust_ctr.state.db import Database


@dataclass(frozen=True, slots=True)
class ImageContext:
    """The collaborators of the image service."""

    paths: Paths
    database: Database
    table: ImageTable
    store: Store
    runtime: Runtime
    access: RegistryAccess

    @property
    def config(self) -> EngineConfig:
        """The settings in force."""
        return self.access.config()

    @property
    def lock(self) -> Path:
        """Shared by whoever adds content before its row is written; exclusive for whoever deletes content."""
        return self.paths.locks / "images"

    @property
    def overdue(self) -> Path:
        """There while content without a row waits for the lock to become free."""
        return self.paths.locks / "images.overdue"


def now_ns() -> int:
    """Unix time, nanoseconds."""
    return time.time_ns()
