"""What webhooks were not told yet, in the database, so that it outlives the process.

Whatever changed while a transaction ran goes into the next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

import structlog

from api.ports import StoreUnavailable

if TYPE_CHECKING:
    import asyncio
    import sqlite3
    from collections.abc import Iterable, Mapping

    from daemon.store.database import Database

log = structlog.get_logger(__name__)

Key: TypeAlias = "tuple[str, str, int, str]"

MAX_PENDING: Final = 100_000  # changes that wait for one transaction; more are not kept

_PUT = """
INSERT OR REPLACE INTO outbox (account_id, webhook_id, event_id, source, name, body, failures)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_REMOVE = "DELETE FROM outbox WHERE account_id = ? AND webhook_id = ? AND event_id = ? AND source = ?"
_LOAD = "SELECT account_id, webhook_id, event_id, source, name, body, failures FROM outbox ORDER BY event_id"


@dataclass(slots=True, eq=False)
class Parcel:
    """An event on its way to one webhook."""

    account_id: str
    """Of the webhook."""
    webhook_id: str
    event_id: int
    source: str
    """The account that the event happened in."""
    name: str
    body: bytes
    """The event as JSON."""
    failures: int = 0
    """How often it was sent in vain."""

    @property
    def key(self) -> Key:
        """What tells it from all others."""
        return self.account_id, self.webhook_id, self.event_id, self.source


class Outbox:
    """The parcels of all webhooks. Nothing here but `load` waits; what cannot be written is logged."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._open: dict[Key, Parcel | None] | None = None
        self._failing = False

    def put(self, parcel: Parcel) -> None:
        """Keep a parcel as it is when it is written."""
        self._change(parcel.key, parcel)

    def remove(self, parcels: Iterable[Parcel]) -> None:
        """Forget parcels: they were delivered, or given up."""
        for parcel in parcels:
            self._change(parcel.key, None)

    async def load(self) -> list[Parcel]:
        """Return what an earlier process left, in the order of the events. Raises StoreUnavailable."""
        return [Parcel(*row) for row in await self._database.read(_LOAD)]

    def _change(self, key: Key, parcel: Parcel | None) -> None:
        batch = self._open
        if batch is None:
            batch = self._open = {}
            future = self._database.submit(partial(self._write, batch), taken=partial(self._close, batch))
            future.add_done_callback(partial(self._settle, batch))
        if len(batch) < MAX_PENDING:
            batch[key] = parcel

    def _close(self, batch: Mapping[Key, Parcel | None]) -> None:
        if self._open is batch:
            self._open = None

    def _write(self, batch: Mapping[Key, Parcel | None], connection: sqlite3.Connection) -> None:
        connection.executemany(_PUT, [_row_of(parcel) for parcel in batch.values() if parcel is not None])
        connection.executemany(_REMOVE, [key for key, parcel in batch.items() if parcel is None])

    def _settle(self, batch: Mapping[Key, Parcel | None], future: asyncio.Future[None]) -> None:
        self._close(batch)  # it may have failed before it was begun
        error = None if future.cancelled() else future.exception()
        if error is not None:
            tell = log.debug if self._failing else log.warning
            bug = None if isinstance(error, StoreUnavailable) else error
            tell("outbox.not_stored", parcels=len(batch), reason=str(error), exc_info=bug)
        self._failing = error is not None


def _row_of(parcel: Parcel) -> tuple[object, ...]:
    return (*parcel.key, parcel.name, parcel.body, parcel.failures)
