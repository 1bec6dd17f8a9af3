"""Rows of containers in the state database."""

from __future__ import annotations

import signal
import sqlite3
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from pyrust_ctr.containers.owner import Owner
from pyrust_ctr.models.container import ContainerConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyrust_ctr.state.db import Database

_COLUMNS = "id, name, image_id, image_name, created_at_ns, config, auto_remove, owner_pid, owner_start"


@dataclass(frozen=True)
class ContainerRow:
    """A container as it is remembered. `cached_property` needs a `__dict__`, so this has no slots."""

    id: str
    name: str
    image_id: str
    image_name: str
    created_at_ns: int
    config_json: str
    auto_remove: bool
    owner: Owner | None = None
    """Who made a transient container that was not started, or that this process alone waits for."""

    @cached_property
    def config(self) -> ContainerConfig:
        """What the user asked for, with the image's labels and stop signal."""
        return ContainerConfig.from_json(self.config_json)

    @property
    def labels(self) -> dict[str, str]:
        """The image's and the user's."""
        return self.config.labels

    @property
    def stop_signal(self) -> int:
        """What asks the program to end."""
        return self.config.stop_signal or signal.SIGTERM


class NameTaken(Exception):
    """Another row has the name."""


class ImageGone(Exception):
    """The image was removed after it was looked up."""


class ContainerTable:
    """Queries and short transactions; what they mean is decided by the verbs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def insert(self, row: ContainerRow) -> None:
        """Adds a container, if its image is (still) there: the row protects the image from then on."""
        owner = row.owner
        try:
            with self._database.write() as connection:
                cursor = connection.execute(
                    f"INSERT INTO containers ({_COLUMNS}) SELECT ?,?,?,?,?,?,?,?,? "  # noqa: S608 - constants
                    "WHERE EXISTS (SELECT 1 FROM images WHERE id = ?)",
                    (
                        row.id,
                        row.name,
                        row.image_id,
                        row.image_name,
                        row.created_at_ns,
                        row.config_json,
                        int(row.auto_remove),
                        owner.pid if owner else None,
                        owner.start_time if owner else None,
                        row.image_id,
                    ),
                )
                if cursor.rowcount == 0:
                    raise ImageGone
        except sqlite3.IntegrityError as cause:
            raise NameTaken from cause

    def delete(self, container_id: str) -> bool:
        """Forgets a container; False when it was forgotten before."""
        with self._database.write() as connection:
            return connection.execute("DELETE FROM containers WHERE id = ?", (container_id,)).rowcount > 0

    def disown(self, container_id: str) -> None:
        """The container lives on when its maker ends."""
        with self._database.write() as connection:
            connection.execute(
                "UPDATE containers SET owner_pid = NULL, owner_start = NULL WHERE id = ?", (container_id,)
            )

    def by_name(self, name: str) -> ContainerRow | None:
        """The container of that name."""
        return next(self._select("WHERE name = ?", name), None)

    def by_id_prefix(self, prefix: str) -> list[ContainerRow]:
        """Containers whose id begins so; at most two, which is enough to know that it is ambiguous."""
        # A range instead of LIKE uses the primary key's index.
        return list(self._select("WHERE id >= ? AND id < ? ORDER BY id LIMIT 2", prefix, f"{prefix}g"))

    def all(self) -> list[ContainerRow]:
        """Every container, the newest first."""
        return list(self._select("ORDER BY created_at_ns DESC, id"))

    def owned(self) -> list[ContainerRow]:
        """Containers that have an owner; by index."""
        return list(self._select("WHERE owner_pid IS NOT NULL"))

    def _select(self, tail: str, *parameters: object) -> Iterator[ContainerRow]:
        for row in self._database.read(f"SELECT {_COLUMNS} FROM containers {tail}", parameters):  # noqa: S608
            owner = None if row["owner_pid"] is None else Owner(row["owner_pid"], row["owner_start"])
            yield ContainerRow(
                row["id"],
                row["name"],
                row["image_id"],
                row["image_name"],
                row["created_at_ns"],
                row["config"],
                bool(row["auto_remove"]),
                owner,
            )
