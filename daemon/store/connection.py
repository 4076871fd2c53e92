"""The database file, and a connection to it as every part of the store wants it."""

from __future__ import annotations

import asyncio
import os
import random
import time
from typing import TYPE_CHECKING

import aiosqlite

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BUSY_TIMEOUT = 5.0
"""Seconds that a connection waits for another process's write to end."""

WRITER_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # what was answered is on the disk
    "PRAGMA foreign_keys = ON",
    "PRAGMA journal_size_limit = 67108864",  # give the space of a long log back after a storm of writes
)
READER_PRAGMAS = ("PRAGMA query_only = ON",)


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


async def connect(path: Path, pragmas: Sequence[str], *, busy_timeout: float = BUSY_TIMEOUT) -> aiosqlite.Connection:
    """Open the existing file; transactions are begun by hand. Rows are plain tuples."""
    connection = await aiosqlite.connect(_uri_of(path), uri=True, isolation_level=None, timeout=busy_timeout)
    try:
        for pragma in pragmas:
            await _set(connection, pragma, busy_timeout)
    except BaseException:
        await connection.close()
        raise
    return connection


async def _set(connection: aiosqlite.Connection, pragma: str, busy_timeout: float) -> None:
    # SQLite does not wait for another process that changes the journal mode at the same moment, so we do.
    deadline = time.monotonic() + busy_timeout
    while True:
        try:
            await connection.execute_fetchall(pragma)
        except aiosqlite.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            await asyncio.sleep(random.uniform(0.005, 0.05))  # noqa: S311 - jitter
        else:
            return


def _uri_of(path: Path) -> str:
    return f"{path.absolute().as_uri()}?mode=rw"  # never made here: a file that vanished is a fault, not a new database
