"""The compiled core. Only `pyrust_ctr.runtime` imports it.

Every function that touches a file or the kernel releases the GIL and raises `CoreError`. Paths are absolute `str`.
Descriptors that a call returns belong to the caller; descriptors that a call takes stay the caller's.
"""

from typing import final

__version__: str

def error_kinds() -> list[str]:
    """The names of every `CoreError.kind`."""

class CoreError(Exception):
    """A failed core operation."""

    kind: str
    message: str
    errno: int | None
    path: str | None

# --- progress -----------------------------------------------------------------------------------------------------

@final
class Progress:
    """Counters of one transfer, raised by the core and polled from Python; `cancel` asks the transfer to stop."""

    def __new__(cls) -> Progress: ...
    @property
    def current_bytes(self) -> int: ...
    @property
    def total_bytes(self) -> int: ...
    @property
    def phase(self) -> str:
        """`waiting`, `downloading`, `extracting`, `complete` or `already_exists`."""
    def cancel(self) -> None: ...

# --- content and layers -------------------------------------------------------------------------------------------

@final
class LayerInfo:
    """A sealed layer of the store."""

    @property
    def diff_id(self) -> str:
        """`sha256:…` of the uncompressed archive."""
    @property
    def archive_bytes(self) -> int:
        """Size of the uncompressed archive."""
    @property
    def disk_bytes(self) -> int:
        """Sum of the sizes of its regular files."""
    @property
    def entries(self) -> int: ...

@final
class Store:
    """The content and layer store beneath one directory: `blobs/`, `layers/`, `tmp/`, `trash/`, `locks/`.

    Safe to use from any number of threads and processes at once.
    """

    def __new__(cls, root: str) -> Store:
        """Opens the store; makes its folders (mode 0700) when missing."""
    def put_blob(self, data: bytes, digest: str | None = None) -> str:
        """Keeps `data` and returns its digest; raises kind `digest_mismatch` when it is not `digest`."""
    def read_blob(self, digest: str) -> bytes:
        """The blob, checked against its digest; kind `not_found`."""
    def has_blob(self, digest: str) -> bool: ...
    def remove_blob(self, digest: str) -> None: ...
    def blobs(self) -> list[str]: ...
    def layer(self, diff_id: str) -> LayerInfo | None:
        """The layer, or None when it is not here."""
    def layers(self) -> list[str]: ...
    def remove_layer(self, diff_id: str) -> int:
        """Moves the layer to the trash and deletes it; returns the bytes freed; no error when it is gone."""
    def apply_layer(
        self, fd: int, *, diff_id: str | None, max_bytes: int, progress: Progress | None = None
    ) -> LayerInfo:
        """Unpacks the (possibly gzip or zstd compressed) layer archive that `fd` reads into the store.

        Returns at once when the layer `diff_id` is here. Kinds: `digest_mismatch`, `malformed_archive`,
        `hostile_archive`, `too_large` (more than `max_bytes` unpacked), `no_space`, `cancelled`.
        """
    def rootfs_lowers(self, diff_ids: list[str]) -> list[str]:
        """Directories of an image's layers, topmost first, for overlayfs; `diff_ids` are bottom first.

        Includes the small fix-up layers that carry the metadata of directories which a layer's archive only implied.
        """
    def read_rootfs_file(self, diff_ids: list[str], path: str, max_bytes: int) -> bytes | None:
        """A regular file of the merged image, symlinks resolved beneath its root; None when it is not there."""
    def unpack_archive(self, fd: int, *, max_bytes: int, progress: Progress | None = None) -> str:
        """Unpacks the (possibly compressed) archive that `fd` reads into a fresh folder beneath `tmp/` and returns it.

        For `load`: the same safety as for layers; the caller opens members with `open_beneath` and ends with `discard`.
        """
    def open_beneath(self, directory: str, path: str) -> int:
        """Opens a regular file beneath `directory` for reading; symlinks may not leave it; kind `not_found`."""
    def discard(self, path: str) -> None:
        """Moves a file or folder of this store's file system to the trash and deletes it; no error when it is gone."""
    def sweep(self) -> None:
        """Deletes what killed processes left in `tmp/` and `trash/` (nothing that a living process still uses)."""

# --- registry -----------------------------------------------------------------------------------------------------

@final
class RegistryResponse:
    @property
    def body(self) -> bytes: ...
    @property
    def media_type(self) -> str: ...
    @property
    def digest(self) -> str | None:
        """The `Docker-Content-Digest` header."""

@final
class Registry:
    """One registry endpoint: connections, authentication challenges, tokens, retries. Thread-safe."""

    def __new__(
        cls,
        base_url: str,
        *,
        username: str | None = None,
        password: str | None = None,
        identity_token: str | None = None,
        insecure: bool = False,
        ca_file: str | None = None,
        timeout_s: float = 30.0,
    ) -> Registry:
        """`base_url` has scheme and host (`https://registry-1.docker.io`); `insecure` skips certificate checks.

        Credentials go to the registry's own host and to the token service that it names, nowhere else.
        `timeout_s` bounds connecting and every silence of the other side, not a whole transfer.
        """
    def ping(self) -> None:
        """`GET /v2/` with the credentials; kinds `unauthorized`, `registry_unreachable`, `registry_error`."""
    def manifest(self, repository: str, reference: str, accept: list[str]) -> RegistryResponse:
        """A manifest by tag or digest, checked against the digest when `reference` is one.

        At most 4 MiB (`too_large`); kind `manifest_unknown` when the registry does not have it.
        """
    def blob(self, repository: str, digest: str, size: int) -> bytes:
        """A small blob (a config, at most 8 MiB), checked for size and digest."""
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
        """Fetches a layer blob, checks it while it streams, unpacks it while it arrives, and keeps it.

        Waits when another thread or process is fetching the same layer, and does nothing when it is here. Broken
        connections resume with a range request; 429 and 5xx are tried again with back-off.
        """

# --- containers ---------------------------------------------------------------------------------------------------

@final
class ExitRecord:
    @property
    def exit_code(self) -> int: ...
    @property
    def signal(self) -> int | None: ...
    @property
    def oom_killed(self) -> bool: ...
    @property
    def timed_out(self) -> bool: ...
    @property
    def peak_memory_bytes(self) -> int | None: ...
    @property
    def cpu_ns(self) -> int | None: ...
    @property
    def started_at_ns(self) -> int: ...
    @property
    def finished_at_ns(self) -> int: ...
    @property
    def duration_ns(self) -> int: ...
    @property
    def failure(self) -> str | None:
        """Why the program never ran or its supervisor ended early, one sentence."""

@final
class ExecExit:
    @property
    def exit_code(self) -> int: ...
    @property
    def signal(self) -> int | None: ...
    @property
    def timed_out(self) -> bool: ...
    @property
    def oom_killed(self) -> bool: ...
    @property
    def duration_ns(self) -> int: ...

@final
class Probe:
    """What is true of a container right now."""

    @property
    def state(self) -> str:
        """`created`, `running`, `exited` (there is an exit record), `dead` (the shim died without one), `gone`."""
    @property
    def pid(self) -> int | None: ...
    @property
    def pid_start_time(self) -> int | None: ...
    @property
    def started_at_ns(self) -> int | None: ...
    @property
    def exit(self) -> ExitRecord | None: ...

@final
class RunOutcome:
    @property
    def exit(self) -> ExitRecord: ...
    @property
    def stdout(self) -> bytes: ...
    @property
    def stderr(self) -> bytes: ...
    @property
    def warnings(self) -> list[str]: ...

@final
class ExecOutcome:
    @property
    def exit(self) -> ExecExit: ...
    @property
    def stdout(self) -> bytes: ...
    @property
    def stderr(self) -> bytes: ...

@final
class StartedContainer:
    """The starter's connection to a container's shim; closing it (or dropping it) does not end the container."""

    @property
    def pid(self) -> int: ...
    @property
    def started_at_ns(self) -> int: ...
    @property
    def warnings(self) -> list[str]: ...
    def take_stdin_fd(self) -> int | None:
        """The writing end of standard input, or the terminal's master side; the caller owns it; None when there is
        none or it was taken."""
    def fileno(self) -> int:
        """Readable when the exit record is there or the shim is gone."""
    def wait(self, timeout_s: float | None = None) -> ExitRecord | None:
        """The exit record, or None when the time is over. Kind `shim_lost` when the shim died."""
    def close(self) -> None: ...

@final
class StartedExec:
    @property
    def pid(self) -> int: ...
    def take_terminal_fd(self) -> int | None: ...
    def fileno(self) -> int: ...
    def wait(self, timeout_s: float | None = None) -> ExecExit | None: ...
    def close(self) -> None: ...

@final
class Attachment:
    def take_stdin_fd(self) -> int | None: ...
    def fileno(self) -> int: ...
    def wait(self, timeout_s: float | None = None) -> ExitRecord | None: ...
    def close(self) -> None: ...

def set_shim(path: str) -> None:
    """Names the shim's executable; it is copied once into a sealed memfd and started from there."""

def release_spare_shims() -> None:
    """Ends the shims that `run_container` keeps in reserve from its second call on, at most two a process.

    One that is not used ends by itself after half a minute, or with this process.
    """

def create_container(container_dir: str, spec_json: bytes) -> None:
    """Makes `container_dir` with `spec.json` and `lock`; the spec is parsed and checked.

    Kinds: `already_exists`, `invalid_argument`, `no_space`.
    """

def start_container(
    container_dir: str,
    trash_dir: str,
    *,
    stdout_sink: int | None = None,
    stderr_sink: int | None = None,
    attach_stdin: bool = False,
) -> StartedContainer:
    """Starts a created or ended container from its `spec.json` (stdio mode `piped` or `terminal`).

    With a sink the caller is attached from the first byte on: the shim writes the program's output to it. Kinds:
    `already_running`, `command_not_found`, `command_not_executable`, `unknown_user`, `bad_working_directory`,
    `mount_failed`, `limit_refused`, `namespace_gone`, `kernel_feature_missing`, `shim_lost`.
    """

def run_container(
    container_dir: str, trash_dir: str, spec_json: bytes, *, input: bytes | None = None
) -> RunOutcome:
    """Creates, starts and waits: the fast path of `Engine.run`. The spec's stdio mode is `direct`; the core makes the
    three pipes, feeds `input` and collects output until the container ended and its streams are drained."""

def exec_container(
    container_dir: str,
    exec_json: bytes,
    *,
    stdin_fd: int | None = None,
    stdout_fd: int | None = None,
    stderr_fd: int | None = None,
    detach: bool = False,
) -> StartedExec:
    """Runs a further process with the given descriptors as its streams (`/dev/null` where None), or a terminal."""

def exec_capture(container_dir: str, exec_json: bytes, *, input: bytes | None = None) -> ExecOutcome:
    """Runs a further process, feeds `input`, collects its output until it ended."""

def attach_container(
    container_dir: str, *, stdout_sink: int | None, stderr_sink: int | None, stdin: bool
) -> Attachment: ...
def signal_container(container_dir: str, signal: int, *, everyone: bool = False) -> None:
    """Kind `not_running` when there is nothing to signal."""

def resize_container(container_dir: str, rows: int, columns: int) -> None: ...
def wait_container(container_dir: str, timeout_s: float | None = None) -> ExitRecord | None:
    """The exit record of a running or ended container, or None when the time is over or it was never started."""

def probe_container(container_dir: str) -> Probe: ...
def repair_container(container_dir: str, container_id: str) -> Probe:
    """When the shim of a started container died: kills what is left of the container, removes its control groups,
    writes an exit record (137, with a failure sentence). Returns the truth afterwards. Safe to call at any time."""

def remove_container(container_dir: str, container_id: str, trash_dir: str) -> None:
    """Removes an ended container's directory and control groups; no error when it is gone; kind `already_running`."""

@final
class Feature:
    """A kernel feature that the engine uses."""

    @property
    def name(self) -> str: ...
    @property
    def available(self) -> bool: ...
    @property
    def required(self) -> bool: ...
    @property
    def detail(self) -> str:
        """What was found."""
    @property
    def remedy(self) -> str:
        """What to do when it is missing; empty when it is there."""

def doctor(state_dir: str) -> list[Feature]: ...
def host_cgroup_version() -> str:
    """`v1`, `v2` or `hybrid`."""
