"""Copies of the database, and their way back."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from functools import partial
from typing import TYPE_CHECKING

import pytest

from api.ports import Draft, Kind
from daemon.store import InUse, MigrationRefused, Occupancy, Store
from daemon.store.backup import BackupFailed, back_up, inspect
from daemon.store.connection import WRITER_PRAGMAS, connect, prepare_file
from daemon.store.migrations import Migration, migrate, shipped_migrations
from daemon.store.restore import restore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SHIPPED = shipped_migrations()
NEWEST = SHIPPED[-1].version


async def make(path: Path, realm: str = "a.test") -> str:
    """Make a database with a master account, and return the account's id."""
    store = await Store.open(path)
    account = await store.create_master("master", realm)
    await store.close()
    return account.account_id


def made(path: Path, realm: str = "a.test") -> Path:
    """Make a database that is closed."""
    asyncio.run(make(path, realm))
    return path


def build(path: Path, migrations: Sequence[Migration]) -> Path:
    """Make a database of another version."""

    async def work() -> None:
        prepare_file(path)
        connection = await connect(path, WRITER_PRAGMAS)
        await connection.run(partial(migrate, path=path, migrations=migrations))
        await connection.close()

    asyncio.run(work())
    return path


def put_back(backup: Path, database: Path) -> Path | None:
    """Restore, and return where the old database is."""
    with backup.open("rb") as file:
        return restore(file, database, "now")[1]


def realm_in(path: Path) -> str:
    """Return the realm of the one account."""
    connection = sqlite3.connect(path)
    ((realm,),) = connection.execute("SELECT realm FROM documents WHERE kind = 'account'").fetchall()
    connection.close()
    return str(realm)


async def test_backup_of_an_open_database_holds_what_was_committed(store_path: Path, tmp_path: Path) -> None:
    """It is one file, its owner's alone, and tells what it holds."""
    store = await Store.open(store_path)
    account = await store.create_master("master", "a.test")
    for number in range(3):
        await store.documents.create(Draft(Kind.DEVICE, account.account_id, f"d{number}", {"name": "x"}))
    contents = await asyncio.to_thread(back_up, store_path, tmp_path / "copy.db", replace=False)
    await store.close()

    assert (contents.version, contents.accounts, contents.devices, contents.bindings) == (NEWEST, 1, 3, 0)
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600
    assert sorted(each.name for each in tmp_path.iterdir()) == ["copy.db", "state"]


def test_backup_leaves_a_file_that_is_there_unless_forced(store_path: Path, tmp_path: Path) -> None:
    """Last night's backup is not lost to a mistyped name."""
    made(store_path)
    target = tmp_path / "copy.db"
    target.write_text("last night's")
    with pytest.raises(FileExistsError):
        back_up(store_path, target, replace=False)
    assert target.read_text() == "last night's"

    back_up(store_path, target, replace=True)
    assert realm_in(target) == "a.test"


def test_backup_of_a_broken_database_is_none(store_path: Path, tmp_path: Path) -> None:
    """It says so, and leaves nothing that looks like one."""
    made(store_path)
    content = bytearray(store_path.read_bytes())
    content[8192:] = b"\xa5" * (len(content) - 8192)
    store_path.write_bytes(content)

    with pytest.raises(BackupFailed):
        back_up(store_path, tmp_path / "copy.db", replace=False)
    assert [each.name for each in tmp_path.iterdir()] == ["state"]


def test_backup_into_a_folder_that_is_not_there(store_path: Path, tmp_path: Path) -> None:
    """A reason, not a traceback."""
    made(store_path)
    with pytest.raises(BackupFailed, match="No such file"):
        back_up(store_path, tmp_path / "none" / "copy.db", replace=False)


def test_restore_puts_the_backup_in_place_and_keeps_the_old_one(store_path: Path, tmp_path: Path) -> None:
    """Both can be opened afterwards."""
    backup = tmp_path / "backup.db"
    back_up(made(store_path), backup, replace=False)
    store_path.unlink()
    made(store_path, "newer.test")
    aside = put_back(backup, store_path)

    assert realm_in(store_path) == "a.test"
    assert aside == store_path.with_name("roost.db.replaced-now")
    assert realm_in(aside) == "newer.test"
    assert stat.S_IMODE(store_path.stat().st_mode) == 0o600
    asyncio.run(make_nothing(store_path))


async def make_nothing(path: Path) -> None:
    """Open and close, as the daemon would."""
    await (await Store.open(path)).close()


def test_restore_keeps_what_only_the_log_of_the_old_database_has(store_path: Path, tmp_path: Path) -> None:
    """After a crash the last commits are in the -wal file, which must not be read into the new database."""
    backup = tmp_path / "backup.db"
    back_up(made(tmp_path / "other.db"), backup, replace=False)
    made(store_path, "b.test")
    writer = sqlite3.connect(store_path)
    writer.execute("UPDATE documents SET realm = 'logged.test'")
    writer.commit()
    crashed = tmp_path / "crashed" / "roost.db"
    crashed.parent.mkdir()
    for suffix in ("", "-wal"):
        crashed.with_name(f"roost.db{suffix}").write_bytes(store_path.with_name(f"roost.db{suffix}").read_bytes())
    writer.close()
    aside = put_back(backup, crashed)

    assert realm_in(crashed) == "a.test"
    assert aside is not None
    assert realm_in(aside) == "logged.test"


def test_restore_replaces_a_broken_database(store_path: Path, tmp_path: Path) -> None:
    """Which is what backups are for."""
    backup = tmp_path / "backup.db"
    back_up(made(tmp_path / "other.db"), backup, replace=False)
    store_path.parent.mkdir()
    store_path.write_bytes(b"not a database at all" * 1000)
    aside = put_back(backup, store_path)

    assert realm_in(store_path) == "a.test"
    assert aside is not None
    assert aside.read_bytes().startswith(b"not a database")


def test_restore_where_there_is_no_database(store_path: Path, tmp_path: Path) -> None:
    """On a new machine."""
    backup = made(tmp_path / "backup.db")
    assert put_back(backup, store_path) is None
    assert realm_in(store_path) == "a.test"


@pytest.mark.parametrize("version", range(1, NEWEST + 1))
def test_restore_brings_an_older_backup_up_to_date(store_path: Path, tmp_path: Path, version: int) -> None:
    """The backup itself stays as it is, and no copies of the copy are left."""
    backup = build(tmp_path / "old.db", SHIPPED[:version])
    before = backup.read_bytes()
    put_back(backup, store_path)

    assert inspect(store_path).version == NEWEST
    assert backup.read_bytes() == before
    assert sorted(each.name for each in store_path.parent.iterdir()) == ["roost.db", "roost.db.lock"]


def test_restore_refuses_a_newer_backup(store_path: Path, tmp_path: Path) -> None:
    """With the reason, and the database untouched."""
    made(store_path)
    backup = build(tmp_path / "new.db", (*SHIPPED, Migration(NEWEST + 1, "CREATE TABLE future (x);")))
    before = store_path.read_bytes()

    with pytest.raises(MigrationRefused, match=f"version {NEWEST + 1}, this Roost knows {NEWEST}"):
        put_back(backup, store_path)
    assert store_path.read_bytes() == before
    assert sorted(each.name for each in store_path.parent.iterdir()) == ["roost.db", "roost.db.lock"]


@pytest.mark.parametrize("content", [b"", b"text", b"SQLite format 3\0" + bytes(5000)], ids=["empty", "text", "broken"])
def test_restore_refuses_what_is_no_backup(store_path: Path, tmp_path: Path, content: bytes) -> None:
    """And one cut short is none."""
    made(store_path)
    before = store_path.read_bytes()
    (tmp_path / "file").write_bytes(content)

    with pytest.raises(BackupFailed):
        put_back(tmp_path / "file", store_path)
    assert store_path.read_bytes() == before


def test_restore_refuses_a_backup_cut_short(store_path: Path, tmp_path: Path) -> None:
    """A copy that broke off on its way."""
    backup = made(tmp_path / "backup.db")
    backup.write_bytes(backup.read_bytes()[:-5000])

    with pytest.raises(BackupFailed):
        put_back(backup, store_path)
    assert not store_path.exists()


def test_restore_waits_for_no_daemon(store_path: Path, tmp_path: Path) -> None:
    """While one holds the database it is refused; and a daemon cannot start meanwhile."""
    backup = made(tmp_path / "backup.db")
    daemon = Occupancy(store_path)
    with pytest.raises(InUse, match="a daemon runs"):
        put_back(backup, store_path)

    asyncio.run(daemon.release())
    put_back(backup, store_path)
    assert realm_in(store_path) == "a.test"
