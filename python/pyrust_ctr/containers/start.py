"""`start`: a created or ended container begins to run, attached from the first byte or not at all."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from pyrust_ctr.containers import plan
from pyrust_ctr.models.namespace import joined_container

if TYPE_CHECKING:
    from pyrust_ctr.containers.context import ContainerContext
    from pyrust_ctr.containers.table import ContainerRow
    from pyrust_ctr.runtime.interface import StartedContainer


def start(
    context: ContainerContext,
    row: ContainerRow,
    *,
    stdout_sink: int | None = None,
    stderr_sink: int | None = None,
    attach_stdin: bool = False,
) -> StartedContainer:
    """Starts the container; `ContainerRunning`, `StartError`s, `KernelFeatureMissing`.

    With sinks, the shim copies the output there from the first byte on.
    """
    config = row.config
    plan.make_sources(config)
    if any(joined_container(mode) for mode in (config.network, config.pid, config.ipc)):
        _rejoin(context, row)
    started = context.runtime.start_container(
        context.directory(row.id),
        context.trash,
        stdout_sink=stdout_sink,
        stderr_sink=stderr_sink,
        attach_stdin=attach_stdin,
    )
    if row.owner is not None:
        context.table.disown(row.id)
    return started


def _rejoin(context: ContainerContext, row: ContainerRow) -> None:
    """Names the processes whose namespaces are joined: they are others at every start."""
    path = context.paths.container_spec(row.id)
    spec = json.loads(path.read_bytes())
    for name, target in plan.surroundings(context, row.config).joined.items():
        spec["namespaces"][name] = {"mode": "process", "pid": target.pid, "start_time": target.start_time}
        if name == "network":
            spec["hostname"] = target.hostname if not row.config.hostname else row.config.hostname
            targets = {mount.target for mount in row.config.mounts}
            spec["files"] = [file for file in target.files if file["path"] not in targets]
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.write_bytes(json.dumps(spec, separators=(",", ":")).encode())
    os.replace(fresh, path)
