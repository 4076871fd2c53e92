"""What became of NOTIFYs, in the database: bounded for each device, and there after a restart.

Whatever changed while a transaction ran goes into the next one, so that a sync of many devices costs few of them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import structlog

from api.ports import StoreUnavailable
from daemon.store.bindings import packed, unpacked

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from daemon.store.database import Database, Row

log = structlog.get_logger(__name__)

KEPT = 20  # of a device, beside those of the sync jobs that are kept
KEPT_FOR = 90 * 86_400.0  # seconds; what is older goes at the next start, with what deleted devices left
MAX_PENDING = 200_000  # changes that wait for one transaction; more are not kept
_SEPARATOR = "\n"  # in no Call-ID

_ADD = """
INSERT INTO deliveries (
    id, account_id, device_id, job_id, contact, user_agent, vendor, event, sent_at, phase, final,
    sip_status, sip_reason, latency, instance, host, call_id, others
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_CHANGE = """
UPDATE deliveries SET phase = ?, final = ?, sip_status = ?, sip_reason = ?, latency = ? WHERE id = ?
"""
_TRIM = """
DELETE FROM deliveries WHERE account_id = :account_id AND device_id = :device_id AND job_id IS NULL AND id <= (
    SELECT id FROM deliveries WHERE account_id = :account_id AND device_id = :device_id AND job_id IS NULL
    ORDER BY id DESC LIMIT 1 OFFSET :kept
)
"""
_OF_DEVICE = """
SELECT id, account_id, device_id, job_id, contact, user_agent, vendor, event, sent_at, phase, final,
    sip_status, sip_reason, latency, instance, host, call_id, others
FROM deliveries WHERE account_id = ? AND device_id = ? ORDER BY id DESC LIMIT ?
"""
_OPEN = """
SELECT id, account_id, device_id, job_id, contact, user_agent, vendor, event, sent_at, phase, final,
    sip_status, sip_reason, latency, instance, host, call_id, others
FROM deliveries WHERE final = 0 ORDER BY id
"""
_COUNT_OF_JOB = "SELECT phase, count(*) FROM deliveries WHERE job_id = ? GROUP BY phase"
_TAKE = "UPDATE sync_job_devices SET taken = 1 WHERE job_id = ? AND device_id = ?"
_FORGET_OLD = "DELETE FROM deliveries WHERE id < ?"


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """One NOTIFY to one binding, as it is kept."""

    id: int
    """Grows with time."""
    account_id: str
    device_id: str
    job_id: str | None
    contact: str | None
    """None where the device had none."""
    user_agent: str
    vendor: str
    event: str
    sent_at: float
    """Unix seconds."""
    phase: str
    final: bool
    sip_status: int | None = None
    sip_reason: str = ""
    latency: float | None = None
    """Seconds."""
    instance: str = ""
    host: str = ""
    call_id: str = ""
    others: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Batch:
    """What one transaction will write: the last state of each delivery, those that are new apart."""

    new: dict[int, DeliveryRecord] = field(default_factory=dict)
    changed: dict[int, DeliveryRecord] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.new) + len(self.changed)


class StoredDeliveries:
    """The deliveries of all devices."""

    def __init__(self, database: Database, wall: Callable[[], float]) -> None:
        self._database = database
        self._wall = wall
        self._last_id = 0
        self._open: _Batch | None = None
        self._latest: asyncio.Future[None] | None = None

    def new_id(self) -> int:
        """Return an id above all that were given."""
        self._last_id = max(self._last_id + 1, int(self._wall() * 1e6))
        return self._last_id

    def save(self, record: DeliveryRecord, *, new: bool) -> None:
        """Queue a new or changed delivery. Never waits; what cannot be written is logged.

        A change of one that was forgotten meanwhile changes nothing.
        """
        batch = self._open
        if batch is None:
            batch = self._open = _Batch()
            self._latest = self._database.submit(partial(self._write, batch), taken=partial(self._close, batch))
            self._latest.add_done_callback(partial(self._settle, batch))
        if len(batch) >= MAX_PENDING:
            log.warning("delivery.not_stored", reason="too many wait to be written")
            return
        (batch.new if new or record.id in batch.new else batch.changed)[record.id] = record

    async def take(self, job_id: str, device_ids: Iterable[str], records: Sequence[DeliveryRecord]) -> None:
        """Note durably that these devices of a job have their turn, with their deliveries. Raises StoreUnavailable."""
        await self._database.write(partial(_take, job_id, tuple(device_ids), records))

    async def of_device(self, account_id: str, device_id: str) -> list[DeliveryRecord]:
        """Return the last deliveries to a device, the latest first. Raises StoreUnavailable."""
        await self._written()
        return [_record_of(row) for row in await self._database.read(_OF_DEVICE, (account_id, device_id, KEPT))]

    async def of_job(self, job_id: str) -> Mapping[str, int]:
        """Return how many deliveries of a job are in each phase. Raises StoreUnavailable."""
        await self._written()
        return dict(await self._database.read(_COUNT_OF_JOB, (job_id,)))

    async def load(self) -> list[DeliveryRecord]:
        """Return the deliveries that were not over when the last process ended, and forget the oldest of all."""
        oldest = int((self._wall() - KEPT_FOR) * 1e6)
        await self._database.write(partial(_forget_old, oldest))
        return [_record_of(row) for row in await self._database.read(_OPEN)]

    async def _written(self) -> None:
        """Wait until what was queued before is in the database, or failed to get there."""
        if self._latest is not None and not self._latest.done():
            await asyncio.wait([self._latest])

    def _close(self, batch: _Batch) -> None:
        if self._open is batch:
            self._open = None

    def _write(self, batch: _Batch, connection: sqlite3.Connection) -> None:
        connection.executemany(_ADD, [_row_of(record) for record in batch.new.values()])
        connection.executemany(_CHANGE, [_change_of(record) for record in batch.changed.values()])
        devices = {(record.account_id, record.device_id) for record in batch.new.values()}
        trims = [{"account_id": account, "device_id": device, "kept": KEPT} for account, device in devices]
        connection.executemany(_TRIM, trims)

    def _settle(self, batch: _Batch, future: asyncio.Future[None]) -> None:
        self._close(batch)  # it may have failed before it was begun
        if not future.cancelled() and (error := future.exception()) is not None:
            bug = None if isinstance(error, StoreUnavailable) else error
            log.warning("delivery.not_stored", deliveries=len(batch), reason=str(error), exc_info=bug)


def _take(
    job_id: str, device_ids: Sequence[str], records: Sequence[DeliveryRecord], connection: sqlite3.Connection
) -> None:
    connection.executemany(_TAKE, [(job_id, device_id) for device_id in device_ids])
    connection.executemany(_ADD, [_row_of(record) for record in records])


def _forget_old(oldest: int, connection: sqlite3.Connection) -> None:
    connection.execute(_FORGET_OLD, (oldest,))


def _row_of(record: DeliveryRecord) -> tuple[object, ...]:
    return (
        record.id,
        record.account_id,
        record.device_id,
        record.job_id,
        None if record.contact is None else packed(record.contact),
        packed(record.user_agent),
        record.vendor,
        record.event,
        record.sent_at,
        record.phase,
        record.final,
        record.sip_status,
        packed(record.sip_reason),
        record.latency,
        packed(record.instance),
        record.host,
        packed(record.call_id),
        packed(_SEPARATOR.join(sorted(record.others))),
    )


def _change_of(record: DeliveryRecord) -> tuple[object, ...]:
    reason = packed(record.sip_reason)
    return record.phase, record.final, record.sip_status, reason, record.latency, record.id


def _record_of(row: Row) -> DeliveryRecord:
    (number, account_id, device_id, job_id, contact, user_agent, vendor, event, sent_at, phase, final, *rest) = row
    (status, reason, latency, instance, host, call_id, others) = rest
    return DeliveryRecord(
        number,
        account_id,
        device_id,
        job_id,
        None if contact is None else unpacked(contact),
        unpacked(user_agent),
        vendor,
        event,
        sent_at,
        phase,
        bool(final),
        status,
        unpacked(reason),
        latency,
        unpacked(instance),
        host,
        unpacked(call_id),
        frozenset(unpacked(others).split(_SEPARATOR)) if others else frozenset(),
    )
