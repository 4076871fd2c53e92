"""Putting a backup in the place of the database, while no daemon runs on it."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from daemon.store.backup import BackupFailed, inspect
from daemon.store.connection import WRITER_PRAGMAS, connect
from daemon.store.migrations import migrate, shipped_migrations
from daemon.store.occupancy import alone
from daemon.store.wholefile import sync_folder, whole_file

if TYPE_CHECKING:
    from daemon.store.backup import Contents

_BESIDE = ("-wal", "-shm")


def restore(backup: BinaryIO, database: Path, stamp: str) -> tuple[Contents, Path | None]:
    """Put the backup in the database's place, brought up to date; return what it holds and where the old one is.

    The old one is kept as `NAME.replaced-STAMP`. Raises InUse, BackupFailed or MigrationRefused, and then leaves
    everything as it was.
    """
    with alone(database):
        aside = database.with_name(f"{database.name}.replaced-{stamp}") if database.exists() else None
        try:
            with whole_file(database) as fresh:
                with fresh.open("wb") as file:
                    shutil.copyfileobj(backup, file)
                contents = asyncio.run(_bring_up_to_date(fresh))
                if aside is not None:
                    _set_aside(database, aside)
        except (sqlite3.Error, OSError) as error:
            raise BackupFailed(f"cannot write {database}: {error}") from error
    return contents, aside


async def _bring_up_to_date(path: Path) -> Contents:
    """Verify the copy and take the migrations that it lacks; its original is the backup, so no other is made."""

    def work(connection: sqlite3.Connection) -> None:
        migrate(connection, path, shipped_migrations(), copy_first=False)
        connection.execute("PRAGMA journal_mode = DELETE").fetchall()

    inspect(path)
    connection = await connect(path, WRITER_PRAGMAS)
    try:
        await connection.run(work)
    finally:
        await connection.close()
    return inspect(path)


def _set_aside(database: Path, aside: Path) -> None:
    """Give the old database another name too, and take away the log beside it, which is not the new one's."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the last to close takes the log away
    os.link(database, aside)
    for suffix in _BESIDE:  # of a database that is broken, or was left by a crash
        left = Path(f"{database}{suffix}")
        if left.exists():
            left.rename(f"{aside}{suffix}")
    sync_folder(database.parent)
