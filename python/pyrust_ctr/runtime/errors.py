"""From the core's error kinds to this package's exceptions: one table, tested to be complete."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

from pyrust_ctr import errors

if TYPE_CHECKING:
    from collections.abc import Mapping


class CoreFailure(Protocol):
    """What a failed core operation tells (`_core.CoreError`)."""

    kind: str
    message: str
    errno: int | None
    path: str | None


EXCEPTIONS: Final[Mapping[str, type[errors.Error]]] = MappingProxyType(
    {
        "io": errors.SystemError_,
        "invalid_argument": errors.InvalidArgument,
        "not_found": errors.NotFound,
        "already_exists": errors.Conflict,
        "no_space": errors.NoSpace,
        "permission_denied": errors.PermissionDenied,
        "cancelled": errors.Cancelled,
        "timed_out": errors.TimedOut,
        "digest_mismatch": errors.DigestMismatch,
        "size_mismatch": errors.SizeMismatch,
        "malformed_archive": errors.MalformedArchive,
        "hostile_archive": errors.HostileArchive,
        "too_large": errors.TooLarge,
        "registry_unreachable": errors.RegistryUnreachable,
        "registry_error": errors.RegistryError,
        "unauthorized": errors.Unauthorized,
        "manifest_unknown": errors.ManifestUnknown,
        "kernel_feature_missing": errors.KernelFeatureMissing,
        "bad_seccomp_profile": errors.InvalidArgument,
        "shim_lost": errors.ShimLost,
        "not_running": errors.ContainerNotRunning,
        "already_running": errors.ContainerRunning,
        "command_not_found": errors.CommandNotFound,
        "command_not_executable": errors.CommandNotExecutable,
        "unknown_user": errors.UnknownUser,
        "bad_working_directory": errors.BadWorkingDirectory,
        "mount_failed": errors.MountFailed,
        "limit_refused": errors.LimitRefused,
        "namespace_gone": errors.NamespaceGone,
        "internal": errors.SystemError_,
    }
)
"""Error kind of the core to exception class."""

_HINTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "no_space": "Free some space, or use another state directory.",
        "permission_denied": "The engine needs root.",
        "kernel_feature_missing": "`pctr doctor` lists what the engine needs and what to do.",
        "limit_refused": "Ask for less, or raise the limit of this machine.",
        "unauthorized": "`pctr login` keeps credentials for a registry.",
    }
)


def exception_for(failure: CoreFailure) -> errors.Error:
    """The exception that stands for a failed core operation."""
    chosen = EXCEPTIONS.get(failure.kind, errors.SystemError_)
    return chosen(failure.message, hint=_HINTS.get(failure.kind, ""))
