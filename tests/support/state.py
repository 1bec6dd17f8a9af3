"""What a state directory holds."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyrust_ctr import Engine


def has_no_folders(engine: Engine, timeout_s: float = 5.0) -> bool:
    """Whether no folder of a container is left; a shim removes its own after the answer was given."""
    deadline = time.monotonic() + timeout_s
    while os.listdir(f"{engine.root}/containers"):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
