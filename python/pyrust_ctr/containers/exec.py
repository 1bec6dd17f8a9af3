"""`exec`: a further process in a running container, with the container's own settings unless told
otherwise.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pyrust_ctr import ids
from pyrust_ctr.containers import plan
from pyrust_ctr.containers.spec import SPEC_VERSION
from pyrust_ctr.errors import ContainerNotRunning, InvalidArgument, ProcessFailed
from pyrust_ctr.models.capability import ALL_MASK
from pyrust_ctr.models.container import ExecResult
from pyrust_ctr.models.duration import seconds_to_ms
from pyrust_ctr.models.environment import env_of_mapping, merge_env, parse_env

if TYPE_CHECKING:
    from pyrust_ctr.containers.context import ContainerContext
    from pyrust_ctr.containers.table import ContainerRow
    from pyrust_ctr.runtime.interface import ExecExit, StartedExec

T = TypeVar("T")

_TERMINAL_CHUNK = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecRequest:
    """What to run and how."""

    args: Sequence[str]
    env: Mapping[str, str | None] | Sequence[str] = ()
    user: str = ""
    workdir: str = ""
    tty: bool = False
    privileged: bool = False
    timeout: float | None = None
    terminal_size: tuple[int, int] = (24, 80)


def capture(
    context: ContainerContext, row: ContainerRow, request: ExecRequest, data: bytes | None
) -> ExecResult:
    """Runs a process to its end and collects what it wrote; with a terminal everything is standard output."""
    document = exec_json(context, row, request)
    directory = context.directory(row.id)
    if request.tty:
        started = _started(row, lambda: context.runtime.exec_container(directory, document))
        try:
            output = _converse(started, data)
            ended = started.wait()
        finally:
            started.close()
        if ended is None:
            raise ContainerNotRunning(f"the container `{row.name}` ended while a command ran in it")
        return _result(ended, output, b"")
    # Interrupted by Ctrl-C, this returns at once, and the command goes on until its `timeout`.
    outcome = _started(row, lambda: context.runtime.exec_capture(directory, document, input=data))
    return _result(outcome.exit, outcome.stdout, outcome.stderr)


def start(
    context: ContainerContext,
    row: ContainerRow,
    request: ExecRequest,
    *,
    stdin_fd: int | None = None,
    stdout_fd: int | None = None,
    stderr_fd: int | None = None,
    detach: bool = False,
) -> StartedExec:
    """Starts a process whose streams are the given descriptors (`/dev/null` where None), or a terminal."""
    document = exec_json(context, row, request)
    return _started(
        row,
        lambda: context.runtime.exec_container(
            context.directory(row.id),
            document,
            stdin_fd=stdin_fd,
            stdout_fd=stdout_fd,
            stderr_fd=stderr_fd,
            detach=detach,
        ),
    )


def exec_json(context: ContainerContext, row: ContainerRow, request: ExecRequest) -> bytes:
    """The `ExecSpec` document (`rust/spec/src/exec.rs`)."""
    arguments = [request.args] if isinstance(request.args, str) else list(request.args)
    if not arguments or not arguments[0]:
        raise InvalidArgument("no command to run in the container was given")
    if any("\0" in argument for argument in arguments):
        raise InvalidArgument("the command has a NUL character")
    if request.workdir and not request.workdir.startswith("/"):
        raise InvalidArgument(f"the working directory `{request.workdir}` is not an absolute path")
    spec = plan.kept_spec(context, row)
    if spec is None:
        raise not_running(row)
    process: dict[str, Any] = spec["process"]
    added = (
        env_of_mapping(request.env)
        if isinstance(request.env, Mapping)
        else parse_env(request.env, os.environ)
    )
    terminal = ["TERM=xterm"] if request.tty else []
    process["args"] = arguments
    process["env"] = merge_env(terminal, process["env"], added)
    if request.workdir:
        process["cwd"] = request.workdir
    if request.user:
        process["user"]["name"] = request.user
    if request.privileged:
        process["capabilities"] = ALL_MASK & context.host.capabilities
    document: dict[str, Any] = {
        "version": SPEC_VERSION,
        "id": ids.new_id(),
        "process": process,
        "is_privileged": request.privileged or spec["seccomp"]["mode"] == "unconfined",
    }
    if request.tty:
        document["terminal"] = list(request.terminal_size)
    if request.timeout is not None:
        document["timeout_ms"] = seconds_to_ms(request.timeout, "`timeout`")
    return json.dumps(document, separators=(",", ":")).encode()


def not_running(row: ContainerRow) -> ContainerNotRunning:
    """The error for a container in which nothing can be run."""
    return ContainerNotRunning(
        f"container {ids.short(row.id)} is not running", hint=f"`pctr start {row.name}` starts it."
    )


def raise_for_status(result: ExecResult, args: Sequence[str]) -> None:
    """`ProcessFailed` unless the exit code is 0."""
    if result.exit_code == 0 and not result.timed_out:
        return
    what = args if isinstance(args, str) else args[0]
    reason = (
        "was killed because its time was over"
        if result.timed_out
        else f"ended with exit code {result.exit_code}"
    )
    raise ProcessFailed(f"the command `{what}` {reason}", result)


def _started(row: ContainerRow, call: Callable[[], T]) -> T:
    try:
        return call()
    except ContainerNotRunning as cause:
        raise not_running(row) from cause


def _converse(started: StartedExec, data: bytes | None) -> bytes:
    """Writes `data` to the terminal while reading all that comes from it."""
    import selectors

    master = started.take_terminal_fd()
    if master is None:
        return b""
    chunks: list[bytes] = []
    # A terminal has no end of file of its own: the character Ctrl-D stands for it.
    pending = memoryview(data + b"\x04") if data is not None else memoryview(b"")
    try:
        os.set_blocking(master, False)
        with selectors.DefaultSelector() as selector:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if pending else 0)
            selector.register(master, events)
            while True:
                for _, ready in selector.select():
                    if ready & selectors.EVENT_WRITE:
                        pending = pending[os.write(master, pending[:1024]) :]
                        if not pending:
                            selector.modify(master, selectors.EVENT_READ)
                    if ready & selectors.EVENT_READ:
                        chunk = os.read(master, _TERMINAL_CHUNK)
                        if not chunk:
                            return b"".join(chunks)
                        chunks.append(chunk)
    except OSError:  # EIO: the last process that had the terminal is gone
        return b"".join(chunks)
    finally:
        os.close(master)


def _result(ended: ExecExit, stdout: bytes, stderr: bytes) -> ExecResult:
    return ExecResult(
        ended.exit_code,
        stdout,
        stderr,
        ended.duration_ns / 1e9,
        ended.timed_out,
        ended.oom_killed,
        ended.signal,
    )
