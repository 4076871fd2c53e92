"""Bringing an older database up to date: numbered steps, forward only, each in a transaction.

The number of the last step taken is the file's `PRAGMA user_version`. A step that was released is never changed.
"""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import aiosqlite

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

    A database that holds something is first copied to `NAME.before-N`, N being the first step to take. Raises
    MigrationRefused for a newer database and for one of another program.
    """
    version = await _version(connection)
    newest = migrations[-1].version
    if version > newest:
        raise MigrationRefused(
            f"{path} has version {version}, this Roost knows {newest} at most: use a newer Roost or a backup"
        )
    if version == 0 and await _has_tables(connection) and await _version(connection) == 0:
        raise MigrationRefused(f"{path} is a database of another program")
    if 0 < version < newest:
        await _back_up(connection, path, version + 1)
    for migration in migrations:
        if migration.version > version:
            await _apply(connection, migration)


async def _apply(connection: aiosqlite.Connection, migration: Migration) -> None:
    await connection.execute("BEGIN IMMEDIATE")
    try:
        if await _version(connection) < migration.version:  # else another process was faster
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


async def _back_up(connection: aiosqlite.Connection, path: Path, step: int) -> None:
    target = path.with_name(f"{path.name}.before-{step}")
    unfinished = path.with_name(f"{target.name}.{os.getpid()}")
    descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        await connection.execute("VACUUM INTO ?", (str(unfinished),))
        os.fsync(descriptor)
        unfinished.replace(target)
    except BaseException:
        unfinished.unlink()
        raise
    finally:
        os.close(descriptor)
    _log.info("store.backed_up", path=str(target))


async def _version(connection: aiosqlite.Connection) -> int:
    ((version,),) = await connection.execute_fetchall("PRAGMA user_version")
    return int(version)


async def _has_tables(connection: aiosqlite.Connection) -> bool:
    return bool(list(await connection.execute_fetchall("SELECT 1 FROM sqlite_master LIMIT 1")))
