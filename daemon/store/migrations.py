"""Bringing an older database up to date: numbered steps, forward only, each in a transaction.

The number of the last step taken is the file's `PRAGMA user_version`. A step that was released is never changed.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import aiosqlite
import structlog

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_log = structlog.stdlib.get_logger(__name__)


class MigrationRefused(Exception):
    """The file is not one that this version of Roost can bring up to date."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step."""

    version: int
    sql: str


def shipped_migrations() -> tuple[Migration, ...]:
    """Return the steps in order; their files are named `NNNN_what.sql`."""
    found = [entry for entry in files("daemon.store").joinpath("migrations").iterdir() if entry.name.endswith(".sql")]
    steps = sorted((int(entry.name[:4]), entry.read_text("utf-8")) for entry in found)
    return tuple(Migration(version, sql) for version, sql in steps)


async def migrate(connection: aiosqlite.Connection, path: Path, migrations: Sequence[Migration]) -> None:
    """Take the steps that are missing; safe against another process that does the same at this moment.

    Before each step N a database that holds something is copied to `NAME.before-N`. Raises MigrationRefused for a newer
    database and for one of another program.
    """
    version = await _version(connection)
    newest = migrations[-1].version
    if version > newest:
        raise MigrationRefused(
            f"{path} has version {version}, this Roost knows {newest} at most: use a newer Roost or a backup"
        )
    if version == 0 and await _has_tables(connection) and await _version(connection) == 0:
        raise MigrationRefused(f"{path} is a database of another program")
    holds_something = version > 0
    for migration in migrations[version:]:
        await _apply(connection, migration, copy_first=path if holds_something else None)


async def _apply(connection: aiosqlite.Connection, migration: Migration, *, copy_first: Path | None) -> None:
    await connection.execute("BEGIN IMMEDIATE")
    try:
        if await _version(connection) < migration.version:  # else another process was faster
            if copy_first is not None:
                await _back_up(copy_first, migration.version)
            for statement in _statements(migration.sql):
                await connection.execute(statement)
            await connection.execute(f"PRAGMA user_version = {migration.version:d}")
            _log.info("store.migrated", version=migration.version)
        await connection.commit()
    except BaseException:
        await connection.rollback()
        raise


def _statements(script: str) -> Iterator[str]:
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""


async def _back_up(path: Path, step: int) -> None:
    # By a connection that reads the last commit, while ours holds the lock: nobody else changes the file meanwhile.
    target = path.with_name(f"{path.name}.before-{step}")
    with _whole_file(target) as name:
        async with aiosqlite.connect(path) as reader:
            await reader.execute("VACUUM INTO ?", (name,))
    _log.info("store.backed_up", path=str(target))


@contextmanager
def _whole_file(target: Path) -> Iterator[str]:
    """Give the name of an empty file that gets its name, and reaches the disk, only when it is whole."""
    descriptor, name = tempfile.mkstemp(prefix=f"{target.name}.", dir=target.parent)
    try:
        yield name
        os.fsync(descriptor)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink()
        raise
    finally:
        os.close(descriptor)


async def _version(connection: aiosqlite.Connection) -> int:
    ((version,),) = await connection.execute_fetchall("PRAGMA user_version")
    return int(version)


async def _has_tables(connection: aiosqlite.Connection) -> bool:
    return bool(list(await connection.execute_fetchall("SELECT 1 FROM sqlite_master LIMIT 1")))
