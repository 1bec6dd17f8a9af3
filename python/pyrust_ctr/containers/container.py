"""`Container`: one container, by its full id."""

from __future__ import annotations

import signal as signals
from typing import TYPE_CHECKING, Any

from pyrust_ctr import ids
from pyrust_ctr.containers import truth
from pyrust_ctr.containers.find import not_found
from pyrust_ctr.errors import ContainerNotRunning, ContainerRunning, TimedOut

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Mapping, Sequence

    from pyrust_ctr.containers.context import ContainerContext
    from pyrust_ctr.containers.table import ContainerRow
    from pyrust_ctr.models.container import (
        ContainerConfig,
        ContainerState,
        ExecResult,
        LogLine,
        Status,
        WaitResult,
    )
    from pyrust_ctr.runtime.interface import Attachment, StartedContainer, StartedExec


class Container:
    """A container of an engine. What it is does not change; what is true of it is asked for at every call.

    Thread-safe. Every method raises `ContainerNotFound` when the container was removed meanwhile.
    """

    def __init__(self, context: ContainerContext, row: ContainerRow) -> None:
        self._context = context
        self._row = row

    @property
    def id(self) -> str:
        """64 hexadecimal digits."""
        return self._row.id

    @property
    def short_id(self) -> str:
        """The twelve digits that lists show."""
        return ids.short(self._row.id)

    @property
    def name(self) -> str:
        """Its name, without Docker's slash."""
        return self._row.name

    @property
    def image(self) -> str:
        """The image's name, as it was written when the container was created."""
        return self._row.image_name

    @property
    def image_id(self) -> str:
        """`sha256:…`"""
        return self._row.image_id

    @property
    def created_at_ns(self) -> int:
        """Unix time, nanoseconds."""
        return self._row.created_at_ns

    @property
    def config(self) -> ContainerConfig:
        """What was asked for."""
        return self._row.config

    @property
    def labels(self) -> dict[str, str]:
        """The image's labels and the container's own."""
        return dict(self._row.labels)

    @property
    def arguments(self) -> tuple[str, ...]:
        """The argument vector of its program: entrypoint and command; empty while it is being made."""
        from pyrust_ctr.containers import plan

        document = plan.kept_spec(self._context, self._row)
        return () if document is None else tuple(document["process"]["args"])

    @property
    def state(self) -> ContainerState:
        """What is true right now; a supervisor that was killed is repaired on the way."""
        state = truth.observe(self._context, self._row)
        if state is None:
            raise not_found(self.name)
        return state

    @property
    def status(self) -> Status:
        """`created`, `running`, `exited` or `removing`."""
        return self.state.status

    def start(self) -> None:
        """Starts it; no error when it runs already. Raises `StartError`s (`CommandNotFound` …)."""
        try:
            self.start_attached().close()
        except ContainerRunning:
            return

    def start_attached(
        self, *, stdout: int | None = None, stderr: int | None = None, stdin: bool = False
    ) -> StartedContainer:
        """Starts it, with its output copied to the given descriptors from the first byte on.

        With `stdin`, `take_stdin_fd()` of the result is the writing end of its standard input, or its
        terminal.
        Raises `ContainerRunning` when it runs already.
        """
        from pyrust_ctr.containers import start

        self._check_exists()
        return start.start(
            self._context, self._row, stdout_sink=stdout, stderr_sink=stderr, attach_stdin=stdin
        )

    def attach(
        self, *, stdout: int | None = None, stderr: int | None = None, stdin: bool = False
    ) -> Attachment:
        """From now on its output is copied to the given descriptors; closing the result ends that."""
        try:
            return self._context.runtime.attach_container(
                self._directory, stdout_sink=stdout, stderr_sink=stderr, stdin=stdin
            )
        except ContainerNotRunning as cause:
            raise self._not_running() from cause

    def exec(
        self,
        args: Sequence[str] | str,
        *,
        timeout: float | None = None,
        env: Mapping[str, str | None] | Sequence[str] = (),
        user: str = "",
        workdir: str = "",
        input: bytes | None = None,
        tty: bool = False,
        privileged: bool = False,
        check: bool = False,
    ) -> ExecResult:
        """Runs a command in it to its end, and collects what it wrote.

        After `timeout` seconds the command and every process it left behind are killed. With `tty` everything
        is in `stdout`. With `check` a failure raises `ProcessFailed`. Raises `ContainerNotRunning`,
        `StartError`s.
        """
        from pyrust_ctr.containers import exec as execs

        request = execs.ExecRequest(
            args=args, env=env, user=user, workdir=workdir, tty=tty, privileged=privileged, timeout=timeout
        )
        result = execs.capture(self._context, self._row, request, input)
        if check:
            execs.raise_for_status(result, args)
        return result

    def exec_start(
        self,
        args: Sequence[str] | str,
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        timeout: float | None = None,
        env: Mapping[str, str | None] | Sequence[str] = (),
        user: str = "",
        workdir: str = "",
        tty: bool = False,
        terminal_size: tuple[int, int] = (24, 80),
        privileged: bool = False,
        detach: bool = False,
    ) -> StartedExec:
        """Starts a command in it whose streams are the given descriptors, `/dev/null` where None.

        With `tty`, `take_terminal_fd()` of the result is its terminal. Detached, it goes on when nobody
        waits.
        """
        from pyrust_ctr.containers import exec as execs

        request = execs.ExecRequest(
            args=args,
            env=env,
            user=user,
            workdir=workdir,
            tty=tty,
            privileged=privileged,
            timeout=timeout,
            terminal_size=terminal_size,
        )
        return execs.start(
            self._context,
            self._row,
            request,
            stdin_fd=stdin,
            stdout_fd=stdout,
            stderr_fd=stderr,
            detach=detach,
        )

    def logs(
        self,
        *,
        follow: bool = False,
        tail: int | str | None = None,
        since: float | str | None = None,
        until: float | str | None = None,
        stdout: bool = True,
        stderr: bool = True,
        stop: threading.Event | None = None,
    ) -> Iterator[LogLine]:
        """What it wrote, oldest first; with `follow` until it ends.

        `tail` is a number of lines or `all`. `since` and `until` are Unix times, RFC 3339 times or durations
        before now (`10m`). Another thread may end a followed log by setting `stop`.
        """
        from pyrust_ctr.containers import logs

        self._check_exists()
        return logs.logs(
            self._context,
            self._row,
            follow=follow,
            tail=tail,
            since=since,
            until=until,
            stdout=stdout,
            stderr=stderr,
            stop=stop,
        )

    def stop(self, timeout: float | None = None, *, signal: int | str | None = None) -> None:
        """Asks it to end, and kills it after `timeout` seconds (its own setting, else 10); -1 waits
        for ever.
        """
        from pyrust_ctr.containers import stop
        from pyrust_ctr.models.signal import parse_signal

        self._check_exists()
        chosen = self._row.stop_signal if signal is None else parse_signal(signal)
        stop.stop(
            self._context, self._row, chosen, self._row.config.stop_timeout_s if timeout is None else timeout
        )

    def kill(self, signal: int | str = signals.SIGKILL) -> None:
        """Sends a signal; `ContainerNotRunning` when it does not run."""
        from pyrust_ctr.containers import stop
        from pyrust_ctr.models.signal import parse_signal

        self._check_exists()
        stop.kill(self._context, self._row, parse_signal(signal))

    def wait(self, timeout: float | None = None) -> WaitResult:
        """Waits until it ends; `TimedOut` after `timeout` seconds. An ended container is not waited for."""
        from pyrust_ctr.containers import wait

        result = wait.wait(self._context, self._row, timeout)
        if result is None:
            raise TimedOut(f"the container `{self.name}` did not end within {timeout:g} seconds")
        return result

    def remove(self, *, force: bool = False) -> None:
        """Removes it and its files; `ContainerRunning` unless forced, which kills it."""
        from pyrust_ctr.containers import remove

        remove.remove(self._context, self._row, force=force)

    def resize(self, rows: int, columns: int) -> None:
        """Sets the size of its terminal."""
        try:
            self._context.runtime.resize_container(self._directory, rows, columns)
        except ContainerNotRunning as cause:
            raise self._not_running() from cause

    def inspect(self) -> dict[str, Any]:
        """Everything about it, in the shape of Docker's document."""
        from pyrust_ctr.containers import inspect

        return inspect.inspect(self._context, self._row, self.state)

    def __repr__(self) -> str:
        return f"<Container {self.short_id} {self.name!r}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Container) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def _directory(self) -> str:
        return self._context.directory(self._row.id)

    def _check_exists(self) -> None:
        if not self._context.paths.container(self._row.id).exists() and self._row.owner is None:
            raise not_found(self.name)

    def _not_running(self) -> ContainerNotRunning:
        from pyrust_ctr.containers.exec import not_running

        return not_running(self._row)
