"""A database that cannot be had: full, locked, corrupt, read-only; and its recovery."""

from __future__ import annotations

import sqlite3
import stat
from functools import partial
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from api.ports import StoreUnavailable
from daemon.store.connection import prepare_file
from daemon.store.database import Database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def database(store_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(store_path, busy_timeout=0.05)
    yield opened
    await opened.close()


def put(key: str, size: int, connection: sqlite3.Connection) -> None:
    """Store a value of so many bytes."""
    connection.execute("INSERT INTO settings (key, value) VALUES (?, zeroblob(?))", (key, size))


def pragma(statement: str, connection: sqlite3.Connection) -> None:
    """Change a setting of the writer's connection."""
    connection.execute(f"PRAGMA {statement}").fetchall()


async def stored(database: Database) -> list[str]:
    return [key for (key,) in await database.read("SELECT key FROM settings ORDER BY key")]


async def test_full_disk_refuses_writes_and_serves_reads(database: Database) -> None:
    """SQLITE_FULL is StoreUnavailable, is logged once, undoes the whole write, and ends when there is room again."""
    await database.write(partial(put, "before", 10))
    ((pages,),) = await database.read("PRAGMA page_count")
    await database.write(partial(pragma, f"max_page_count = {pages}"))

    with capture_logs() as logs:
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match="full"):
                await database.write(partial(put, "large", 1_000_000))
        assert await stored(database) == ["before"]
        await database.write(partial(pragma, "max_page_count = 1000000"))
        await database.write(partial(put, "large", 1_000_000))

    assert await stored(database) == ["before", "large"]
    events = [(log["event"], log["log_level"]) for log in logs]
    assert events[:3] == [("store.unavailable", "warning")] + 2 * [("store.unavailable", "debug")]
    assert events[3:] == [("store.recovered", "info")]
    assert "full" in logs[0]["reason"]


async def test_database_locked_by_another_process_is_unavailable_until_it_is_released(
    database: Database, store_path: Path
) -> None:
    """Past the busy timeout a write is refused; reads go on; nothing has to be done for the recovery."""
    other = sqlite3.connect(store_path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreUnavailable, match="locked"):
        await database.write(partial(put, "a", 1))
    assert await stored(database) == []

    other.execute("ROLLBACK")
    other.close()
    await database.write(partial(put, "a", 1))
    assert await stored(database) == ["a"]


async def test_read_only_file_is_unavailable(database: Database) -> None:
    """SQLITE_READONLY is StoreUnavailable; the next write tries with a new connection."""
    await database.write(partial(pragma, "query_only = ON"))

    with pytest.raises(StoreUnavailable, match="readonly"):
        await database.write(partial(put, "a", 1))

    await database.write(partial(put, "a", 1))
    assert await stored(database) == ["a"]


async def test_corrupt_file_is_unavailable_until_it_is_restored(store_path: Path) -> None:
    """Nothing read from a damaged page is served, and a restored file is used without a restart."""
    first = await Database.open(store_path)
    await first.write(partial(put, "a", 10))
    await first.close()
    intact = store_path.read_bytes()
    database = await Database.open(store_path)

    overwrite(store_path, b"\xa5" * len(intact))
    with pytest.raises(StoreUnavailable):
        await stored(database)
    with pytest.raises(StoreUnavailable):
        await database.write(partial(put, "b", 1_000_000))

    overwrite(store_path, intact)
    await database.write(partial(put, "b", 10))
    assert await stored(database) == ["a", "b"]
    await database.close()


def overwrite(path: Path, content: bytes) -> None:
    """Write over the file in place, without what SQLite keeps beside it."""
    with path.open("r+b") as file:
        file.write(content)
        file.truncate()
    for beside in ("-wal", "-shm"):
        path.with_name(path.name + beside).unlink(missing_ok=True)


async def test_file_that_is_no_database_is_not_opened(store_path: Path) -> None:
    """The start fails with a reason rather than with a new, empty database."""
    prepare_file(store_path)
    store_path.write_bytes(b"this is not a database" * 100)

    with pytest.raises(StoreUnavailable, match="not a database"):
        await Database.open(store_path)


async def test_files_are_readable_by_the_owner_alone(database: Database, store_path: Path) -> None:
    """The database holds passwords: 0600 for it and what SQLite keeps beside it, 0700 for a directory we make."""
    await database.write(partial(put, "a", 1))

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in store_path.parent.iterdir()}
    assert modes == {"roost.db": 0o600, "roost.db-wal": 0o600, "roost.db-shm": 0o600}
    assert stat.S_IMODE(store_path.parent.stat().st_mode) == 0o700


async def test_file_that_others_could_read_is_closed_to_them(store_path: Path) -> None:
    """A file that was copied into place with a wide mode is narrowed."""
    store_path.parent.mkdir()
    store_path.touch(0o644)
    await (await Database.open(store_path)).close()

    assert stat.S_IMODE(store_path.stat().st_mode) == 0o600
