"""Image configurations (OCI image specification, `config.md`), parsed and checked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pyrust_ctr.errors import ContentError, PlatformMismatch, TooLarge
from pyrust_ctr.images.documents import (
    MAX_CONFIG_BYTES,
    mapping,
    number,
    parse_object,
    refuse_lookalike_keys,
    text,
    texts,
)
from pyrust_ctr.images.manifests import MAX_LAYERS
from pyrust_ctr.models.image import Healthcheck, ImageConfig, Platform
from pyrust_ctr.refs import is_digest

_KEYS = frozenset({"architecture", "os", "variant", "config", "rootfs", "created", "author", "history"})


def parse_config(data: bytes, name: str) -> ImageConfig:
    """The configuration in `data`; `name` is the image's, for messages."""
    what = f"the configuration of `{name}`"
    document = parse_object(data, what, max_bytes=MAX_CONFIG_BYTES)
    refuse_lookalike_keys(document, _KEYS, what)
    settings = mapping(document, "config", what)
    platform = Platform(
        text(document, "os", what), text(document, "architecture", what), text(document, "variant", what)
    )
    if platform.os != "linux":
        raise PlatformMismatch(
            f"the image `{name}` is for `{platform.os or 'an unnamed system'}`, not for `linux`"
        )
    labels = mapping(settings, "Labels", what)
    if not all(isinstance(value, str) for value in labels.values()):
        raise ContentError(f"`Labels` of {what} are not texts")
    env = texts(settings, "Env", what) or ()
    if any("\0" in item for item in env):
        raise ContentError(f"`Env` of {what} has a null character in it")
    return ImageConfig(
        platform=platform,
        diff_ids=_diff_ids(document, what),
        created=text(document, "created", what),
        author=text(document, "author", what),
        entrypoint=_arguments(settings, "Entrypoint", what),
        cmd=_arguments(settings, "Cmd", what),
        env=env,
        working_dir=text(settings, "WorkingDir", what),
        user=text(settings, "User", what),
        exposed_ports=tuple(mapping(settings, "ExposedPorts", what)),
        volumes=tuple(mapping(settings, "Volumes", what)),
        labels=labels,
        stop_signal=text(settings, "StopSignal", what),
        shell=texts(settings, "Shell", what) or (),
        healthcheck=_healthcheck(settings, what),
        document=document,
    )


def created_ns(config: ImageConfig) -> int:
    """Unix time of the image's making, nanoseconds; 0 when it has none or an unreadable one."""
    try:
        moment = datetime.fromisoformat(config.created)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(0, int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1000)
    except (ValueError, OverflowError):
        return 0


def _diff_ids(document: dict[str, Any], what: str) -> tuple[str, ...]:
    rootfs = mapping(document, "rootfs", what)
    if not rootfs:
        raise ContentError(f"{what} has no `rootfs`")
    if text(rootfs, "type", what) not in {"layers", ""}:
        raise ContentError(f"`rootfs` of {what} is of the unknown type `{rootfs['type']}`")
    diff_ids = texts(rootfs, "diff_ids", what) or ()
    if not all(is_digest(diff_id) for diff_id in diff_ids):
        raise ContentError(f"`diff_ids` of {what} are not `sha256:` and 64 hexadecimal digits each")
    if len(diff_ids) > MAX_LAYERS:
        raise TooLarge(f"{what} has {len(diff_ids)} layers, more than the limit of {MAX_LAYERS}")
    return diff_ids


def _arguments(settings: dict[str, Any], key: str, what: str) -> tuple[str, ...] | None:
    found = texts(settings, key, what)
    if found and any("\0" in item for item in found):
        raise ContentError(f"`{key}` of {what} has a null character in it")
    return found or None


def _healthcheck(settings: dict[str, Any], what: str) -> Healthcheck | None:
    check = mapping(settings, "Healthcheck", what)
    test = texts(check, "Test", what)
    if not test or test == ("NONE",):
        return None
    return Healthcheck(
        test,
        number(check, "Interval", what),
        number(check, "Timeout", what),
        number(check, "StartPeriod", what),
        number(check, "Retries", what),
    )
