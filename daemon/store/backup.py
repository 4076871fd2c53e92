"""Copies of the database, made while others write to it, and looked through before anybody relies on them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from daemon.store.wholefile import whole_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

BUSY_TIMEOUT: Final = 5.0  # seconds to wait for who holds the file for a moment: a writer never does so in WAL mode
MAX_FAULTS: Final = 5  # faults of a broken file that are told
_OURS: Final = frozenset({"documents", "tokens"})


class BackupFailed(Exception):
    """A copy could not be made, or is none of a database of ours; the text says why."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a database holds."""

    version: int
    """The last migration that was taken."""
    rows: Mapping[str, int]
    """How many each table has."""
    accounts: int
    users: int
    devices: int

    @property
    def bindings(self) -> int:
        """How many contacts are registered, those that are over by now among them."""
        return self.rows.get("bindings", 0)


def back_up(source: Path, target: Path, *, replace: bool) -> Contents:
    """Copy the database to a file of its own, verified, and return what is in it.

    Every commit that was over before the call is in the copy; those who write meanwhile are not kept waiting. Raises
    FileExistsError or BackupFailed, and then leaves nothing behind.
    """
    if not replace and target.exists():
        raise FileExistsError(target)
    try:
        with whole_file(target, replace=replace) as copy:
            return snapshot(source, copy)
    except FileExistsError:
        raise
    except (sqlite3.Error, OSError) as error:
        raise BackupFailed(f"cannot copy {source} to {target}: {error}") from error


def snapshot(source: Path, copy: Path) -> Contents:
    """Write the database into an empty file and verify it. Raises BackupFailed, sqlite3.Error or OSError."""
    with closing(_open(source)) as reader:
        reader.execute("BEGIN")
        before = _contents(reader)
        with closing(sqlite3.connect(copy)) as writer:
            reader.backup(writer)  # in one step, of what the transaction sees
            writer.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
    after = inspect(copy)
    if after != before:
        raise BackupFailed(f"the copy of {source} has not what the original has")
    return after


def inspect(path: Path) -> Contents:
    """Look through a file and return what is in it. Raises BackupFailed where it is broken or none of ours."""
    try:
        with closing(_open(path)) as connection:
            faults = [text for (text,) in connection.execute(f"PRAGMA integrity_check({MAX_FAULTS:d})")]
            if faults != ["ok"]:
                raise BackupFailed(f"{path} is broken: {'; '.join(faults)}")
            if connection.execute("PRAGMA foreign_key_check").fetchone() is not None:
                raise BackupFailed(f"{path} is broken: rows refer to rows that are missing")
            contents = _contents(connection)
    except (sqlite3.Error, OSError) as error:
        raise BackupFailed(f"{path} cannot be read: {error}") from error
    if not contents.version or not contents.rows.keys() >= _OURS:
        raise BackupFailed(f"{path} is no database of Roost")
    return contents


def _open(path: Path) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode=ro"
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT)


def _contents(connection: sqlite3.Connection) -> Contents:
    ((version,),) = connection.execute("PRAGMA user_version")
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    rows = {name: _count(connection, f'SELECT count(*) FROM "{name}"') for (name,) in tables.fetchall()}  # noqa: S608
    kinds: dict[str, int] = {}
    if "documents" in rows:
        kinds = dict(connection.execute("SELECT kind, count(*) FROM documents WHERE deleted = 0 GROUP BY kind"))
    return Contents(version, rows, kinds.get("account", 0), kinds.get("user", 0), kinds.get("device", 0))


def _count(connection: sqlite3.Connection, sql: str) -> int:
    ((count,),) = connection.execute(sql)
    return int(count)
