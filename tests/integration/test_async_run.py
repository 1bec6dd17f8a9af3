"""The engine for asyncio on the real kernel."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from tests.support.state import has_no_folders

from pyrust_ctr import AsyncEngine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pyrust_ctr import Engine

pytestmark = pytest.mark.root


def with_engine(root: str, work: Callable[[AsyncEngine], Awaitable[None]]) -> None:
    async def main() -> None:
        async with AsyncEngine(root) as engine:
            await work(engine)

    asyncio.run(main())


def test_many_runs_at_once(engine: Engine, busybox: str) -> None:
    async def work(asynchronous: AsyncEngine) -> None:
        results = await asyncio.gather(
            *(asynchronous.run(busybox, ["sh", "-c", f"sleep 0.2; exit {n}"]) for n in range(12))
        )
        assert [result.exit_code for result in results] == list(range(12))

    with_engine(engine.root, work)
    assert has_no_folders(engine)


def test_cancelling_kills(engine: Engine, busybox: str) -> None:
    async def work(asynchronous: AsyncEngine) -> None:
        task = asyncio.create_task(asynchronous.run(busybox, ["sleep", "60"]))
        while not [one for one, state in engine.containers.list_with_state() if state.is_running]:
            await asyncio.sleep(0.02)
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - began < 10
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asynchronous.run(busybox, ["sleep", "60"]), 0.3)

    with_engine(engine.root, work)
    assert engine.containers.list(all=True) == []
    assert has_no_folders(engine)


def test_a_container(engine: Engine, busybox: str) -> None:
    async def work(asynchronous: AsyncEngine) -> None:
        script = "for i in 1 2 3; do echo $i; sleep 0.1; done; sleep 60"
        container = await asynchronous.containers.create(busybox, ["sh", "-c", script])
        await container.start()
        lines = []
        async for line in container.logs(follow=True):
            lines.append(line.data)
            if len(lines) == 3:
                break
        assert lines == [b"1\n", b"2\n", b"3\n"]
        results = await asyncio.gather(*(container.exec(["sh", "-c", f"exit {n}"]) for n in range(8)))
        assert [result.exit_code for result in results] == list(range(8))
        waiting = asyncio.create_task(container.wait())
        await container.kill()
        assert (await waiting).exit_code == 137
        await container.remove()

    with_engine(engine.root, work)
