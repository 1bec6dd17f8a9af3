"""The door to the compiled core, and the only room that imports it.

`interface` says what the services need, `core` provides it, `errors` translates failures. Services take a
`Runtime`; the engine loads the real one with `load`, tests pass a fake.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyrust_ctr.runtime.interface import Runtime

__all__ = ["load"]


def load() -> Runtime:
    """The runtime on the compiled core; the extension is loaded now, not when this package is imported."""
    from pyrust_ctr.runtime.core import CoreRuntime

    return CoreRuntime()
