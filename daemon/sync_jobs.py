"""Syncs of many devices, one after the other at a pace (`api.ports.SyncJobs`).

Rule: a device's turn is in the database before its NOTIFY leaves. So a restart goes on where the last process was, and
sends to nobody twice.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar

import structlog

from api.ports import GREGORIAN_EPOCH, StoreUnavailable, SyncJob, TooManyJobs
from daemon.presence import now
from daemon.store import JobRecord
from sip.delivery import TOLD, DeliveryState, Phase
from sip.pace import Pace
from sip.vendor import Mode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from daemon.deliveries import Deliveries
    from daemon.events import EventSink
    from daemon.store import Store
    from daemon.sync import DeviceControl, Letter

T = TypeVar("T")

log = structlog.get_logger(__name__)

MAX_RUNNING: Final = 4  # jobs of one account at once: their paces add up
GROUP: Final = 100  # devices without a registration that are passed over in one transaction
FIRST_PAUSE: Final = 1.0  # seconds before a turn is tried again that could not be stored; doubled with each failure
LONGEST_PAUSE: Final = 30.0
DONE: Final = "done"
STOPPED: Final = "stopped"


@dataclass(slots=True, eq=False)
class _Running:
    """A job that runs in this process."""

    record: JobRecord
    left: deque[str]
    halted: asyncio.Event = field(default_factory=asyncio.Event)
    answers: set[asyncio.Task[None]] = field(default_factory=set)
    """NOTIFYs that wait for their answer."""
    news: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the last of them has it, and when the job is halted."""
    task: asyncio.Task[None] | None = None

    @property
    def mode(self) -> Mode | None:
        """What the phones are to do."""
        return _mode(self.record)

    def halt(self) -> None:
        """Take no more turns."""
        self.halted.set()
        self.news.set()

    def expect(self, answer: asyncio.Task[None]) -> None:
        """Wait for an answer before the job is over."""
        self.answers.add(answer)
        answer.add_done_callback(self._answered)

    async def all_answered(self) -> None:
        """Return when nothing more is awaited, or the job is halted."""
        while self.answers and not self.halted.is_set():
            self.news.clear()
            await self.news.wait()

    def _answered(self, answer: asyncio.Task[None]) -> None:
        self.answers.discard(answer)
        if not self.answers:
            self.news.set()

    async def pause(self, seconds: float) -> None:
        """Wait so long, or until the job is halted."""
        try:
            await asyncio.wait_for(self.halted.wait(), seconds)
        except (TimeoutError, asyncio.TimeoutError):
            return


class SyncJobs:
    """Implements `api.ports.SyncJobs`. Use it from one event loop."""

    def __init__(
        self,
        control: DeviceControl,
        deliveries: Deliveries,
        store: Store,
        *,
        events: EventSink | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._control = control
        self._deliveries = deliveries
        self._store = store
        self._events = events
        self._wall = wall
        self._running: dict[str, _Running] = {}
        self._starting = asyncio.Lock()

    async def load(self) -> None:
        """Go on with the jobs that an earlier process left. Raises StoreUnavailable."""
        for record in await self._store.sync_jobs.running():
            left = await self._store.sync_jobs.left(record.id)
            log.info("sync.resumed", job_id=record.id, left=len(left))
            self._launch(_Running(record, deque(left)))

    async def close(self) -> None:
        """Halt; the next process goes on."""
        for job in self._running.values():
            job.halt()
        tasks = [job.task for job in self._running.values() if job.task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)

    async def start(
        self, account_id: str, device_ids: Sequence[str], *, mode: Mode | None, rate: float, user_id: str | None = None
    ) -> SyncJob:
        """Begin to sync the devices at a pace. Raises TooManyJobs or StoreUnavailable."""
        record = JobRecord(
            id=secrets.token_hex(16),
            account_id=account_id,
            user_id=user_id,
            mode=None if mode is None else mode.value,
            rate=rate,
            total=len(device_ids),
            created=self._wall(),
        )
        async with self._starting:
            if sum(job.record.account_id == account_id for job in self._running.values()) >= MAX_RUNNING:
                raise TooManyJobs
            await self._store.sync_jobs.add(record, device_ids)
            self._launch(_Running(record, deque(device_ids)))
        log.info("sync.started", job_id=record.id, account_id=account_id, devices=record.total, rate=rate)
        return await self._told(record)

    async def get(self, account_id: str, job_id: str) -> SyncJob | None:
        """Return a job of the account, running or over. Raises StoreUnavailable."""
        record = await self._store.sync_jobs.get(account_id, job_id)
        return None if record is None else await self._told(record)

    async def of_account(self, account_id: str) -> Sequence[SyncJob]:
        """Return the account's jobs, the latest first. Raises StoreUnavailable."""
        return [await self._told(record) for record in await self._store.sync_jobs.of_account(account_id)]

    async def stop(self, account_id: str, job_id: str) -> SyncJob | None:
        """Send to no more devices; None where there is no such job. Raises StoreUnavailable."""
        record = await self._store.sync_jobs.get(account_id, job_id)
        if record is None:
            return None
        job = self._running.get(job_id)
        if job is not None and job.task is not None:
            job.halt()
            await asyncio.wait([job.task])
        if record.ended is None:
            await self._end(record, STOPPED)
        return await self.get(account_id, job_id)

    def _launch(self, job: _Running) -> None:
        self._running[job.record.id] = job
        job.task = asyncio.create_task(self._run(job), name=f"sync {job.record.id}")
        job.task.add_done_callback(lambda task: self._ended(job, task))

    def _ended(self, job: _Running, task: asyncio.Task[None]) -> None:
        self._running.pop(job.record.id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("sync.crashed", job_id=job.record.id, exc_info=error)

    async def _run(self, job: _Running) -> None:
        pace = Pace(job.record.rate, now())
        while job.left and not job.halted.is_set():
            sent = await self._until_stored(job, partial(self._take_turn, job))
            pace.spend(sent or 0, now())
            await job.pause(pace.delay(now()))
        await job.all_answered()
        await self._until_stored(job, partial(self._end, job.record, DONE))

    async def _until_stored(self, job: _Running, work: Callable[[], Awaitable[T]]) -> T | None:
        """Do the work, again and again while the store does not take it; None where the job was halted first."""
        pause = FIRST_PAUSE
        while not job.halted.is_set():
            try:
                return await work()
            except StoreUnavailable as error:
                log.warning("sync.stuck", job_id=job.record.id, reason=str(error))
            await job.pause(pause)
            pause = min(LONGEST_PAUSE, 2 * pause)
        return None

    async def _take_turn(self, job: _Running) -> int:
        """Send to the next device, or pass over some without a registration; returns how many NOTIFYs went.

        Raises StoreUnavailable, with nothing sent and nothing taken.
        """
        turn, letters = self._next_turn(job)
        records = [self._deliveries.record(letter.followed) for letter in letters]
        await self._store.deliveries.take(job.record.id, turn, records)
        for _ in turn:
            job.left.popleft()
        answers = [task for letter in letters if (task := self._control.send(letter, stored=True)) is not None]
        for answer in answers:
            job.expect(answer)
        return len(answers)

    def _next_turn(self, job: _Running) -> tuple[list[str], list[Letter]]:
        """Return the next device that is registered, or else those before it, with what is to be sent to them."""
        turn: list[str] = []
        letters: list[Letter] = []
        for device_id in islice(job.left, GROUP):
            ready = self._control.check_syncs(job.record.account_id, device_id, mode=job.mode, job_id=job.record.id)
            costs = any(letter.binding is not None for letter in ready)
            if costs and turn:
                break
            turn.append(device_id)
            letters += ready
            if costs:
                break
        return turn, letters

    async def _end(self, record: JobRecord, state: str) -> None:
        await self._store.sync_jobs.end(record.id, state, self._wall())
        log.info("sync.ended", job_id=record.id, account_id=record.account_id, state=state)
        if self._events is not None:
            self._events.emit(
                record.account_id, "sync.ended", {"job_id": record.id, "state": state, "total": record.total}
            )

    async def _told(self, record: JobRecord) -> SyncJob:
        phases = await self._store.deliveries.of_job(record.id)
        states: Counter[DeliveryState] = Counter()
        for phase, count in phases.items():
            if phase != Phase.SENT.value:
                states[TOLD[Phase(phase)]] += count
        return SyncJob(
            id=record.id,
            user_id=record.user_id,
            mode=_mode(record),
            rate=record.rate,
            state=record.state,
            total=record.total,
            waiting=await self._store.sync_jobs.count_left(record.id),
            pending=phases.get(Phase.SENT.value, 0),
            created=int(record.created) + GREGORIAN_EPOCH,
            ended=None if record.ended is None else int(record.ended) + GREGORIAN_EPOCH,
            states=states,
        )


def _mode(record: JobRecord) -> Mode | None:
    return None if record.mode is None else Mode(record.mode)
