"""The image service on a store and registries in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.fake_store import FakeHub, FakeImageRuntime, FakeStore
from tests.support.layers import archive_of, entry, gzip_layer

from pyrust_ctr.config import EngineConfig
from pyrust_ctr.images.service import Images
from pyrust_ctr.paths import Paths
from pyrust_ctr.registry.credentials import CredentialFile
from pyrust_ctr.state.db import Database

if TYPE_CHECKING:
    from pathlib import Path

BASE = gzip_layer(archive_of([entry("base", b"base" * 100)]))
EXTRA = gzip_layer(archive_of([entry("extra", b"extra")]))


class Bench:
    """One state directory with its service, and the registries that it sees."""

    def __init__(self, root: Path, config: EngineConfig | None = None) -> None:
        root.mkdir(exist_ok=True)
        self.paths = Paths(root)
        self.paths.locks.mkdir(exist_ok=True)
        self.hub = FakeHub()
        self.store = FakeStore(root)
        self.database = Database(self.paths.database)
        self.credentials = CredentialFile(root / "docker.json")
        self.images = self.service(config or EngineConfig())

    def service(self, config: EngineConfig) -> Images:
        runtime: Any = FakeImageRuntime(self.hub)
        store: Any = self.store
        return Images(
            paths=self.paths,
            database=self.database,
            store=store,
            runtime=runtime,
            config=lambda: config,
            credentials=self.credentials,
        )

    def add_container(self, image_id: str) -> None:
        with self.database.write() as connection:
            connection.execute(
                "INSERT INTO containers (id, name, image_id, image_name, created_at_ns, config)"
                " VALUES ('c0ffee', 'user', ?, 'x', 0, '{}')",
                (image_id,),
            )

    def fetched(self, what: str) -> list[str]:
        return [request for request in self.hub.requests if f" {what} " in request]
