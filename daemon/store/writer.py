"""The one writer: all the jobs that wait are run in one transaction, so that one fsync serves them all.

A job is a plain function of the connection, run in its thread: a transaction takes two turns there, one to begin, one
for all its jobs and the commit. A job runs whole or not at all. It must neither commit nor roll back, and what else it
uses must not change meanwhile: the event loop goes on beside it.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from api.ports import StoreUnavailable
from daemon.figures import Histogram
from daemon.store.faults import Health, is_fault, needs_reopening

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.store.connection import Connection

T = TypeVar("T")
Job: TypeAlias = Callable[[sqlite3.Connection], T]
Committed: TypeAlias = Callable[[T], None]
Connector: TypeAlias = Callable[[], "Awaitable[Connection]"]

MAX_BATCH = 64  # jobs in a transaction: what a REGISTER may have to wait for, some 20 ms


@dataclass(slots=True)
class _Entry(Generic[T]):
    """A job that waits, and who waits for it."""

    job: Job[T]
    committed: Committed[T] | None
    taken: Callable[[], None] | None
    future: asyncio.Future[T]

    def resolve(self, outcome: T | Exception) -> None:
        """Tell the outcome; the `committed` callback runs before whoever awaits the future goes on."""
        if isinstance(outcome, Exception):
            if not self.future.done():
                self.future.set_exception(outcome)
            return
        if self.committed is not None:
            self.future.get_loop().call_soon(self.committed, outcome)
        if not self.future.done():
            self.future.set_result(outcome)


class Writer:
    """Runs the jobs, in the order they came, on a connection of its own."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._connection: Connection | None = None
        self._queue: deque[_Entry[Any]] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._health = Health("write")
        self._task: asyncio.Task[None] | None = None
        self.commits = Histogram()
        """Seconds that the transactions took, from their first statement to the end of their commit."""
        self.failures = 0
        """Transactions that the database did not take."""

    @property
    def waiting(self) -> int:
        """How many jobs wait for a transaction."""
        return len(self._queue)

    def start(self, connection: Connection) -> None:
        """Begin to write on this connection, which is the writer's from now on."""
        self._connection = connection
        self._task = asyncio.create_task(self._run(), name="store writer")

    async def close(self) -> None:
        """Write what waits, then end. Jobs submitted from now on are refused."""
        self._closing = True
        self._wake.set()
        try:
            if self._task is not None:
                await self._task
        finally:
            await self._disconnect()

    def submit(
        self, job: Job[T], committed: Committed[T] | None = None, *, taken: Callable[[], None] | None = None
    ) -> asyncio.Future[T]:
        """Queue the job and return the future of its result, done after the commit.

        Cancelling the future takes back a job that was not started; one that was started runs to its end.
        `taken` is called in the event loop when the job's transaction has begun: what the job writes must not change
        from then on. `committed` is called with the result right after the commit, cancelled or not. The future fails
        with StoreUnavailable, or with what the job raised.
        """
        entry = _Entry(job, committed, taken, asyncio.get_running_loop().create_future())
        if self._closing:
            entry.resolve(StoreUnavailable("the database is closed"))
        else:
            self._queue.append(entry)
            self._wake.set()
        return entry.future

    async def _run(self) -> None:
        try:
            while self._queue or not self._closing:
                if not self._queue:
                    self._wake.clear()
                    await self._wake.wait()
                size = min(len(self._queue), MAX_BATCH)
                await self._write([self._queue.popleft() for _ in range(size)])
        finally:
            self._closing = True
            while self._queue:
                self._queue.popleft().resolve(StoreUnavailable("the writer has ended"))

    async def _write(self, batch: Sequence[_Entry[Any]]) -> None:
        live = [entry for entry in batch if not entry.future.cancelled()]
        if not live:
            return
        began = time.monotonic()
        try:
            connection = await self._connected()
            # A turn of its own: what comes in until it is over, be it that another process writes, still goes along.
            # Without it half as many REGISTERs share a transaction, and each costs 138 us rather than 109.
            await connection.run(_begin)
            for entry in live:
                if entry.taken is not None:
                    entry.taken()
            outcomes = await connection.run(partial(_run_and_commit, [entry.job for entry in live]))
        except Exception as error:  # noqa: BLE001 - told to those who wait, logged by `failed`; the writer goes on
            self.failures += 1
            refusal = self._health.failed(error)
            await self._recover(error)
            for entry in live:
                entry.resolve(refusal)
        else:
            self.commits.observe(time.monotonic() - began)
            self._health.succeeded()
            for entry, outcome in zip(live, outcomes, strict=True):
                entry.resolve(outcome)

    async def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = await self._connector()
        return self._connection

    async def _recover(self, error: Exception) -> None:
        if self._connection is None:
            return
        if needs_reopening(error):
            await self._disconnect()
            return
        try:
            await self._connection.run(sqlite3.Connection.rollback)
        except sqlite3.Error:
            await self._disconnect()

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error, ValueError):  # ValueError: it was closed by its own failure
                await connection.close()


def _begin(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")


def _run_and_commit(jobs: Sequence[Job[object]], connection: sqlite3.Connection) -> list[object]:
    """Return of each job its result, or the exception that is its caller's."""
    if len(jobs) == 1:
        outcomes = [_attempt(jobs[0], connection)]
        if isinstance(outcomes[0], Exception):
            connection.rollback()
            return outcomes
    else:
        outcomes = [_in_savepoint(job, connection) for job in jobs]
    connection.commit()
    return outcomes


def _in_savepoint(job: Job[object], connection: sqlite3.Connection) -> object:
    connection.execute("SAVEPOINT job")
    outcome = _attempt(job, connection)
    if isinstance(outcome, Exception):
        connection.execute("ROLLBACK TO job")
    connection.execute("RELEASE job")
    return outcome


def _attempt(job: Job[object], connection: sqlite3.Connection) -> object:
    """Return the job's result, or the exception that is its caller's; the database's own faults are raised."""
    try:
        return job(connection)
    except StopIteration:
        return RuntimeError("the job raised StopIteration")  # which no future takes
    except Exception as error:  # whatever it is, it goes to the one who asked for the job
        if is_fault(error):
            raise
        return error
