r"""A container engine that lives in your Python process.

    import pyrust_ctr

    with pyrust_ctr.Engine() as engine:
        result = engine.run("busybox", ["sh", "-c", "echo hi; exit 3"], memory="64m", timeout=5)
        print(result.exit_code, result.stdout)          # 3 b'hi\n'

`Engine` is the way in; `AsyncEngine` has the same surface for asyncio. Everything that can go wrong is in
`errors`, one
tree below `Error`. Importing this package loads almost nothing: each public name is loaded when it is first
used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pyrust_ctr.aio import AsyncContainer, AsyncEngine
    from pyrust_ctr.containers.container import Container
    from pyrust_ctr.engine import Engine
    from pyrust_ctr.errors import Error
    from pyrust_ctr.models.container import ContainerConfig, ContainerState, ExecResult, LogLine, RunResult
    from pyrust_ctr.models.image import Image
    from pyrust_ctr.models.mount import BindMount, TmpfsMount
    from pyrust_ctr.models.options import ContainerOptions
    from pyrust_ctr.models.progress import PullProgress

__all__ = [
    "AsyncContainer",
    "AsyncEngine",
    "BindMount",
    "Container",
    "ContainerConfig",
    "ContainerOptions",
    "ContainerState",
    "Engine",
    "Error",
    "ExecResult",
    "Image",
    "LogLine",
    "PullProgress",
    "RunResult",
    "TmpfsMount",
    "__version__",
    "errors",
]

_HOMES: Final = {
    "AsyncContainer": "pyrust_ctr.aio",
    "AsyncEngine": "pyrust_ctr.aio",
    "BindMount": "pyrust_ctr.models.mount",
    "Container": "pyrust_ctr.containers.container",
    "ContainerConfig": "pyrust_ctr.models.container",
    "ContainerOptions": "pyrust_ctr.models.options",
    "ContainerState": "pyrust_ctr.models.container",
    "Engine": "pyrust_ctr.engine",
    "Error": "pyrust_ctr.errors",
    "ExecResult": "pyrust_ctr.models.container",
    "Image": "pyrust_ctr.models.image",
    "LogLine": "pyrust_ctr.models.container",
    "PullProgress": "pyrust_ctr.models.progress",
    "RunResult": "pyrust_ctr.models.container",
    "TmpfsMount": "pyrust_ctr.models.mount",
}


def __getattr__(name: str) -> Any:
    import importlib

    if name == "errors":
        return importlib.import_module("pyrust_ctr.errors")
    if name == "__version__":
        from importlib.metadata import version

        return version("pyrust-ctr")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module `pyrust_ctr` has no attribute `{name}`")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
