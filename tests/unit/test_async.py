"""The engine for asyncio on a fake runtime."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.fake_runtime import FakeRuntime

from pyrust_ctr import AsyncEngine
from pyrust_ctr.errors import ContainerNotFound, ProcessFailed, TimedOut

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

IMAGE = "host"


def with_engine(root: Path, work: Callable[[AsyncEngine], Awaitable[None]]) -> None:
    async def main() -> None:
        runtime: Any = FakeRuntime()
        async with AsyncEngine(root / "state", runtime=runtime) as engine:
            await work(engine)

    asyncio.run(main())


def test_runs_at_the_same_time(tmp_path: Path) -> None:
    async def work(engine: AsyncEngine) -> None:
        results = await asyncio.gather(*(engine.run(IMAGE, ["echo", str(n)]) for n in range(10)))
        assert [int(result.stdout) for result in results] == list(range(10))
        with pytest.raises(ProcessFailed):
            await engine.run(IMAGE, ["exit", "1"], check=True)

    with_engine(tmp_path, work)


def test_cancelling_a_run_kills_its_container(tmp_path: Path) -> None:
    async def work(engine: AsyncEngine) -> None:
        task = asyncio.create_task(engine.run(IMAGE, ["sleep", "60"]))
        while not await engine.containers.list():
            await asyncio.sleep(0.01)
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - began < 5
        assert list(await engine.containers.list(all=True)) == []

    with_engine(tmp_path, work)


def test_a_timeout_of_asyncio_kills_as_well(tmp_path: Path) -> None:
    async def work(engine: AsyncEngine) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(engine.run(IMAGE, ["sleep", "60"]), 0.1)
        assert list(await engine.containers.list(all=True)) == []

    with_engine(tmp_path, work)


def test_a_container_from_beginning_to_end(tmp_path: Path) -> None:
    async def work(engine: AsyncEngine) -> None:
        container = await engine.containers.create(IMAGE, ["sleep", "60"], name="x")
        await container.start()
        assert (await container.state()).is_running
        assert (await container.exec(["echo", "hi"])).stdout == b"hi\n"
        with pytest.raises(TimedOut):
            await container.wait(timeout=0.05)
        waiting = asyncio.create_task(container.wait())
        await container.stop(timeout=1)
        assert (await waiting).exit_code == 143
        assert (await container.inspect())["Name"] == "/x"
        await container.remove()
        with pytest.raises(ContainerNotFound):
            await engine.containers.get("x")

    with_engine(tmp_path, work)


def test_logs_can_be_followed_and_left(tmp_path: Path) -> None:
    async def work(engine: AsyncEngine) -> None:
        container = await engine.containers.create(IMAGE, ["echo", "hi"])
        await container.start()
        await container.wait()
        assert [line.data async for line in container.logs(follow=True)] == [b"hi\n"]
        silent = await engine.containers.create(IMAGE, ["sleep", "60"])
        await silent.start()

        async def listen() -> None:
            async for _ in silent.logs(follow=True):
                pass

        task = asyncio.create_task(listen())
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await silent.remove(force=True)

    with_engine(tmp_path, work)


def test_failures_of_logs_arrive(tmp_path: Path) -> None:
    async def work(engine: AsyncEngine) -> None:
        container = await engine.containers.create(IMAGE, ["true"])
        await container.remove()
        with pytest.raises(ContainerNotFound):
            async for _ in container.logs():
                pass

    with_engine(tmp_path, work)


def test_the_surface_is_that_of_the_engine() -> None:
    from pyrust_ctr import aio
    from pyrust_ctr.containers.container import Container
    from pyrust_ctr.containers.service import Containers
    from pyrust_ctr.engine import Engine
    from pyrust_ctr.images.service import Images

    def public(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    # What hands out descriptors, or is plumbing of the engine itself, is for synchronous code.
    assert public(Engine) - public(aio.AsyncEngine) == {"runtime"}
    assert public(Container) - public(aio.AsyncContainer) <= {
        "arguments",
        "attach",
        "created_at_ns",
        "exec_start",
        "image_id",
        "start_attached",
        "status",
    }
    assert public(Containers) - public(aio.AsyncContainers) <= {
        "create_from_config",
        "list_with_state",
        "prepare_run",
        "reap_abandoned",
        "run",
    }
    assert public(Images) - public(aio.AsyncImages) <= {
        "config",
        "load",
        "login",
        "logout",
        "pull_with_outcome",
        "resolve_for_run",
    }
