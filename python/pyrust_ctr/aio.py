"""`AsyncEngine`: the surface of `Engine` for asyncio, on a thread pool of its own.

async with pyrust_ctr.AsyncEngine() as engine:
    results = await asyncio.gather(*(engine.run("busybox", ["echo", str(n)]) for n in range(8)))

Cancelling `await engine.run(…)` kills its container; cancelling a pull ends the pull. The only module that
imports
asyncio.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, Unpack

from pyrust_ctr.engine import Engine
from pyrust_ctr.errors import TimedOut

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from pyrust_ctr.containers.container import Container
    from pyrust_ctr.containers.listing import Filters
    from pyrust_ctr.images.transfer import ProgressCallback
    from pyrust_ctr.models.container import (
        ContainerConfig,
        ContainerState,
        ExecResult,
        LogLine,
        PruneResult,
        RunResult,
        WaitResult,
    )
    from pyrust_ctr.models.image import Image, Removal
    from pyrust_ctr.models.options import ContainerOptions
    from pyrust_ctr.runtime.interface import Runtime

P = ParamSpec("P")
T = TypeVar("T")

MAXIMUM_THREADS: Final = 128
"""Most calls at the same time; further ones wait for their turn. Threads are made when they are needed."""
_WAIT_SLICE_S: Final = 0.5
_LOG_BATCH: Final = 512


class _Pool:
    """Calls blocking code from asyncio."""

    def __init__(self, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="pyrust-ctr")

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`function(*args, **kwargs)` on a thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: function(*args, **kwargs))

    async def call_cancellable(self, function: Callable[[], T], cancel: Callable[[], None]) -> T:
        """`function()` on a thread; cancelled, `cancel()` makes it end, and it is waited for."""
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._executor, function)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            # Not on the pool, which may be full of calls that wait for this one.
            threading.Thread(target=cancel, name="pyrust-ctr-cancel", daemon=True).start()
            await asyncio.wait([future])
            if not future.cancelled():
                future.exception()  # taken note of: the cancellation is what is raised
            raise

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)


class AsyncEngine:
    """`Engine` for asyncio. Every method is that of `Engine`, awaited."""

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        *,
        pull_progress: ProgressCallback | None = None,
        runtime: Runtime | None = None,
        threads: int = MAXIMUM_THREADS,
    ) -> None:
        """`pull_progress` is called on a thread of the pool; the rest is as in `Engine`."""
        self._engine = Engine(root, pull_progress=pull_progress, runtime=runtime)
        self._pool = _Pool(threads)

    @property
    def root(self) -> str:
        """The state directory, absolute."""
        return self._engine.root

    @property
    def containers(self) -> AsyncContainers:
        """The containers."""
        return AsyncContainers(self._engine, self._pool)

    @property
    def images(self) -> AsyncImages:
        """The images."""
        return AsyncImages(self._engine, self._pool)

    async def run(
        self,
        image: str,
        command: Sequence[str] | str | None = None,
        *,
        input: bytes | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the container is killed, not the task cancelled
        check: bool = False,
        pull: str = "missing",
        **options: Unpack[ContainerOptions],
    ) -> RunResult:
        """See `Engine.run`. Cancelled, it kills the container and waits until it is gone."""
        from pyrust_ctr.containers.run import raise_for_status

        containers = await self._pool.call(lambda: self._engine.containers)
        run = containers.prepare_run(image, command, input=input, timeout=timeout, pull=pull, **options)
        result = await self._pool.call_cancellable(run.execute, run.cancel)
        if check:
            raise_for_status(result, image)
        return result

    async def info(self) -> dict[str, Any]:
        """See `Engine.info`."""
        return await self._pool.call(self._engine.info)

    async def close(self) -> None:
        """Closes the state database and ends the threads."""
        self._pool.close()
        self._engine.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class AsyncContainers:
    """`Containers` for asyncio."""

    def __init__(self, engine: Engine, pool: _Pool) -> None:
        self._engine = engine
        self._pool = pool

    async def create(
        self,
        image: str,
        command: Sequence[str] | str | None = None,
        *,
        pull: str = "missing",
        **options: Unpack[ContainerOptions],
    ) -> AsyncContainer:
        """See `Containers.create`."""
        made = await self._pool.call(
            lambda: self._engine.containers.create(image, command, pull=pull, **options)
        )
        return AsyncContainer(made, self._pool)

    async def get(self, name: str) -> AsyncContainer:
        """See `Containers.get`."""
        return AsyncContainer(await self._pool.call(lambda: self._engine.containers.get(name)), self._pool)

    async def list(self, *, all: bool = False, filters: Filters | None = None) -> Sequence[AsyncContainer]:
        """See `Containers.list`."""
        found = await self._pool.call(lambda: self._engine.containers.list(all=all, filters=filters))
        return [AsyncContainer(container, self._pool) for container in found]

    async def prune(self, *, filters: Filters | None = None) -> PruneResult:
        """See `Containers.prune`."""
        return await self._pool.call(lambda: self._engine.containers.prune(filters=filters))


class AsyncContainer:
    """`Container` for asyncio; what does not change is an attribute, the rest is awaited."""

    def __init__(self, container: Container, pool: _Pool) -> None:
        self.sync = container
        """The container for synchronous code."""
        self._pool = pool

    @property
    def id(self) -> str:
        """64 hexadecimal digits."""
        return self.sync.id

    @property
    def short_id(self) -> str:
        """The twelve digits that lists show."""
        return self.sync.short_id

    @property
    def name(self) -> str:
        """Its name."""
        return self.sync.name

    @property
    def image(self) -> str:
        """The image's name, as it was written."""
        return self.sync.image

    @property
    def config(self) -> ContainerConfig:
        """What was asked for."""
        return self.sync.config

    @property
    def labels(self) -> dict[str, str]:
        """The image's labels and the container's own."""
        return self.sync.labels

    async def state(self) -> ContainerState:
        """See `Container.state`."""
        return await self._pool.call(lambda: self.sync.state)

    async def start(self) -> None:
        """See `Container.start`."""
        await self._pool.call(self.sync.start)

    async def exec(
        self,
        args: Sequence[str] | str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the command is killed, not the task cancelled
        env: Mapping[str, str | None] | Sequence[str] = (),
        user: str = "",
        workdir: str = "",
        input: bytes | None = None,
        tty: bool = False,
        privileged: bool = False,
        check: bool = False,
    ) -> ExecResult:
        """See `Container.exec`. Cancelled, the command goes on until its `timeout`."""
        return await self._pool.call(
            self.sync.exec,
            args,
            timeout=timeout,
            env=env,
            user=user,
            workdir=workdir,
            input=input,
            tty=tty,
            privileged=privileged,
            check=check,
        )

    async def logs(
        self,
        *,
        follow: bool = False,
        tail: int | str | None = None,
        since: float | str | None = None,
        until: float | str | None = None,
        stdout: bool = True,
        stderr: bool = True,
    ) -> AsyncIterator[LogLine]:
        """See `Container.logs`: `async for line in container.logs(follow=True)`."""
        stop = threading.Event()
        queue: asyncio.Queue[list[LogLine] | BaseException | None] = asyncio.Queue(maxsize=16)
        loop = asyncio.get_running_loop()

        def put(item: list[LogLine] | BaseException | None) -> None:
            asyncio.run_coroutine_threadsafe(queue.put(item), loop).result()

        def read() -> None:
            batch: list[LogLine] = []
            try:
                for line in self.sync.logs(
                    follow=follow,
                    tail=tail,
                    since=since,
                    until=until,
                    stdout=stdout,
                    stderr=stderr,
                    stop=stop,
                ):
                    if stop.is_set():
                        return
                    batch.append(line)
                    # Followed lines go out one by one; a long log in batches.
                    if follow or len(batch) >= _LOG_BATCH:
                        put(batch)
                        batch = []
                put(batch)
                put(None)
            except BaseException as failure:
                put(failure)

        reader = threading.Thread(target=read, name="pyrust-ctr-logs", daemon=True)
        reader.start()
        try:
            while True:
                item = await queue.get()
                if item is None:
                    return
                if isinstance(item, BaseException):
                    raise item
                for line in item:
                    yield line
        finally:
            stop.set()
            # The reader may wait for room in the queue; nobody reads any more.
            while not queue.empty():
                queue.get_nowait()

    async def stop(self, timeout: float | None = None, *, signal: int | str | None = None) -> None:  # noqa: ASYNC109
        """See `Container.stop`."""
        await self._pool.call(self.sync.stop, timeout, signal=signal)

    async def kill(self, signal: int | str = "KILL") -> None:
        """See `Container.kill`."""
        await self._pool.call(self.sync.kill, signal)

    async def wait(self, timeout: float | None = None) -> WaitResult:  # noqa: ASYNC109 - Docker's word
        """See `Container.wait`. Takes a thread only for moments, and may be cancelled."""
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        while True:
            remaining = _WAIT_SLICE_S if deadline is None else min(_WAIT_SLICE_S, deadline - loop.time())
            try:
                return await self._pool.call(self.sync.wait, max(0.0, remaining))
            except TimedOut:
                if deadline is not None and loop.time() >= deadline:
                    raise TimedOut(
                        f"the container `{self.name}` did not end within {timeout:g} seconds"
                    ) from None

    async def remove(self, *, force: bool = False) -> None:
        """See `Container.remove`."""
        await self._pool.call(lambda: self.sync.remove(force=force))

    async def resize(self, rows: int, columns: int) -> None:
        """See `Container.resize`."""
        await self._pool.call(self.sync.resize, rows, columns)

    async def inspect(self) -> dict[str, Any]:
        """See `Container.inspect`."""
        return await self._pool.call(self.sync.inspect)

    def __repr__(self) -> str:
        return f"<AsyncContainer {self.short_id} {self.name!r}>"


class AsyncImages:
    """`Images` for asyncio."""

    def __init__(self, engine: Engine, pool: _Pool) -> None:
        self._engine = engine
        self._pool = pool

    async def pull(
        self, reference: str, *, platform: str | None = None, progress: ProgressCallback | None = None
    ) -> Image:
        """See `Images.pull`; `progress` is called on a thread. Cancelled, it ends the pull."""
        cancel = threading.Event()
        return await self._pool.call_cancellable(
            lambda: self._engine.images.pull(reference, platform=platform, progress=progress, cancel=cancel),
            cancel.set,
        )

    async def get(self, name: str) -> Image:
        """See `Images.get`."""
        return await self._pool.call(lambda: self._engine.images.get(name))

    async def exists(self, name: str) -> bool:
        """See `Images.exists`."""
        return await self._pool.call(lambda: self._engine.images.exists(name))

    async def list(self, *, filters: Mapping[str, Sequence[str]] | None = None) -> Sequence[Image]:
        """See `Images.list`."""
        return await self._pool.call(lambda: self._engine.images.list(filters=filters))

    async def inspect(self, name: str) -> dict[str, Any]:
        """See `Images.inspect`."""
        return await self._pool.call(lambda: self._engine.images.inspect(name))

    async def tag(self, name: str, target: str) -> None:
        """See `Images.tag`."""
        await self._pool.call(lambda: self._engine.images.tag(name, target))

    async def remove(self, name: str, *, force: bool = False) -> Removal:
        """See `Images.remove`."""
        return await self._pool.call(lambda: self._engine.images.remove(name, force=force))

    async def prune(self, *, all: bool = False) -> Removal:
        """See `Images.prune`."""
        return await self._pool.call(lambda: self._engine.images.prune(all=all))
