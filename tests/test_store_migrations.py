"""Databases of every older version, of a newer one, and of another program."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import subprocess
import sys
from functools import partial
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
            await connection.run(partial(migrate, path=path, migrations=migrations))
    finally:
        await connection.close()


def schema_of(path: Path) -> tuple[int, list[tuple[str, str]]]:
    """Return the version of a file and everything it defines."""
    connection = sqlite3.connect(path)
    ((version,),) = connection.execute("PRAGMA user_version")
    defined = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name").fetchall()
    connection.close()
    return version, defined


def names_beside(path: Path) -> list[str]:
    """Return the names in a file's folder, sorted."""
    return sorted(each.name for each in path.parent.iterdir())


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


@pytest.mark.parametrize("version", range(1, NEWEST))
async def test_older_database_is_copied_before_it_is_changed(store_path: Path, version: int) -> None:
    """Once, however many steps are taken; the copy is whole, its owner's alone, and named after its version."""
    await build(store_path, SHIPPED[:version])
    before = schema_of(store_path)
    await (await Store.open(store_path)).close()

    copy = store_path.with_name(f"roost.db.version-{version}")
    assert schema_of(copy) == before
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert names_beside(store_path) == ["roost.db", copy.name]


async def test_copies_of_the_last_versions_are_kept(store_path: Path) -> None:
    """Version 10 is later than version 9, and what only looks like a copy is nobody's to delete."""
    await build(store_path, SHIPPED[:1])
    for version in (7, 8, 9, 10):
        store_path.with_name(f"roost.db.version-{version}").touch()
    store_path.with_name("roost.db.version-2.mine").touch()
    await (await Store.open(store_path)).close()

    copies = [f"roost.db.version-{version}" for version in (10, 8, 9)]
    assert names_beside(store_path) == sorted(["roost.db", "roost.db.version-2.mine", *copies])


async def test_database_that_cannot_be_copied_is_not_migrated(store_path: Path) -> None:
    """A folder that no file can be put into stands for the full disk; the reason is told and nothing is changed."""
    await build(store_path, SHIPPED[:1])
    before = schema_of(store_path)
    store_path.with_name("roost.db.version-1").mkdir()  # what a rename cannot replace

    with pytest.raises(MigrationRefused, match=r"cannot copy .*without a copy nothing"):
        await Store.open(store_path)
    assert schema_of(store_path) == before
    assert names_beside(store_path) == ["roost.db", "roost.db.version-1"]


OPEN_WITH_LITTLE_ROOM = """
import asyncio, pathlib, resource, sys
from daemon.store import Store
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
asyncio.run(Store.open(pathlib.Path(sys.argv[1])))
"""


async def test_full_disk_is_told_and_nothing_is_migrated(store_path: Path) -> None:
    """Files may not grow over 64 kB here, as on a disk with no more room; the database itself is larger."""
    await build(store_path, SHIPPED[:1])
    connection = sqlite3.connect(store_path)
    with connection:
        connection.execute("INSERT INTO api_keys (account_id, api_key, digest) VALUES ('a', 'key', zeroblob(100000))")
    connection.close()
    before = schema_of(store_path)
    command = [sys.executable, "-c", OPEN_WITH_LITTLE_ROOM, str(store_path)]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)

    assert "MigrationRefused: cannot copy" in done.stderr
    assert "make room and start again" in done.stderr
    assert schema_of(store_path) == before
    assert [name for name in names_beside(store_path) if "version" in name] == []


@pytest.mark.parametrize("version", [0, NEWEST])
async def test_new_and_current_databases_are_not_copied(store_path: Path, version: int) -> None:
    """There is nothing to lose."""
    await build(store_path, SHIPPED[:version])
    await (await Store.open(store_path)).close()
    assert names_beside(store_path) == ["roost.db"]


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
