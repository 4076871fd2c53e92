"""The database: one writer, and readers that never wait for it (SQLite in WAL mode).

Another process may use the file at the same time. Everything here raises StoreUnavailable where the file cannot be
read or written, and works again when it can.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from api.ports import StoreUnavailable
from daemon.store.connection import BUSY_TIMEOUT, READER_PRAGMAS, WRITER_PRAGMAS, connect, prepare_file
from daemon.store.faults import Health, is_fault, needs_reopening
from daemon.store.migrations import migrate, shipped_migrations
from daemon.store.writer import Writer

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from daemon.store.connection import Connection
    from daemon.store.writer import Committed, Job

T = TypeVar("T")
Row: TypeAlias = tuple[Any, ...]
"""The columns of a row, in the order of the SELECT."""

READERS = 2
CHUNK = 2_000  # rows in memory at a time while all are gone through, some megabytes
MAX_WAITING = 1024  # jobs in the queue; who comes then waits to get into it


class Database:
    """The file, opened by `Database.open` and up to date."""

    def __init__(self, path: Path, busy_timeout: float) -> None:
        self._reader = partial(connect, path, READER_PRAGMAS, busy_timeout=busy_timeout)
        self._writer = Writer(partial(connect, path, WRITER_PRAGMAS, busy_timeout=busy_timeout))
        self._slots = asyncio.Semaphore(MAX_WAITING)
        self._idle: asyncio.LifoQueue[Connection | None] = asyncio.LifoQueue()
        self._health = Health("read")
        self._closed = False
        for _ in range(READERS):
            self._idle.put_nowait(None)

    @classmethod
    async def open(cls, path: Path, *, busy_timeout: float = BUSY_TIMEOUT) -> Database:
        """Open the file, made if it is missing, and migrate it.

        Raises StoreUnavailable, or MigrationRefused where it is not ours or from a newer version.
        """
        try:
            prepare_file(path)
            connection = await connect(path, WRITER_PRAGMAS, busy_timeout=busy_timeout)
            try:
                await connection.run(partial(migrate, path=path, migrations=shipped_migrations()))
            except BaseException:
                await connection.close()
                raise
        except Exception as error:
            if is_fault(error):
                raise StoreUnavailable(f"{path}: {error}") from error
            raise
        database = cls(path, busy_timeout)
        database._writer.start(connection)
        return database

    @property
    def writer(self) -> Writer:
        """Whose figures tell how writing goes."""
        return self._writer

    async def close(self) -> None:
        """Write what waits, then close every connection; who reads or writes from now on is refused."""
        if self._closed:
            return
        self._closed = True
        await self._writer.close()
        readers = [await self._idle.get() for _ in range(READERS)]
        for connection in readers:
            if connection is not None:
                await connection.close()
            self._idle.put_nowait(None)

    async def write(self, job: Job[T], committed: Committed[T] | None = None) -> T:
        """Run the job in the next transaction and return its result once that is committed (see `Writer.submit`)."""
        async with self._slots:
            return await self._writer.submit(job, committed)

    def submit(self, job: Job[T], *, taken: Callable[[], None] | None = None) -> asyncio.Future[T]:
        """Queue the job without waiting for a place: for those who never have more than one there."""
        return self._writer.submit(job, taken=taken)

    async def read(self, sql: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> list[Row]:
        """Return all the rows of a query, as of the last commit."""

        async def fetch(connection: Connection) -> list[Row]:
            return await connection.run(partial(_fetch, sql, parameters))

        try:
            return await self._with_reader(fetch)
        except UnicodeEncodeError:
            return []  # half a surrogate pair, from a URL: no text in the database is equal to it

    async def scan(
        self, sql: str, take: Callable[[Sequence[Row]], None], parameters: Mapping[str, object] | Sequence[object] = ()
    ) -> None:
        """Hand all the rows of a query to `take`, as of the last commit, CHUNK at a time: for those of all devices."""

        async def fetch(connection: Connection) -> None:
            cursor = await connection.run(lambda raw: raw.execute(sql, parameters))
            try:
                while rows := await connection.run(lambda _: cursor.fetchmany(CHUNK)):
                    take(rows)
            finally:
                await connection.run(lambda _: cursor.close())

        await self._with_reader(fetch)

    async def pages(
        self, sql: str, take: Callable[[bytes], None], parameters: Mapping[str, object] | Sequence[object] = ()
    ) -> None:
        """Hand the single value of each row to `take`, as of the last commit; meanwhile SQLite makes the next one."""

        async def fetch(connection: Connection) -> None:
            cursor = await connection.run(lambda raw: raw.execute(sql, parameters))
            following = asyncio.ensure_future(connection.run(lambda _: cursor.fetchone()))
            try:
                while (row := await following) is not None:
                    following = asyncio.ensure_future(connection.run(lambda _: cursor.fetchone()))
                    await asyncio.sleep(0)  # which begins it
                    take(row[0])
            finally:
                await asyncio.gather(following, return_exceptions=True)
                await connection.run(lambda _: cursor.close())

        await self._with_reader(fetch)

    async def _with_reader(self, fetch: Callable[[Connection], Awaitable[T]]) -> T:
        connection = await self._idle.get()
        try:
            connection = await self._ready(connection)
            found = await fetch(connection)
        except Exception as error:
            if not is_fault(error):
                raise
            if connection is not None and needs_reopening(error):
                broken, connection = connection, None
                await broken.close()
            raise self._health.failed(error) from error
        finally:
            self._idle.put_nowait(connection)
        self._health.succeeded()
        return found

    async def _ready(self, connection: Connection | None) -> Connection:
        if self._closed:
            raise StoreUnavailable("the database is closed")
        return connection or await self._reader()


def _fetch(sql: str, parameters: Sequence[object] | Mapping[str, object], connection: sqlite3.Connection) -> list[Row]:
    return connection.execute(sql, parameters).fetchall()
