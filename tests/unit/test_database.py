"""The state database: threads, forks, failures in the middle."""

from __future__ import annotations

import multiprocessing
import os
import threading
from pathlib import Path

import pytest

from pyrust_ctr.errors import PermissionDenied, StateError
from pyrust_ctr.state.db import MIGRATIONS, Database


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "state.db")


def add(database: Database, name: str) -> None:
    with database.write() as connection:
        connection.execute(
            "INSERT INTO containers (id, name, image_id, image_name, created_at_ns, config)"
            " VALUES (?, ?, 'i', 'i', 0, '{}')",
            (name, name),
        )


def names(database: Database) -> set[str]:
    return {row["name"] for row in database.read("SELECT name FROM containers")}


def test_threads_that_come_and_go_leave_no_descriptors(database: Database) -> None:
    add(database, "first")
    before = len(os.listdir("/proc/self/fd"))
    for number in range(20):
        thread = threading.Thread(target=add, args=(database, str(number)))
        thread.start()
        thread.join()
    assert len(os.listdir("/proc/self/fd")) <= before
    assert len(names(database)) == 21
    database.close()


def test_writers_take_turns(database: Database) -> None:
    threads = [
        threading.Thread(target=lambda group=group: [add(database, f"{group}-{n}") for n in range(20)])
        for group in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(names(database)) == 120
    database.close()


def test_a_failing_body_changes_nothing(database: Database) -> None:
    for failure in (ValueError, KeyboardInterrupt):
        with pytest.raises(failure), database.write() as connection:  # noqa: PT012 - the point is the middle
            connection.execute(
                "INSERT INTO containers (id, name, image_id, image_name, created_at_ns, config)"
                " VALUES ('x', 'x', 'i', 'i', 0, '{}')"
            )
            raise failure
        assert names(database) == set()
    add(database, "after")
    assert names(database) == {"after"}
    database.close()


def test_a_connection_in_use_is_closed_when_it_is_given_back(database: Database) -> None:
    add(database, "x")
    before = len(os.listdir("/proc/self/fd"))
    with database.write() as connection:
        database.close()
        connection.execute("DELETE FROM containers")
    assert len(os.listdir("/proc/self/fd")) < before
    assert names(database) == set()
    database.close()


def _child(path: str, database: Database) -> None:
    add(database, "child")
    assert names(database) == {"parent", "child"}
    Path(path).touch()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_fork_has_connections_of_its_own(database: Database, tmp_path: Path) -> None:
    add(database, "parent")
    done = tmp_path / "done"
    process = multiprocessing.get_context("fork").Process(target=_child, args=(str(done), database))
    process.start()
    process.join(30)
    assert process.exitcode == 0
    assert done.exists()
    assert names(database) == {"parent", "child"}
    database.close()


def test_a_newer_database_is_left_alone(database: Database) -> None:
    with database.write() as connection:
        connection.execute("SELECT 1")
    database.close()
    import sqlite3

    raw = sqlite3.connect(database._path)
    raw.execute(f"PRAGMA user_version={len(MIGRATIONS) + 1}")
    raw.close()
    with pytest.raises(StateError, match="newer version"):
        names(database)


def test_what_is_no_database_is_said(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"x" * 5000)
    with pytest.raises(StateError, match="cannot be used"):
        names(Database(tmp_path / "state.db"))
    with pytest.raises(PermissionDenied, match="cannot open"):
        names(Database(tmp_path / "missing" / "state.db"))
