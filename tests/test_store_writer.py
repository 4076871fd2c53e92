"""The writer: groups of jobs in one transaction, each of them whole or not at all."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from api.ports import StoreUnavailable
from daemon.store.database import MAX_WAITING, Database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


@pytest.fixture
async def database(store_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(store_path)
    yield opened
    await opened.close()


class Blocker:
    """A job that says when it runs, and waits for leave to end."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.go_on = threading.Event()
        self._loop = asyncio.get_running_loop()

    def wait(self, _: sqlite3.Connection) -> None:
        self._loop.call_soon_threadsafe(self.started.set)
        assert self.go_on.wait(5)


def put(key: str, connection: sqlite3.Connection) -> str:
    """Store the key."""
    connection.execute("INSERT INTO settings (key, value) VALUES (?, x'00')", (key,))
    return key


async def stored(database: Database) -> list[str]:
    return [key for (key,) in await database.read("SELECT key FROM settings ORDER BY key")]


async def test_jobs_that_wait_together_share_one_transaction(database: Database) -> None:
    """A reader inside the second job does not see the first, which has run and is not committed."""

    loop = asyncio.get_running_loop()

    def look(connection: sqlite3.Connection) -> tuple[list[str], int]:
        ((inside,),) = connection.execute("SELECT count(*) FROM settings").fetchall()
        return asyncio.run_coroutine_threadsafe(stored(database), loop).result(5), inside

    first, (outside, inside) = await asyncio.gather(database.write(partial(put, "a")), database.write(look))

    assert first == "a"
    assert outside == []
    assert inside == 1
    assert await stored(database) == ["a"]


async def test_failing_job_is_undone_alone(database: Database) -> None:
    """What a job raises goes to its caller; what it wrote before that is gone; its neighbours are stored."""

    def fail(connection: sqlite3.Connection) -> None:
        put("half", connection)
        raise LookupError("no")

    results = await asyncio.gather(
        database.write(partial(put, "a")),
        database.write(fail),
        database.write(partial(put, "a")),
        database.write(partial(put, "b")),
        return_exceptions=True,
    )

    assert [type(result).__name__ for result in results] == ["str", "LookupError", "IntegrityError", "str"]
    assert await stored(database) == ["a", "b"]


async def test_failing_job_that_is_alone_leaves_nothing(database: Database) -> None:
    """A transaction of one job is rolled back as a whole."""

    def fail(connection: sqlite3.Connection) -> None:
        put("half", connection)
        raise LookupError("no")

    with pytest.raises(LookupError):
        await database.write(fail)

    assert await stored(database) == []
    assert await database.write(partial(put, "a")) == "a"


async def test_job_that_raises_stop_iteration_is_told_so(database: Database) -> None:
    """No future takes a StopIteration; the writer goes on, and its caller hears."""

    def fail(connection: sqlite3.Connection) -> None:
        next(iter(connection.execute("SELECT key FROM settings").fetchall()))

    with pytest.raises(RuntimeError, match="StopIteration"):
        await database.write(fail)
    assert await database.write(partial(put, "a")) == "a"


async def test_job_is_taken_when_its_transaction_has_begun(database: Database) -> None:
    """What is added to a job that waits is written by it; once it was taken nothing is."""
    blocker, keys = Blocker(), ["early"]
    loop_thread, told = threading.get_ident(), list[int]()

    def write_all(connection: sqlite3.Connection) -> None:
        for key in keys:
            put(key, connection)

    blocking = asyncio.create_task(database.write(blocker.wait))
    await blocker.started.wait()
    writing = database.submit(write_all, taken=lambda: told.append(threading.get_ident()))
    await asyncio.sleep(0)
    keys.append("late")
    assert told == []
    blocker.go_on.set()
    await blocking
    await writing

    assert told == [loop_thread]
    assert await stored(database) == ["early", "late"]


async def test_job_is_not_taken_while_another_process_writes(database: Database, store_path: Path) -> None:
    """So what comes in meanwhile goes along."""
    other = sqlite3.connect(store_path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    keys = ["early"]
    taken = asyncio.Event()

    def write_all(connection: sqlite3.Connection) -> None:
        for key in keys:
            put(key, connection)

    writing = database.submit(write_all, taken=taken.set)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(taken.wait(), 0.05)
    keys.append("late")
    other.execute("ROLLBACK")
    other.close()
    await writing

    assert taken.is_set()
    assert await stored(database) == ["early", "late"]


async def test_transaction_of_many_jobs_is_two_turns_of_the_thread(database: Database) -> None:
    """However many statements they run: what costs is to change threads."""
    loop, turns = asyncio.get_running_loop(), list[object]()
    call = loop.call_soon_threadsafe

    def counted(callback: Callable[..., object], *args: object, **kwargs: Any) -> asyncio.Handle:
        turns.append(callback)
        return call(callback, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "call_soon_threadsafe", counted)
        await asyncio.gather(*(database.write(partial(put, key)) for key in "abcde"))

    assert len(turns) == 2
    assert await stored(database) == list("abcde")


async def test_job_cancelled_before_its_start_never_runs(database: Database) -> None:
    """A client that went away while its job waited leaves nothing."""
    blocker = Blocker()
    blocking = asyncio.create_task(database.write(blocker.wait))
    await blocker.started.wait()
    waiting = asyncio.create_task(database.write(partial(put, "gone")))
    await asyncio.sleep(0)
    waiting.cancel()
    blocker.go_on.set()
    await blocking

    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await stored(database) == []


async def test_job_cancelled_while_it_runs_is_done_whole(database: Database) -> None:
    """A client that goes away in the middle changes nothing about its job, and `committed` is still told."""
    blocker, told = Blocker(), asyncio.Event()

    def write_two(connection: sqlite3.Connection) -> None:
        put("a", connection)
        blocker.wait(connection)
        put("b", connection)

    writing = asyncio.create_task(database.write(write_two, lambda _: told.set()))
    await blocker.started.wait()
    writing.cancel()
    await asyncio.sleep(0)
    blocker.go_on.set()
    await told.wait()

    assert writing.cancelled()
    assert await stored(database) == ["a", "b"]


async def test_committed_is_told_in_order_and_before_the_caller_goes_on(database: Database) -> None:
    """What follows a commit in memory has happened when the client is answered."""
    events: list[str] = []

    async def write(key: str) -> None:
        await database.write(partial(put, key), lambda done: events.append(f"committed {done}"))
        events.append(f"answered {key}")

    await asyncio.gather(write("a"), write("b"))

    assert events.index("committed a") < events.index("committed b")
    assert events.index("committed a") < events.index("answered a")
    assert events.index("committed b") < events.index("answered b")


async def test_failing_job_is_not_told_as_committed(database: Database) -> None:
    """`committed` is for what is on the disk."""
    told: list[None] = []

    def fail(_: sqlite3.Connection) -> None:
        raise LookupError("no")

    with pytest.raises(LookupError):
        await database.write(fail, told.append)
    assert told == []


async def test_more_jobs_than_the_queue_holds_are_all_done(database: Database) -> None:
    """Who finds the queue full waits for a place in it."""
    keys = [f"{number:05}" for number in range(MAX_WAITING + 100)]
    assert await asyncio.gather(*(database.write(partial(put, key)) for key in keys)) == keys
    assert await stored(database) == keys


async def test_close_writes_what_waits_and_then_refuses(store_path: Path) -> None:
    """A job accepted before the stop is on the disk after it; one that comes later is refused."""
    database = await Database.open(store_path)
    writes = [asyncio.create_task(database.write(partial(put, key))) for key in "abc"]
    await asyncio.sleep(0)
    await database.close()

    assert [await write for write in writes] == ["a", "b", "c"]
    with pytest.raises(StoreUnavailable):
        await database.write(partial(put, "d"))

    again = await Database.open(store_path)
    assert await stored(again) == ["a", "b", "c"]
    await again.close()


async def test_reader_of_a_closed_database_is_refused(store_path: Path) -> None:
    """Rather than left waiting; closing twice is no fault."""
    database = await Database.open(store_path)
    await stored(database)
    await database.close()
    await database.close()

    with pytest.raises(StoreUnavailable):
        await asyncio.wait_for(stored(database), 5)


async def test_writer_outlives_a_connection_that_breaks(database: Database) -> None:
    """Whatever goes wrong outside the jobs, those of the batch are told, and the next batch is written."""

    def break_it(connection: sqlite3.Connection) -> None:
        connection.close()

    with pytest.raises(StoreUnavailable):
        await database.write(break_it)
    assert await database.write(partial(put, "a")) == "a"


async def test_reader_is_not_held_up_by_a_long_write(database: Database) -> None:
    """Readers see the last commit while a transaction is open."""
    await database.write(partial(put, "a"))
    blocker = Blocker()

    def write_slowly(connection: sqlite3.Connection) -> None:
        put("b", connection)
        blocker.wait(connection)

    writing = asyncio.create_task(database.write(write_slowly))
    await blocker.started.wait()

    assert await asyncio.wait_for(stored(database), 5) == ["a"]
    blocker.go_on.set()
    await writing
    assert await stored(database) == ["a", "b"]
