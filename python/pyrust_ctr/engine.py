"""`Engine`: the services of one state directory, wired together. Opening it is cheap; each part is
made when used.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Unpack

from pyrust_ctr.errors import PermissionDenied
from pyrust_ctr.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from pyrust_ctr.containers.service import Containers
    from pyrust_ctr.images.service import Images
    from pyrust_ctr.images.transfer import ProgressCallback
    from pyrust_ctr.models.container import RunResult
    from pyrust_ctr.models.options import ContainerOptions
    from pyrust_ctr.runtime.interface import Runtime
    from pyrust_ctr.state.db import Database


class Engine:
    """A container engine in this process.

        with pyrust_ctr.Engine() as engine:
            print(engine.run("busybox", ["echo", "hi"]).stdout)

    Any number of engines, threads and processes may use one state directory at the same time. Containers that
    were started with `containers.create` go on when the engine is closed, and when its process ends.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        *,
        pull_progress: ProgressCallback | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        """`root` is the state directory: `$PYRUST_CTR_ROOT`, else `/var/lib/pyrust-ctr`.

        `pull_progress` is told about images that `run` and `create` download on their own. `runtime` replaces
        the compiled core, for tests. Raises `PermissionDenied` unless this is root.
        """
        if runtime is None and os.geteuid() != 0:
            raise PermissionDenied(
                "the engine needs root: it makes namespaces, mounts and control groups",
                hint="Run it with sudo, or as root.",
            )
        self._paths = Paths.resolve(root)
        self._pull_progress = pull_progress
        self._given_runtime = runtime
        self._guard = threading.RLock()
        self._parts: dict[str, Any] = {}

    @property
    def root(self) -> str:
        """The state directory, absolute."""
        return str(self._paths.root)

    @property
    def containers(self) -> Containers:
        """The containers."""
        found: Containers | None = self._parts.get("containers")
        return found if found is not None else self._make("containers", self._make_containers)

    @property
    def images(self) -> Images:
        """The images."""
        found: Images | None = self._parts.get("images")
        return found if found is not None else self._make("images", self._make_images)

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
        """Runs a command in a new container, waits for its end, and removes the container.

        `input` is its standard input. After `timeout` seconds the whole container is killed, and `timed_out`
        is true. `pull` is `missing`, `always` or `never`. `options` are those of `ContainerOptions`:
        `memory="64m"`, `env={"A": "1"}`, `network="none"` …

        A program that fails is a result, or `ProcessFailed` with `check`. What prevents it from running is an
        exception: `CommandNotFound`, `UnknownUser`, `ImageNotFound`, `LimitRefused` … Ctrl-C kills the
        container.
        """
        return self.containers.run(
            image, command, input=input, timeout=timeout, check=check, pull=pull, **options
        )

    def info(self) -> dict[str, Any]:
        """What this engine and this machine are."""
        import platform

        containers = self.containers.list_with_state(all=True)
        return {
            "Root": self.root,
            "Version": self.runtime.version(),
            "Containers": len(containers),
            "ContainersRunning": sum(state.is_running for _, state in containers),
            "Images": len(self.images.list()),
            "CgroupVersion": self.runtime.host_cgroup_version(),
            "KernelVersion": platform.release(),
            "Architecture": platform.machine(),
            "Cpus": os.cpu_count() or 1,
        }

    @property
    def runtime(self) -> Runtime:
        """The door to the compiled core."""
        found: Runtime | None = self._parts.get("runtime")
        return found if found is not None else self._make("runtime", self._make_runtime)

    def close(self) -> None:
        """Closes the state database and lets go of the store's descriptors. Running containers go on; the
        engine can be used again.
        """
        with self._guard:
            # The services refer to each other in a circle, which would keep them until a collection.
            parts, self._parts = self._parts, {}
        runtime: Runtime | None = parts.get("runtime")
        if runtime is not None:
            runtime.release_spare_shims()
        database: Database | None = parts.get("database")
        if database is not None:
            database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Engine {self.root!r}>"

    def _make(self, name: str, make: Any) -> Any:
        with self._guard:
            if name not in self._parts:
                self._parts[name] = make()
            return self._parts[name]

    def _make_runtime(self) -> Runtime:
        if self._given_runtime is not None:
            return self._given_runtime
        from pyrust_ctr import runtime

        return runtime.load()

    def _make_database(self) -> Database:
        from pyrust_ctr.state.db import Database

        try:
            for folder in (self._paths.root, self._paths.containers, self._paths.trash, self._paths.locks):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as cause:
            raise PermissionDenied(
                f"cannot make the state directory `{cause.filename}`: {cause.strerror}",
                hint="Choose another one with `root=`, `--root` or `$PYRUST_CTR_ROOT`.",
            ) from cause
        return Database(self._paths.database)

    @property
    def _database(self) -> Database:
        found: Database = self._make("database", self._make_database)
        return found

    def _make_images(self) -> Images:
        from pyrust_ctr.images.service import Images

        database = self._database
        return Images(
            paths=self._paths,
            database=database,
            store=self.runtime.open_store(str(self._paths.root)),
            runtime=self.runtime,
        )

    def _make_containers(self) -> Containers:
        from pyrust_ctr.containers.host import Host
        from pyrust_ctr.containers.service import Containers

        service = Containers(
            paths=self._paths,
            database=self._database,
            runtime=self.runtime,
            images=lambda: self.images,
            host=Host(self.root),
            pull=self._pull,
        )
        # Once in the life of an engine, by index: killed processes may have left transient containers.
        service.reap_abandoned()
        return service

    def _pull(self, name: str, platform: str | None) -> object:
        return self.images.pull(name, platform=platform, progress=self._pull_progress)
