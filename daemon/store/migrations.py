"""Bringing an older database up to date: numbered steps, forward only, each in a transaction.

The number of the last step taken is the file's `PRAGMA user_version`. A step that was released is never changed.
"""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Final

import structlog

from daemon.store.backup import BackupFailed, back_up

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

COPIES_KEPT: Final = 3  # of the versions before the last ones

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


def migrate(
    connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration], *, copy_first: bool = True
) -> None:
    """Take the steps that are missing; safe against another process that does the same at this moment.

    Before its first step a database of version N that holds something is copied to `NAME.version-N`. Raises
    MigrationRefused for a newer database, for one of another program, and where the copy cannot be made: then nothing
    was changed.
    """
    version = check_version(connection, path, migrations)
    copied = version == 0 or not copy_first
    for migration in migrations[version:]:
        copied |= _apply(connection, migration, copy_first=None if copied else path)


def check_version(connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration]) -> int:
    """Return the version of a database that can be brought up to date. Raises MigrationRefused for another one."""
    version = _version(connection)
    newest = migrations[-1].version
    if version > newest:
        raise MigrationRefused(
            f"{path} has version {version}, this Roost knows {newest} at most: use a newer Roost or a backup"
        )
    if version == 0 and _has_tables(connection) and _version(connection) == 0:
        raise MigrationRefused(f"{path} is a database of another program")
    return version


def _apply(connection: sqlite3.Connection, migration: Migration, *, copy_first: Path | None) -> bool:
    """Take a step that nobody else has taken, and return whether a copy was made."""
    copied = False
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection)
        if version < migration.version:  # else another process was faster
            if copy_first is not None:
                _copy(copy_first, version)
                copied = True
            for statement in _statements(migration.sql):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {migration.version:d}")
            _log.info("store.migrated", version=migration.version)
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
    return copied


def _copy(path: Path, version: int) -> None:
    # By a connection that reads the last commit, while ours holds the lock: nobody else changes the file meanwhile.
    target = path.with_name(f"{path.name}.version-{version}")
    try:
        back_up(path, target, replace=True)
    except BackupFailed as error:
        raise MigrationRefused(f"{error}; without a copy nothing of it is changed: make room and start again") from None
    _log.info("store.backed_up", path=str(target))
    for old in _copies(path)[:-COPIES_KEPT]:
        old.unlink(missing_ok=True)


def _copies(path: Path) -> list[Path]:
    """Return the copies that earlier migrations left, the oldest version first."""
    found = {
        int(match[1]): each
        for each in path.parent.iterdir()
        if (match := re.fullmatch(re.escape(path.name) + r"\.version-([0-9]{1,9})", each.name, re.ASCII))
    }
    return [found[version] for version in sorted(found)]


def _statements(script: str) -> Iterator[str]:
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""


def _version(connection: sqlite3.Connection) -> int:
    ((version,),) = connection.execute("PRAGMA user_version").fetchall()
    return int(version)


def _has_tables(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall())
