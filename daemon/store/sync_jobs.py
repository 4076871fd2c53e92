"""Syncs of many devices, in the database: what is left to do of each outlives the process.

A device's turn is noted by `StoredDeliveries.take` before its NOTIFY leaves, so that nobody gets it twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from daemon.store.database import Database, Row

KEPT_JOBS = 10  # of an account; an older one that has ended goes with its deliveries
RUNNING = "running"

_ADD = """
INSERT INTO sync_jobs (id, account_id, user_id, mode, rate, total, state, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_ADD_DEVICE = "INSERT INTO sync_job_devices (job_id, device_id) VALUES (?, ?)"
_GET = """
SELECT id, account_id, user_id, mode, rate, total, state, created, ended FROM sync_jobs WHERE id = ? AND account_id = ?
"""
_OF_ACCOUNT = """
SELECT id, account_id, user_id, mode, rate, total, state, created, ended FROM sync_jobs
WHERE account_id = ? ORDER BY created DESC
"""
_RUNNING = """
SELECT id, account_id, user_id, mode, rate, total, state, created, ended FROM sync_jobs WHERE state = 'running'
ORDER BY id
"""
_LEFT = "SELECT device_id FROM sync_job_devices WHERE job_id = ? AND taken = 0 ORDER BY device_id"
_COUNT_LEFT = "SELECT count(*) FROM sync_job_devices WHERE job_id = ? AND taken = 0"
_END = "UPDATE sync_jobs SET state = ?, ended = ? WHERE id = ? AND state = 'running'"
_FORGET_TAKEN = "DELETE FROM sync_job_devices WHERE job_id = ? AND taken = 1"
_FORGET_DEVICES = "DELETE FROM sync_job_devices WHERE job_id = ?"
_FORGET_DELIVERIES = "DELETE FROM deliveries WHERE job_id = ?"
_FORGET = "DELETE FROM sync_jobs WHERE id = ?"


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A sync of many devices."""

    id: str
    account_id: str
    user_id: str | None
    """Whose devices; None for those of the account."""
    mode: str | None
    """None is what each phone's family takes a check-sync for."""
    rate: float
    """NOTIFYs a second."""
    total: int
    """Devices."""
    state: str = RUNNING
    """`running`, `done` or `stopped`."""
    created: float = 0.0
    """Unix seconds."""
    ended: float | None = None


class StoredJobs:
    """The jobs of all accounts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, job: JobRecord, device_ids: Sequence[str]) -> None:
        """Store a job with its devices, and forget the oldest of its account. Raises StoreUnavailable."""
        await self._database.write(partial(_add, job, device_ids))

    async def get(self, account_id: str, job_id: str) -> JobRecord | None:
        """Return a job of the account. Raises StoreUnavailable."""
        return next((JobRecord(*row) for row in await self._database.read(_GET, (job_id, account_id))), None)

    async def of_account(self, account_id: str) -> list[JobRecord]:
        """Return the account's jobs, the latest first. Raises StoreUnavailable."""
        return _jobs(await self._database.read(_OF_ACCOUNT, (account_id,)))

    async def running(self) -> list[JobRecord]:
        """Return the jobs that no process has ended. Raises StoreUnavailable."""
        return _jobs(await self._database.read(_RUNNING))

    async def left(self, job_id: str) -> list[str]:
        """Return the devices of a job that had no turn yet. Raises StoreUnavailable."""
        return [device_id for (device_id,) in await self._database.read(_LEFT, (job_id,))]

    async def count_left(self, job_id: str) -> int:
        """Return how many devices of a job had no turn. Raises StoreUnavailable."""
        ((count,),) = await self._database.read(_COUNT_LEFT, (job_id,))
        return int(count)

    async def end(self, job_id: str, state: str, ended: float) -> None:
        """Note that a job is over; one that is already stays as it was. Raises StoreUnavailable."""
        await self._database.write(partial(_end, job_id, state, ended))


def _jobs(rows: Sequence[Row]) -> list[JobRecord]:
    return [JobRecord(*row) for row in rows]


def _add(job: JobRecord, device_ids: Sequence[str], connection: sqlite3.Connection) -> None:
    row = (job.id, job.account_id, job.user_id, job.mode, job.rate, job.total, job.state, job.created)
    connection.execute(_ADD, row)
    connection.executemany(_ADD_DEVICE, [(job.id, device_id) for device_id in device_ids])
    jobs = _jobs(connection.execute(_OF_ACCOUNT, (job.account_id,)).fetchall())
    for old in jobs[KEPT_JOBS:]:
        if old.state != RUNNING:
            for statement in (_FORGET_DEVICES, _FORGET_DELIVERIES, _FORGET):
                connection.execute(statement, (old.id,))


def _end(job_id: str, state: str, ended: float, connection: sqlite3.Connection) -> None:
    connection.execute(_END, (state, ended, job_id))
    connection.execute(_FORGET_TAKEN, (job_id,))
