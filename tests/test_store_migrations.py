"""Databases of every older version, of a newer one, and of another program."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from importlib.resources import files
from typing import TYPE_CHECKING

import pytest

from daemon.store import MigrationRefused, Store
from daemon.store.connection import WRITER_PRAGMAS, connect, prepare_file
from daemon.store.migrations import Migration, migrate, shipped_migrations

if TYPE_CHECKING:
    from pathlib import Path

SHIPPED = shipped_migrations()
NEWEST = SHIPPED[-1].version


async def build(path: Path, migrations: tuple[Migration, ...]) -> None:
    """Bring the file to the version of the last of these steps."""
    prepare_file(path)
    connection = await connect(path, WRITER_PRAGMAS)
    try:
        if migrations:
            await migrate(connection, path, migrations)
    finally:
        await connection.close()


def schema_of(path: Path) -> tuple[int, list[tuple[str, str]]]:
    """Return the version of a file and everything it defines."""
    connection = sqlite3.connect(path)
    ((version,),) = connection.execute("PRAGMA user_version")
    defined = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name").fetchall()
    connection.close()
    return version, defined


def test_steps_are_numbered_without_a_gap_and_shipped() -> None:
    """They are read as package data, as an installed wheel has them."""
    names = [entry.name for entry in files("daemon.store").joinpath("migrations").iterdir()]

    assert len(names) == len(SHIPPED)
    assert [migration.version for migration in SHIPPED] == list(range(1, NEWEST + 1))


@pytest.mark.parametrize("version", range(NEWEST + 1))
async def test_every_older_version_comes_to_the_newest(store_path: Path, tmp_path: Path, version: int) -> None:
    """With the same schema as a new database, and with what it held."""
    await build(store_path, SHIPPED[:version])
    if version:
        connection = sqlite3.connect(store_path)
        with connection:
            connection.execute("INSERT INTO api_keys (account_id, api_key, digest) VALUES ('a', 'key', x'00')")
        connection.close()
    fresh = tmp_path / "fresh.db"
    await (await Store.open(fresh)).close()

    await (await Store.open(store_path)).close()

    assert schema_of(store_path) == schema_of(fresh)
    assert schema_of(store_path)[0] == NEWEST
    connection = sqlite3.connect(store_path)
    assert connection.execute("SELECT count(*) FROM api_keys").fetchone() == (1 if version else 0,)
    connection.close()


async def test_documents_outlive_the_step_that_makes_their_table_anew(store_path: Path) -> None:
    """With the users of devices, which refer to them, and still do."""
    await build(store_path, SHIPPED[:3])
    connection = sqlite3.connect(store_path)
    connection.execute("PRAGMA foreign_keys = ON")
    with connection:
        connection.execute(
            "INSERT INTO documents (account_id, id, kind, revision, created, modified, data, private, mac) "
            "VALUES ('a', 'd', 'device', '1-a', 1, 2, '{\"name\": \"n\"}', '{}', '001122334455')"
        )
        connection.execute("INSERT INTO device_users (account_id, user_id, device_id) VALUES ('a', 'u', 'd')")
    connection.close()

    await (await Store.open(store_path)).close()

    connection = sqlite3.connect(store_path)
    connection.execute("PRAGMA foreign_keys = ON")
    assert connection.execute("SELECT id, modified, mac FROM documents").fetchall() == [("d", 2, "001122334455")]
    assert connection.execute("SELECT * FROM device_users").fetchall() == [("a", "u", "d")]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute("INSERT INTO device_users (account_id, user_id, device_id) VALUES ('a', 'u', 'none')")
    connection.close()


async def test_older_database_is_copied_before_it_is_changed(store_path: Path) -> None:
    """The copy is whole, readable by the owner alone, and named after the first step that was taken."""
    await build(store_path, SHIPPED[:1])
    before = schema_of(store_path)
    await (await Store.open(store_path)).close()

    copy = store_path.with_name("roost.db.before-2")
    assert schema_of(copy) == before
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    copies = [f"roost.db.before-{step}" for step in range(2, NEWEST + 1)]
    assert sorted(path.name for path in store_path.parent.iterdir()) == ["roost.db", *copies]


@pytest.mark.parametrize("version", [0, NEWEST])
async def test_new_and_current_databases_are_not_copied(store_path: Path, version: int) -> None:
    """There is nothing to lose."""
    await build(store_path, SHIPPED[:version])
    await (await Store.open(store_path)).close()
    assert [path.name for path in store_path.parent.iterdir()] == ["roost.db"]


async def test_newer_database_is_refused_untouched(store_path: Path) -> None:
    """An older Roost cannot know what the newer one wrote."""
    future = Migration(NEWEST + 1, "CREATE TABLE future (x);")
    await build(store_path, (*SHIPPED, future))
    before = store_path.read_bytes()

    with pytest.raises(MigrationRefused, match=f"version {NEWEST + 1}.*{NEWEST}"):
        await Store.open(store_path)
    assert store_path.read_bytes() == before


async def test_database_of_another_program_is_refused(store_path: Path) -> None:
    """A path that was mistyped must not get our tables."""
    prepare_file(store_path)
    connection = sqlite3.connect(store_path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()

    with pytest.raises(MigrationRefused, match="another program"):
        await Store.open(store_path)


async def test_failing_step_leaves_the_version_before_it(store_path: Path) -> None:
    """Each step is a transaction: all of it or nothing."""
    broken = Migration(NEWEST + 1, "CREATE TABLE half (x);\nCREATE TABLE half (x);")

    with pytest.raises(sqlite3.OperationalError, match="half already exists"):
        await build(store_path, (*SHIPPED, broken))
    version, defined = schema_of(store_path)
    assert version == NEWEST
    assert "half" not in dict(defined)


async def test_processes_that_open_an_old_file_at_once_migrate_it_once(store_path: Path) -> None:
    """The daemon and the command line may start together."""
    await build(store_path, SHIPPED[:1])
    stores = await asyncio.gather(*(Store.open(store_path) for _ in range(4)))
    for store in stores:
        await store.close()

    assert schema_of(store_path)[0] == NEWEST


async def test_processes_that_make_the_file_at_once(store_path: Path) -> None:
    """The same where there was no file."""
    stores = await asyncio.gather(*(Store.open(store_path) for _ in range(4)))
    for store in stores:
        await store.close()

    assert schema_of(store_path)[0] == NEWEST
