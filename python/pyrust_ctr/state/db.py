"""The state database: SQLite in WAL mode, shared by any number of threads and processes.

Metadata only. Content is in files that were put in place before their row was written, and whose row goes
before they do: a killed process leaves files without a row, which the next comer sweeps, and never a row
without its files.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pyrust_ctr.errors import NoSpace, PermissionDenied, StateError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE images (
        id              TEXT PRIMARY KEY,         -- digest of the config
        manifest_digest TEXT NOT NULL,
        manifest_type   TEXT NOT NULL,
        platform        TEXT NOT NULL,            -- os/arch[/variant]
        layers          TEXT NOT NULL,            -- JSON list of diff ids, bottom first
        size_bytes      INTEGER NOT NULL,         -- unpacked
        created_at_ns   INTEGER NOT NULL,         -- from the config, 0 when it has none
        pulled_at_ns    INTEGER NOT NULL,
        kind            TEXT NOT NULL DEFAULT 'layers'   -- layers | host
    ) STRICT;
    CREATE TABLE image_references (
        name     TEXT PRIMARY KEY,                -- canonical `registry/path:tag` or `registry/path@digest`
        image_id TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX image_references_by_image ON image_references(image_id);
    CREATE TABLE containers (
        id            TEXT PRIMARY KEY,
        name          TEXT NOT NULL UNIQUE,
        image_id      TEXT NOT NULL,
        image_name    TEXT NOT NULL,              -- as the user wrote it
        created_at_ns INTEGER NOT NULL,
        config        TEXT NOT NULL,              -- JSON of models.container.ContainerConfig
        auto_remove   INTEGER NOT NULL DEFAULT 0,
        owner_pid     INTEGER,                    -- of a transient container: who made it …
        owner_start   INTEGER                     -- … and that process's start time (clock ticks)
    ) STRICT;
    CREATE INDEX containers_by_image ON containers(image_id);
    CREATE INDEX containers_by_owner ON containers(owner_pid) WHERE owner_pid IS NOT NULL;
    """,
)

_BUSY_TIMEOUT_S = 30.0


class Database:
    """Connections to one database file: each call borrows one, so there are as many as calls at one time.

    Thread-safe; after a fork the child opens its own (SQLite forbids to use the parent's, or to close them).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[sqlite3.Connection] = []
        self._of_parent: list[sqlite3.Connection] = []
        self._generation = 0
        self._guard = threading.Lock()
        self._pid = os.getpid()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A short write transaction (`BEGIN IMMEDIATE`); rolled back when the body raises."""
        with self._borrowed() as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except sqlite3.IntegrityError:
                raise
            except sqlite3.Error as cause:
                raise self._translate(cause) from cause

    def read(self, sql: str, parameters: tuple[object, ...] = ()) -> list[sqlite3.Row]:
        """Rows of one query."""
        with self._borrowed() as connection:
            try:
                return connection.execute(sql, parameters).fetchall()
            except sqlite3.Error as cause:
                raise self._translate(cause) from cause

    def close(self) -> None:
        """Closes every connection, those in use when they are given back; the object can be used again."""
        with self._guard:
            connections, self._idle = self._idle, []
            self._generation += 1
        for connection in connections:
            connection.close()

    @contextmanager
    def _borrowed(self) -> Iterator[sqlite3.Connection]:
        if self._pid != os.getpid():
            # The lock, too: a thread of the parent's may have held it.
            self._guard = threading.Lock()
            self._of_parent, self._idle = self._of_parent + self._idle, []
            self._pid = os.getpid()
        with self._guard:
            connection = self._idle.pop() if self._idle else None
            generation = self._generation
        if connection is None:
            connection = self._open()
        try:
            yield connection
        finally:
            # Whatever went wrong, a signal handler's exception between two lines included.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            with self._guard:
                is_kept = generation == self._generation
                if is_kept:
                    self._idle.append(connection)
            if not is_kept:
                connection.close()

    def _open(self) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(
                self._path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("PRAGMA foreign_keys=ON")
            self._migrate(connection)
        except sqlite3.Error as cause:
            raise self._translate(cause) from cause
        return connection

    def _migrate(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == len(MIGRATIONS):
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > len(MIGRATIONS):
                raise StateError(
                    f"the state in `{self._path}` was written by a newer version of pyrust-ctr",
                    hint="Upgrade this installation, or use another state directory.",
                )
            for script in MIGRATIONS[version:]:
                for statement in script.split(";"):
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version={len(MIGRATIONS)}")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    def _translate(self, cause: sqlite3.Error) -> NoSpace | PermissionDenied | StateError:
        name = getattr(cause, "sqlite_errorname", "")
        if name == "SQLITE_FULL":
            return NoSpace(f"no space left to write the state database `{self._path}`")
        if name in {"SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM"}:
            return PermissionDenied(f"cannot open the state database `{self._path}`: {cause}")
        return StateError(f"the state database `{self._path}` cannot be used: {cause}")
