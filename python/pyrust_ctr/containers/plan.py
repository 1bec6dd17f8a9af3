"""From a configuration to a specification for this moment: image, joined containers, network files."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal

from pyrust_ctr.containers.find import find, not_found
from pyrust_ctr.containers.host import read_text
from pyrust_ctr.containers.owner import start_time
from pyrust_ctr.containers.spec import JoinedContainer, Surroundings, build_spec
from pyrust_ctr.errors import ContainerNotRunning, ImageNotFound, InvalidArgument
from pyrust_ctr.models.mount import BindMount
from pyrust_ctr.models.namespace import CONTAINER_PREFIX, joined_container
from pyrust_ctr.models.signal import parse_signal

if TYPE_CHECKING:
    from pyrust_ctr.containers.context import ContainerContext
    from pyrust_ctr.containers.table import ContainerRow
    from pyrust_ctr.models.container import ContainerConfig
    from pyrust_ctr.models.image import ResolvedImage

PullPolicy = Literal["missing", "always", "never"]
PULL_POLICIES: Final = ("missing", "always", "never")

_NETWORK_FILES: Final = ("/etc/hosts", "/etc/resolv.conf")


def resolve_image(context: ContainerContext, name: str, platform: str, pull: str) -> ResolvedImage:
    """The image of a container, downloaded first when the policy says so."""
    if pull not in PULL_POLICIES:
        raise InvalidArgument(
            f"`{pull}` is not a pull policy", hint=f"Use one of: {', '.join(PULL_POLICIES)}."
        )
    wanted = platform or None
    if pull == "always":
        context.pull(name, wanted)
    try:
        return context.images.resolve_for_run(name, wanted)
    except ImageNotFound:
        if pull != "missing":
            raise
    context.pull(name, wanted)
    return context.images.resolve_for_run(name, wanted)


def with_ids(context: ContainerContext, config: ContainerConfig) -> ContainerConfig:
    """The same configuration with joined containers named by their full id, so that a rename cannot
    redirect it.
    """
    changes: dict[str, Any] = {}
    for field in ("network", "pid", "ipc"):
        target = joined_container(getattr(config, field))
        if target is not None:
            changes[field] = f"{CONTAINER_PREFIX}{find(context.table, target).id}"
    return replace(config, **changes) if changes else config


def with_image_defaults(config: ContainerConfig, image: ResolvedImage) -> ContainerConfig:
    """The same configuration with the image's labels and stop signal, which outlive the image's name."""
    stop_signal = config.stop_signal
    if stop_signal is None and image.config.stop_signal:
        stop_signal = parse_signal(image.config.stop_signal)
    if not image.config.labels and stop_signal == config.stop_signal:
        return config
    return replace(config, labels={**image.config.labels, **config.labels}, stop_signal=stop_signal)


def surroundings(
    context: ContainerContext,
    config: ContainerConfig,
    *,
    is_direct: bool = False,
    timeout_ms: int | None = None,
    terminal_size: tuple[int, int] = (24, 80),
    must_join: bool = True,
) -> Surroundings:
    """What the specification needs beside image and configuration.

    With `must_join`, joined containers have to run; else they are looked up again when the container starts.
    """
    return Surroundings(
        context.host,
        joined=_joined(context, config, must_join=must_join),
        network_files={path: read_text(path) for path in _NETWORK_FILES} if config.network == "host" else {},
        is_direct=is_direct,
        is_volatile=is_direct or config.auto_remove,
        timeout_ms=timeout_ms,
        terminal_size=terminal_size,
    )


def spec_bytes(
    container_id: str, config: ContainerConfig, image: ResolvedImage, around: Surroundings
) -> bytes:
    """The specification as it goes to the shim and to disk."""
    return json.dumps(build_spec(container_id, config, image, around), separators=(",", ":")).encode()


def kept_spec(context: ContainerContext, row: ContainerRow) -> dict[str, Any] | None:
    """The specification that a container was made from; None when the container is no more.

    A container of `Engine.run` keeps none on disk, so that it starts faster: it is made again from its row.
    """
    try:
        document: dict[str, Any] = json.loads(context.paths.container_spec(row.id).read_bytes())
    except FileNotFoundError:
        if row.owner is None or not context.paths.container(row.id).exists():
            return None
        try:
            image = context.images.resolve_for_run(row.image_id, row.config.platform or None)
        except ImageNotFound:
            return None
        around = surroundings(context, row.config, is_direct=True, must_join=False)
        return build_spec(row.id, row.config, image, around)
    return document


def make_sources(config: ContainerConfig) -> None:
    """Makes the missing directories that `-v` names; a missing source of another mount is an error."""
    for mount in config.mounts:
        if not isinstance(mount, BindMount) or os.path.lexists(mount.source):
            continue
        if not mount.creates_source:
            raise InvalidArgument(f"the source of a bind mount does not exist: `{mount.source}`")
        try:
            os.makedirs(mount.source, exist_ok=True)
        except OSError as cause:
            raise InvalidArgument(
                f"cannot make the source of a mount `{mount.source}`: {cause.strerror}"
            ) from cause


def _joined(
    context: ContainerContext, config: ContainerConfig, *, must_join: bool
) -> dict[str, JoinedContainer]:
    joined = {}
    for field in ("network", "pid", "ipc"):
        target = joined_container(getattr(config, field))
        if target is None:
            continue
        row = find(context.table, target)
        probe = context.runtime.probe_container(context.directory(row.id))
        if probe.state != "running" or not probe.pid:
            if must_join:
                raise ContainerNotRunning(
                    f"cannot join the {field} namespace of the container `{row.name}`: it is not running",
                    hint=f"`pctr start {row.name}` starts it.",
                )
            joined[field] = JoinedContainer(0, 0, row.config.hostname)
            continue
        document = kept_spec(context, row)
        if document is None:
            raise not_found(row.name)
        pid_start = probe.pid_start_time or start_time(probe.pid) or 0
        joined[field] = JoinedContainer(probe.pid, pid_start, document["hostname"], tuple(document["files"]))
    return joined
