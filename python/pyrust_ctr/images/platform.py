"""Which of an image's platforms is wanted here. Names are Go's, as images use them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pyrust_ctr.errors import InvalidArgument
from pyrust_ctr.models.image import Platform

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_ARCHITECTURES = {
    "x86_64": "amd64",
    "x86-64": "amd64",
    "aarch64": "arm64",
    "i386": "386",
    "i486": "386",
    "i586": "386",
    "i686": "386",
    "armhf": "arm",
    "armel": "arm",
    "loongarch64": "loong64",
}
_DEFAULT_VARIANTS = {"arm64": "v8", "arm": "v7", "amd64": "v1"}
_IMPLIED_VARIANTS = {"armel": "v6", "armhf": "v7", "armv6l": "v6", "armv7l": "v7", "armv8l": "v8"}
_RUNS_TOO = {"amd64": "386", "arm64": "arm"}
"""Architectures whose programs the kernel of another one runs as they are."""
_EMULATORS = {"amd64": "x86_64", "arm64": "aarch64", "386": "i386", "loong64": "loongarch64"}


def parse_platform(text: str) -> Platform:
    """`os/arch[/variant]`, `arch` or `os`; the missing half is this machine's."""
    parts = text.strip().lower().split("/")
    if not all(parts) or len(parts) > 3:
        raise InvalidArgument(f"`{text}` is not a platform: expected `os/architecture[/variant]`")
    if len(parts) == 1:
        if parts[0] == "linux":
            return host_platform()
        parts = ["linux", *parts]
    return _normalized(Platform(parts[0], parts[1], parts[2] if len(parts) > 2 else ""))


def host_platform() -> Platform:
    """The platform of this machine."""
    return _normalized(Platform("linux", os.uname().machine))


def is_same(wanted: Platform, offered: Platform) -> bool:
    """Whether `offered` is exactly what is wanted, missing variants being the usual ones."""
    return _full(wanted) == _full(offered)


def choose(wanted: Platform, offered: Sequence[Platform | None]) -> int | None:
    """Index of the platform that suits best; None when none does. Entries that are None do not say what they
    are for.

    The exact one, else (32-bit ARM, x86-64 levels) the next lower variant, never a higher one.
    """
    for candidate in _acceptable(_full(wanted)):
        for index, platform in enumerate(offered):
            if platform is not None and _full(platform) == candidate:
                return index
    return None


def can_run(platform: Platform) -> bool:
    """Whether this machine's kernel runs programs of that platform (itself, or through a registered
    emulator).
    """
    host = host_platform()
    wanted = _normalized(platform)
    if wanted.os != "linux":
        return False
    if wanted.architecture in (host.architecture, _RUNS_TOO.get(host.architecture)):
        return True
    emulator = _EMULATORS.get(wanted.architecture, wanted.architecture)
    return os.path.exists(f"/proc/sys/fs/binfmt_misc/qemu-{emulator}")


def listed(platforms: Iterable[Platform | None]) -> str:
    """`linux/amd64, linux/arm64`, for messages."""
    names = sorted(
        {str(platform) for platform in platforms if platform is not None and platform.os != "unknown"}
    )
    return ", ".join(f"`{name}`" for name in names) or "nothing"


def _normalized(platform: Platform) -> Platform:
    architecture = platform.architecture.lower()
    variant = platform.variant.lower() or _IMPLIED_VARIANTS.get(architecture, "")
    if architecture.startswith("armv") or architecture in {"armhf", "armel"}:
        architecture = "arm"
    if variant.isdecimal() and architecture in _DEFAULT_VARIANTS:
        variant = f"v{variant}"
    architecture = _ARCHITECTURES.get(architecture, architecture)
    if variant == _DEFAULT_VARIANTS.get(architecture) and architecture != "arm":
        variant = ""
    return Platform(platform.os.lower(), architecture, variant)


def _full(platform: Platform) -> Platform:
    known = _normalized(platform)
    return Platform(
        known.os, known.architecture, known.variant or _DEFAULT_VARIANTS.get(known.architecture, "")
    )


def _acceptable(wanted: Platform) -> Iterable[Platform]:
    yield wanted
    level = wanted.variant.removeprefix("v")
    if wanted.architecture in {"arm", "amd64"} and level.isdecimal():
        lowest = 5 if wanted.architecture == "arm" else 1
        for lower in range(int(level) - 1, lowest - 1, -1):
            yield Platform(wanted.os, wanted.architecture, f"v{lower}")
