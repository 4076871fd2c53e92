"""The legs of calls that have ended, in the database: for as many days as they are to be kept."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, fields
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Final

import orjson
import structlog

from api.ports import Cdr, Leg, StoreUnavailable

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from api.ports import CdrQuery
    from daemon.store.database import Database, Row

log = structlog.get_logger(__name__)

DAY: Final = 86_400.0  # seconds
DAYS: Final = 30
SWEEP_INTERVAL: Final = 3600.0  # seconds between two looks for what is too old
MAX_WAITING: Final = 10_000  # calls whose legs wait to be written; those of more are not kept
_KNOWN: Final = frozenset(each.name for each in fields(Leg))

_ADD = "INSERT OR IGNORE INTO cdrs (id, account_id, owner_id, began, ended, leg) VALUES (?, ?, ?, ?, ?, ?)"
_FORGET_OLD = "DELETE FROM cdrs WHERE ended < ?"
_PAGE = """
SELECT number, id, leg FROM cdrs WHERE account_id = :account_id AND number <= :before
    AND began >= :began_from AND began < :began_to {owner} ORDER BY number DESC LIMIT :limit
"""
_FIND = "SELECT number, id, leg FROM cdrs WHERE account_id = ? AND id = ?"
_NEWEST = 2**62
_FOREVER = 1e18


class StoredCdrs:
    """Implements `api.ports.Cdrs`."""

    def __init__(self, database: Database, wall: Callable[[], float]) -> None:
        self.days = DAYS
        """How long they are kept; 0 keeps none."""
        self._database = database
        self._wall = wall
        self._waiting = 0
        self._swept = 0.0
        self._last: asyncio.Future[None] | None = None

    def keep(self, legs: Sequence[Leg]) -> None:
        """Queue the legs of a call that is over. Never waits; what cannot be written is logged."""
        if not self.days or not legs:
            return
        if self._waiting >= MAX_WAITING:
            log.warning("cdr.not_stored", reason="too many wait to be written")
            return
        rows = [_row_of(leg, self._wall()) for leg in legs]
        self._last = self._database.submit(partial(self._write, rows))
        self._waiting += 1
        self._last.add_done_callback(self._settle)

    async def written(self) -> None:
        """Wait until what was kept before is in the database, or failed to get there."""
        if self._last is not None:
            await asyncio.wait([self._last])

    async def page(self, query: CdrQuery) -> Sequence[Cdr]:
        """Return a page of an account's legs, the latest first. Raises StoreUnavailable."""
        await self.written()
        owner = "" if query.owner_id is None else "AND owner_id = :owner_id"
        parameters = {
            "account_id": query.account_id,
            "before": _NEWEST if query.before is None else query.before,
            "began_from": -_FOREVER if query.began_from is None else query.began_from,
            "began_to": _FOREVER if query.began_to is None else query.began_to,
            "owner_id": query.owner_id,
            "limit": query.limit,
        }
        return [_cdr_of(row) for row in await self._database.read(_PAGE.format(owner=owner), parameters)]

    async def find(self, account_id: str, cdr_id: str) -> Cdr | None:
        """Return one of them. Raises StoreUnavailable."""
        await self.written()
        rows = await self._database.read(_FIND, (account_id, cdr_id))
        return _cdr_of(rows[0]) if rows else None

    def _write(self, rows: Sequence[tuple[object, ...]], connection: sqlite3.Connection) -> None:
        connection.executemany(_ADD, rows)
        now = self._wall()
        if now - self._swept >= SWEEP_INTERVAL:
            connection.execute(_FORGET_OLD, (now - self.days * DAY,))
            self._swept = now

    def _settle(self, future: asyncio.Future[None]) -> None:
        self._waiting -= 1
        if not future.cancelled() and (error := future.exception()) is not None:
            log.warning("cdr.not_stored", reason=str(error))
            if not isinstance(error, StoreUnavailable):
                raise error


def cdr_id(leg: Leg) -> str:
    """Return the id of a leg's record, as Kazoo makes it: the month that it began in, and its Call-ID."""
    moment = datetime.fromtimestamp(leg.began, timezone.utc)
    return f"{moment:%Y%m}-{leg.call_id}"


def _row_of(leg: Leg, now: float) -> tuple[object, ...]:
    ended = now if leg.ended is None else leg.ended
    return cdr_id(leg), leg.account_id, leg.owner_id, leg.began, ended, orjson.dumps(asdict(leg))


def _cdr_of(row: Row) -> Cdr:
    number, name, leg = row
    # A later version may have written keys that this one does not know.
    known = {key: value for key, value in orjson.loads(leg).items() if key in _KNOWN}
    return Cdr(number, name, Leg(**known))
