"""The exceptions of pyrust_ctr. All of them are raised with one sentence and carry a stable `code`.

Error                                code                     exit status of the command line
├── InvalidArgument                  invalid_argument         125
│   ├── InvalidReference             invalid_reference
│   └── UnsupportedOption            unsupported_option
├── NotFound                         not_found                125
│   ├── ImageNotFound                image_not_found
│   └── ContainerNotFound            container_not_found
├── Conflict                         conflict                 125
│   ├── NameInUse                    name_in_use
│   ├── ContainerRunning             container_running
│   ├── ContainerNotRunning          container_not_running
│   └── ImageInUse                   image_in_use
├── RegistryError                    registry_error           125
│   ├── RegistryUnreachable          registry_unreachable
│   ├── Unauthorized                 unauthorized
│   └── ManifestUnknown              manifest_unknown
├── ContentError                     content_error            125
│   ├── DigestMismatch               digest_mismatch
│   ├── SizeMismatch                 size_mismatch
│   ├── MalformedArchive             malformed_archive
│   ├── HostileArchive               hostile_archive
│   ├── TooLarge                     too_large
│   └── PlatformMismatch             platform_mismatch
├── StartError                       start_error              125
│   ├── CommandNotFound              command_not_found        127
│   ├── CommandNotExecutable         command_not_executable   126
│   ├── UnknownUser                  unknown_user
│   ├── BadWorkingDirectory          bad_working_directory
│   ├── MountFailed                  mount_failed
│   ├── LimitRefused                 limit_refused
│   └── NamespaceGone                namespace_gone
├── SystemError_                     system_error             125
│   ├── NoSpace                      no_space
│   ├── PermissionDenied             permission_denied
│   ├── KernelFeatureMissing         kernel_feature_missing
│   ├── ShimLost                     shim_lost
│   └── StateError                   state_error
├── Cancelled                        cancelled                125
├── TimedOut                         timed_out                125
└── ProcessFailed                    process_failed           (the program's own; raised by `check=True`)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from pyrust_ctr.models.container import ExecResult, RunResult


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


class Error(Exception):
    """Base of every exception that this package raises on purpose."""

    code: ClassVar[str] = "error"
    exit_status: ClassVar[int] = 125

    def __init__(self, message: str, *, hint: str = "") -> None:
        # Messages quote texts of images, registries and containers, which must not drive a terminal.
        message = message if message.isprintable() else _printable(message)
        super().__init__(message)
        self.message = message
        self.hint = hint
        """What the user can do, a second sentence; empty when the message says it all."""


class InvalidArgument(Error):
    """A value is not acceptable."""

    code = "invalid_argument"


class InvalidReference(InvalidArgument):
    """An image reference does not parse."""

    code = "invalid_reference"


class UnsupportedOption(InvalidArgument):
    """An option that Docker has and this engine does not have yet, refused by name."""

    code = "unsupported_option"


class NotFound(Error):
    """Something does not exist."""

    code = "not_found"


class ImageNotFound(NotFound):
    """`No such image: …`"""

    code = "image_not_found"


class ContainerNotFound(NotFound):
    """`No such container: …`"""

    code = "container_not_found"


class Conflict(Error):
    """The present state does not allow the operation."""

    code = "conflict"


class NameInUse(Conflict):
    """Another container has that name."""

    code = "name_in_use"


class ContainerRunning(Conflict):
    """The container is running."""

    code = "container_running"


class ContainerNotRunning(Conflict):
    """The container is not running."""

    code = "container_not_running"


class ImageInUse(Conflict):
    """A container uses the image."""

    code = "image_in_use"


class RegistryError(Error):
    """The registry answered with an error or nonsense."""

    code = "registry_error"


class RegistryUnreachable(RegistryError):
    """The registry cannot be reached, or went silent."""

    code = "registry_unreachable"


class Unauthorized(RegistryError):
    """The registry wants credentials, or refused those it got."""

    code = "unauthorized"


class ManifestUnknown(RegistryError):
    """The registry does not have that image."""

    code = "manifest_unknown"


class ContentError(Error):
    """Content is not what it claims to be."""

    code = "content_error"


class DigestMismatch(ContentError):
    """Content does not have the digest that was asked for."""

    code = "digest_mismatch"


class SizeMismatch(ContentError):
    """Content is longer or shorter than was announced."""

    code = "size_mismatch"


class MalformedArchive(ContentError):
    """An archive is malformed or truncated."""

    code = "malformed_archive"


class HostileArchive(ContentError):
    """An archive tries to leave its root or to smuggle metadata."""

    code = "hostile_archive"


class TooLarge(ContentError):
    """A limit on sizes was reached."""

    code = "too_large"


class PlatformMismatch(ContentError):
    """The image is not for this platform."""

    code = "platform_mismatch"


class StartError(Error):
    """A container or exec could not be started."""

    code = "start_error"


class CommandNotFound(StartError):
    """The program does not exist in the container."""

    code = "command_not_found"
    exit_status = 127


class CommandNotExecutable(StartError):
    """The program cannot be executed."""

    code = "command_not_executable"
    exit_status = 126


class UnknownUser(StartError):
    """The user or group is unknown in the container or out of range."""

    code = "unknown_user"


class BadWorkingDirectory(StartError):
    """The working directory cannot be used."""

    code = "bad_working_directory"


class MountFailed(StartError):
    """A mount could not be made."""

    code = "mount_failed"


class LimitRefused(StartError):
    """The machine refused a limit that was asked for."""

    code = "limit_refused"


class NamespaceGone(StartError):
    """A namespace to be joined is gone."""

    code = "namespace_gone"


class SystemError_(Error):  # noqa: N801 - `SystemError` is a builtin
    """The machine failed or lacks something."""

    code = "system_error"


class NoSpace(SystemError_):
    """No space left on the device, or a quota was reached."""

    code = "no_space"


class PermissionDenied(SystemError_):
    """Not allowed to this user."""

    code = "permission_denied"


class KernelFeatureMissing(SystemError_):
    """The kernel lacks a feature."""

    code = "kernel_feature_missing"


class ShimLost(SystemError_):
    """The supervisor of a container died or broke the protocol."""

    code = "shim_lost"


class StateError(SystemError_):
    """The state database cannot be used."""

    code = "state_error"


class Cancelled(Error):
    """The caller cancelled the operation."""

    code = "cancelled"


class TimedOut(Error):
    """Time was over."""

    code = "timed_out"


class ProcessFailed(Error):
    """The program ended with a status other than 0 and `check=True` was asked for; `result` says all."""

    code = "process_failed"

    def __init__(self, message: str, result: RunResult | ExecResult) -> None:
        super().__init__(message)
        self.result = result
