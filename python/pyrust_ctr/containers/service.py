"""`engine.containers`: the containers of a state directory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Unpack

from pyrust_ctr.containers.container import Container
from pyrust_ctr.containers.context import ContainerContext
from pyrust_ctr.containers.find import find
from pyrust_ctr.containers.table import ContainerTable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyrust_ctr.containers.context import ImageSource
    from pyrust_ctr.containers.host import Host
    from pyrust_ctr.containers.listing import Filters
    from pyrust_ctr.containers.run import Run
    from pyrust_ctr.models.container import ContainerConfig, ContainerState, PruneResult, RunResult
    from pyrust_ctr.models.options import ContainerOptions
    from pyrust_ctr.paths import Paths
    from pyrust_ctr.runtime.interface import Runtime
    from pyrust_ctr.state.db import Database


class Containers:
    """Creates, finds, lists and removes containers. Thread-safe; any number of processes may do the same."""

    def __init__(
        self,
        *,
        paths: Paths,
        database: Database,
        runtime: Runtime,
        images: Callable[[], ImageSource],
        host: Host,
        pull: Callable[[str, str | None], object],
    ) -> None:
        self._context = ContainerContext(
            paths=paths,
            table=ContainerTable(database),
            runtime=runtime,
            image_source=images,
            host=host,
            pull=pull,
        )

    def create(
        self,
        image: str,
        command: Sequence[str] | str | None = None,
        *,
        pull: str = "missing",
        **options: Unpack[ContainerOptions],
    ) -> Container:
        """A container that was not started.

        `pull` is `missing`, `always` or `never`; `options` are those of `ContainerOptions`. Raises
        `NameInUse`,
        `ImageNotFound`, `InvalidArgument`, `UnsupportedOption`, `NoSpace`.
        """
        config = self._configure(image, command, options)
        return self.create_from_config(config, name=options.get("name"), pull=pull)

    def create_from_config(
        self,
        config: ContainerConfig,
        *,
        name: str | None = None,
        pull: str = "missing",
        is_transient: bool = False,
        terminal_size: tuple[int, int] = (24, 80),
    ) -> Container:
        """`create` from a finished configuration.

        A transient container is removed when this process ends before it was started.
        """
        from pyrust_ctr.containers.create import create

        row = create(
            self._context,
            config,
            name=name,
            pull=pull,
            is_transient=is_transient,
            terminal_size=terminal_size,
        )
        return Container(self._context, row)

    def run(
        self,
        image: str,
        command: Sequence[str] | str | None = None,
        *,
        input: bytes | None = None,
        timeout: float | None = None,
        check: bool = False,
        pull: str = "missing",
        **options: Unpack[ContainerOptions],
    ) -> RunResult:
        """See `Engine.run`."""
        from pyrust_ctr.containers.run import raise_for_status

        run = self.prepare_run(image, command, input=input, timeout=timeout, pull=pull, **options)
        result = run.execute()
        if check:
            raise_for_status(result, image)
        return result

    def prepare_run(
        self,
        image: str,
        command: Sequence[str] | str | None = None,
        *,
        input: bytes | None = None,
        timeout: float | None = None,
        pull: str = "missing",
        **options: Unpack[ContainerOptions],
    ) -> Run:
        """A run that one thread executes and another one may cancel."""
        from pyrust_ctr.containers.run import Run
        from pyrust_ctr.models.duration import seconds_to_ms

        return Run(
            self._context,
            self._configure(image, command, options),
            name=options.get("name"),
            pull=pull,
            input=input,
            timeout_ms=None if timeout is None else seconds_to_ms(timeout, "`timeout`"),
        )

    def get(self, name: str) -> Container:
        """The container of that name, id, or unique beginning of an id; `ContainerNotFound`."""
        return Container(self._context, find(self._context.table, name))

    def list(self, *, all: bool = False, filters: Filters | None = None) -> list[Container]:
        """The running containers, or all of them, newest first.

        `filters` are Docker's: `id`, `name`, `label`, `status`, `exited`, `ancestor`, `before`, `since`.
        """
        return [container for container, _ in self.list_with_state(all=all, filters=filters)]

    def list_with_state(
        self,
        *,
        all: bool = False,
        filters: Filters | None = None,
    ) -> Sequence[tuple[Container, ContainerState]]:
        """`list`, with the state that each container had when it was looked at."""
        from pyrust_ctr.containers.listing import list_containers

        found = list_containers(self._context, everything=all, filters=filters or {})
        return [(Container(self._context, row), state) for row, state in found]

    def prune(self, *, filters: Filters | None = None) -> PruneResult:
        """Removes every container that does not run, and what killed processes left."""
        from pyrust_ctr.containers.listing import list_containers
        from pyrust_ctr.containers.remove import prune

        found = list_containers(self._context, everything=True, filters=filters or {})
        return prune(self._context, [row for row, _ in found])

    def reap_abandoned(self) -> None:
        """Removes the transient containers of killed processes; cheap when there are none."""
        from pyrust_ctr.containers.truth import reap_abandoned

        reap_abandoned(self._context)

    def _configure(
        self, image: str, command: Sequence[str] | str | None, options: ContainerOptions
    ) -> ContainerConfig:
        from pyrust_ctr.containers.configure import configure

        return configure(image, command, options, outer_env=os.environ)
