"""A connection: whole functions in its thread, by what aiosqlite's own methods are made of."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from typing import TYPE_CHECKING

import pytest

from daemon.store.connection import WRITER_PRAGMAS, Connection, connect, prepare_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def connection(store_path: Path) -> AsyncIterator[Connection]:
    prepare_file(store_path)
    opened = await connect(store_path, WRITER_PRAGMAS)
    yield opened
    await opened.close()


def look(raw: sqlite3.Connection) -> tuple[int, int]:
    ((one,),) = raw.execute("SELECT 1").fetchall()
    return one, threading.get_ident()


async def test_functions_run_in_one_thread_that_is_not_the_loops(connection: Connection) -> None:
    """They are given SQLite's own connection, which refuses any other thread."""
    first, second = await connection.run(look), await connection.run(look)

    assert first == second
    assert first[0] == 1
    assert first[1] != threading.get_ident()


async def test_what_a_function_raises_comes_to_its_caller(connection: Connection) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await connection.run(lambda raw: raw.execute("SELECT 1 FROM missing"))


async def test_function_that_was_begun_runs_to_its_end(connection: Connection) -> None:
    """Also where nobody waits for it any more; closing waits for it."""
    loop, started, go_on = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def write(raw: sqlite3.Connection) -> None:
        raw.execute("CREATE TABLE written (x)")
        loop.call_soon_threadsafe(started.set)
        assert go_on.wait(5)
        raw.execute("INSERT INTO written VALUES (1)")

    task = asyncio.create_task(connection.run(write))
    await started.wait()
    task.cancel()
    go_on.set()

    assert await connection.run(lambda raw: raw.execute("SELECT x FROM written").fetchall()) == [(1,)]
    assert task.cancelled()


async def test_closed_connection_runs_nothing(store_path: Path) -> None:
    prepare_file(store_path)
    connection = await connect(store_path, WRITER_PRAGMAS)
    await connection.close()

    with pytest.raises(ValueError, match="no active connection"):
        await connection.run(look)
