"""The database file, and a connection to it as every part of the store wants it: a thread that runs whole functions.

What is run in that thread must fetch all the rows it asks for: a cursor that is left open keeps the connection at the
state of the database that it began with.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import time
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import aiosqlite

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

T = TypeVar("T")

BUSY_TIMEOUT = 5.0
"""Seconds that a connection waits for another process's write to end."""

WRITER_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # what was answered is on the disk
    "PRAGMA foreign_keys = ON",
    "PRAGMA temp_store = MEMORY",  # what a statement of many rows keeps to take itself back: 256 KiB, else a file
    "PRAGMA journal_size_limit = 67108864",  # give the space of a long log back after a storm of writes
)
READER_PRAGMAS = ("PRAGMA query_only = ON",)


class Connection:
    """A connection that lives in a thread of its own."""

    def __init__(self, inner: aiosqlite.Connection) -> None:
        self._inner = inner

    async def run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Call the function in the connection's thread and return, or raise, what it does.

        However many statements it runs, the thread is changed once. Once begun it runs to its end, cancelled or not.
        """
        # aiosqlite's own methods take a turn of its thread for each statement; these two are what they are made of.
        execute, raw = self._inner._execute, self._inner._conn  # noqa: SLF001
        done: T = await execute(function, raw)  # type: ignore[no-untyped-call]
        return done

    async def close(self) -> None:
        """Close it once what was begun has ended."""
        await self._inner.close()


def prepare_file(path: Path) -> None:
    """Make the file, and its directory, if they are missing; nobody but the owner may read them.

    SQLite gives the files beside it (`-wal`, `-shm`) the same mode.
    """
    prepare_folder(path)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        # Not opened: closing any descriptor of a file gives up all the locks that this process has on it.
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)


def prepare_folder(path: Path) -> None:
    """Make the folder that the file is in, if it is missing."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)


async def connect(path: Path, pragmas: Sequence[str], *, busy_timeout: float = BUSY_TIMEOUT) -> Connection:
    """Open the existing file; transactions are begun by hand. Rows are plain tuples."""
    connection = Connection(
        await aiosqlite.connect(_uri_of(path), uri=True, isolation_level=None, timeout=busy_timeout)
    )
    try:
        for pragma in pragmas:
            await _set(connection, pragma, busy_timeout)
    except BaseException:
        await connection.close()
        raise
    return connection


async def _set(connection: Connection, pragma: str, busy_timeout: float) -> None:
    # SQLite does not wait for another process that changes the journal mode at the same moment, so we do.
    deadline = time.monotonic() + busy_timeout
    while True:
        try:
            await connection.run(partial(_execute, pragma))
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            await asyncio.sleep(random.uniform(0.005, 0.05))  # noqa: S311 - jitter
        else:
            return


def _execute(sql: str, connection: sqlite3.Connection) -> None:
    connection.execute(sql).fetchall()


def _uri_of(path: Path) -> str:
    return f"{path.absolute().as_uri()}?mode=rw"  # never made here: a file that vanished is a fault, not a new database
