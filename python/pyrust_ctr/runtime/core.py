"""The runtime on the compiled core: the only module that imports `_core`, and it translates every error."""

# ruff: noqa: D102 - what each method promises is written once, in `_core.pyi`

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from pyrust_ctr import _core, paths
from pyrust_ctr.runtime.errors import exception_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrust_ctr.runtime.interface import (
        Attachment,
        ExecExit,
        ExecOutcome,
        ExitRecord,
        Feature,
        LayerInfo,
        Probe,
        Progress,
        Registry,
        RegistryResponse,
        RunOutcome,
        StartedContainer,
        StartedExec,
        Store,
    )

P = ParamSpec("P")
T = TypeVar("T")

SHIM = "pyrust-ctr-shim"


def translated(call: Callable[P, T]) -> Callable[P, T]:
    """`call`, raising this package's exceptions instead of the core's."""

    @wraps(call)
    def inner(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return call(*args, **kwargs)
        except _core.CoreError as cause:
            raise exception_for(cause) from cause

    return inner


def _core_progress(progress: Progress | None) -> _core.Progress | None:
    if progress is None or isinstance(progress, _core.Progress):
        return progress
    raise TypeError("a transfer takes a progress made by `new_progress`")


class CoreStore:
    """`Store` on the compiled core."""

    def __init__(self, store: _core.Store) -> None:
        self.inner = store

    @translated
    def put_blob(self, data: bytes, digest: str | None = None) -> str:
        return self.inner.put_blob(data, digest)

    @translated
    def read_blob(self, digest: str) -> bytes:
        return self.inner.read_blob(digest)

    @translated
    def has_blob(self, digest: str) -> bool:
        return self.inner.has_blob(digest)

    @translated
    def remove_blob(self, digest: str) -> None:
        self.inner.remove_blob(digest)

    @translated
    def blobs(self) -> list[str]:
        return self.inner.blobs()

    @translated
    def layer(self, diff_id: str) -> LayerInfo | None:
        return self.inner.layer(diff_id)

    @translated
    def layers(self) -> list[str]:
        return self.inner.layers()

    @translated
    def remove_layer(self, diff_id: str) -> int:
        return self.inner.remove_layer(diff_id)

    @translated
    def apply_layer(
        self, fd: int, *, diff_id: str | None, max_bytes: int, progress: Progress | None = None
    ) -> LayerInfo:
        return self.inner.apply_layer(
            fd, diff_id=diff_id, max_bytes=max_bytes, progress=_core_progress(progress)
        )

    @translated
    def rootfs_lowers(self, diff_ids: list[str]) -> list[str]:
        return self.inner.rootfs_lowers(diff_ids)

    @translated
    def read_rootfs_file(self, diff_ids: list[str], path: str, max_bytes: int) -> bytes | None:
        return self.inner.read_rootfs_file(diff_ids, path, max_bytes)

    @translated
    def unpack_archive(self, fd: int, *, max_bytes: int, progress: Progress | None = None) -> str:
        return self.inner.unpack_archive(fd, max_bytes=max_bytes, progress=_core_progress(progress))

    @translated
    def open_beneath(self, directory: str, path: str) -> int:
        return self.inner.open_beneath(directory, path)

    @translated
    def discard(self, path: str) -> None:
        self.inner.discard(path)

    @translated
    def sweep(self) -> None:
        self.inner.sweep()


class CoreRegistry:
    """`Registry` on the compiled core."""

    def __init__(self, registry: _core.Registry) -> None:
        self._inner = registry

    @translated
    def ping(self) -> None:
        self._inner.ping()

    @translated
    def manifest(self, repository: str, reference: str, accept: list[str]) -> RegistryResponse:
        return self._inner.manifest(repository, reference, accept)

    @translated
    def blob(self, repository: str, digest: str, size: int) -> bytes:
        return self._inner.blob(repository, digest, size)

    @translated
    def pull_layer(
        self,
        store: Store,
        repository: str,
        digest: str,
        size: int,
        diff_id: str,
        *,
        max_bytes: int,
        progress: Progress | None = None,
    ) -> LayerInfo:
        if not isinstance(store, CoreStore):
            raise TypeError("layers are pulled into a store made by `open_store`")
        return self._inner.pull_layer(
            store.inner,
            repository,
            digest,
            size,
            diff_id,
            max_bytes=max_bytes,
            progress=_core_progress(progress),
        )


class CoreStartedContainer:
    """`StartedContainer` on the compiled core."""

    def __init__(self, inner: _core.StartedContainer) -> None:
        self._inner = inner
        self.pid = inner.pid
        self.started_at_ns = inner.started_at_ns
        self.warnings = inner.warnings

    @translated
    def take_stdin_fd(self) -> int | None:
        return self._inner.take_stdin_fd()

    @translated
    def fileno(self) -> int:
        return self._inner.fileno()

    @translated
    def wait(self, timeout_s: float | None = None) -> ExitRecord | None:
        return self._inner.wait(timeout_s)

    @translated
    def close(self) -> None:
        self._inner.close()


class CoreStartedExec:
    """`StartedExec` on the compiled core."""

    def __init__(self, inner: _core.StartedExec) -> None:
        self._inner = inner
        self.pid = inner.pid

    @translated
    def take_terminal_fd(self) -> int | None:
        return self._inner.take_terminal_fd()

    @translated
    def fileno(self) -> int:
        return self._inner.fileno()

    @translated
    def wait(self, timeout_s: float | None = None) -> ExecExit | None:
        return self._inner.wait(timeout_s)

    @translated
    def close(self) -> None:
        self._inner.close()


class CoreAttachment:
    """`Attachment` on the compiled core."""

    def __init__(self, inner: _core.Attachment) -> None:
        self._inner = inner

    @translated
    def take_stdin_fd(self) -> int | None:
        return self._inner.take_stdin_fd()

    @translated
    def fileno(self) -> int:
        return self._inner.fileno()

    @translated
    def wait(self, timeout_s: float | None = None) -> ExitRecord | None:
        return self._inner.wait(timeout_s)

    @translated
    def close(self) -> None:
        self._inner.close()


class CoreRuntime:
    """`Runtime` on the compiled core."""

    def __init__(self) -> None:
        _core.set_shim(str(paths.binary(SHIM)))

    @translated
    def open_store(self, root: str) -> Store:
        return CoreStore(_core.Store(root))

    def new_progress(self) -> Progress:
        return _core.Progress()

    @translated
    def open_registry(
        self,
        base_url: str,
        *,
        username: str | None = None,
        password: str | None = None,
        identity_token: str | None = None,
        insecure: bool = False,
        ca_file: str | None = None,
        timeout_s: float = 30.0,
    ) -> Registry:
        return CoreRegistry(
            _core.Registry(
                base_url,
                username=username,
                password=password,
                identity_token=identity_token,
                insecure=insecure,
                ca_file=ca_file,
                timeout_s=timeout_s,
            )
        )

    @translated
    def create_container(self, container_dir: str, spec_json: bytes) -> None:
        _core.create_container(container_dir, spec_json)

    @translated
    def start_container(
        self,
        container_dir: str,
        trash_dir: str,
        *,
        stdout_sink: int | None = None,
        stderr_sink: int | None = None,
        attach_stdin: bool = False,
    ) -> StartedContainer:
        started = _core.start_container(
            container_dir,
            trash_dir,
            stdout_sink=stdout_sink,
            stderr_sink=stderr_sink,
            attach_stdin=attach_stdin,
        )
        return CoreStartedContainer(started)

    @translated
    def run_container(
        self, container_dir: str, trash_dir: str, spec_json: bytes, *, input: bytes | None = None
    ) -> RunOutcome:
        return _core.run_container(container_dir, trash_dir, spec_json, input=input)

    @translated
    def exec_container(
        self,
        container_dir: str,
        exec_json: bytes,
        *,
        stdin_fd: int | None = None,
        stdout_fd: int | None = None,
        stderr_fd: int | None = None,
        detach: bool = False,
    ) -> StartedExec:
        started = _core.exec_container(
            container_dir,
            exec_json,
            stdin_fd=stdin_fd,
            stdout_fd=stdout_fd,
            stderr_fd=stderr_fd,
            detach=detach,
        )
        return CoreStartedExec(started)

    @translated
    def exec_capture(
        self, container_dir: str, exec_json: bytes, *, input: bytes | None = None
    ) -> ExecOutcome:
        return _core.exec_capture(container_dir, exec_json, input=input)

    @translated
    def attach_container(
        self, container_dir: str, *, stdout_sink: int | None, stderr_sink: int | None, stdin: bool
    ) -> Attachment:
        return CoreAttachment(
            _core.attach_container(
                container_dir, stdout_sink=stdout_sink, stderr_sink=stderr_sink, stdin=stdin
            )
        )

    @translated
    def signal_container(self, container_dir: str, signal: int, *, everyone: bool = False) -> None:
        _core.signal_container(container_dir, signal, everyone=everyone)

    @translated
    def resize_container(self, container_dir: str, rows: int, columns: int) -> None:
        _core.resize_container(container_dir, rows, columns)

    @translated
    def wait_container(self, container_dir: str, timeout_s: float | None = None) -> ExitRecord | None:
        return _core.wait_container(container_dir, timeout_s)

    @translated
    def probe_container(self, container_dir: str) -> Probe:
        return _core.probe_container(container_dir)

    @translated
    def repair_container(self, container_dir: str, container_id: str) -> Probe:
        return _core.repair_container(container_dir, container_id)

    @translated
    def remove_container(self, container_dir: str, container_id: str, trash_dir: str) -> None:
        _core.remove_container(container_dir, container_id, trash_dir)

    @translated
    def doctor(self, state_dir: str) -> list[Feature]:
        return list(_core.doctor(state_dir))

    @translated
    def release_spare_shims(self) -> None:
        _core.release_spare_shims()

    @translated
    def host_cgroup_version(self) -> str:
        return _core.host_cgroup_version()

    def version(self) -> str:
        return _core.__version__
