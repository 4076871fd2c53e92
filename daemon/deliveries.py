"""The deliveries that are followed: each from its NOTIFY to the end of the time in which the phone may restart.

Whatever changes in one is logged, told as an event, and stored; whoever waits for it is woken.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog

from api.ports import GREGORIAN_EPOCH, DeliveryReport
from daemon.presence import Happening, now
from daemon.store import DeliveryRecord
from sip.delivery import TOLD, Delivery, DeliveryState, Input, Phase, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from api.ports import JsonObject
    from daemon.events import EventSink
    from daemon.store import StoredDeliveries
    from sip.location import Binding

log = structlog.get_logger(__name__)

MAX_OPEN: Final = 100  # deliveries followed for one device; beyond it the oldest are over before their time
WINDOW: Final = 300.0  # seconds: the slowest phones take some two minutes to start
NOWHERE: Final = Watch("", "", "", "")


@dataclass(frozen=True, slots=True)
class Subject:
    """What is sent, to whom."""

    account_id: str
    device_id: str
    event: str
    """Empty where nothing is sent."""
    user_agent: str = ""
    vendor: str = ""
    contact: str | None = None
    """None where the device has none."""
    job_id: str | None = None
    topic: str = "sync"
    """What its events begin with."""


@dataclass(slots=True, eq=False)
class Followed:
    """A delivery that is followed."""

    id: int
    subject: Subject
    delivery: Delivery
    watch: Watch = NOWHERE
    awaits_restart: bool = False
    """Whether the outcome is known only when the phone is back."""
    flushed: bool = False
    """Whether we forget the binding ourselves, so that its end says nothing of the phone."""
    scheduled: bool = False
    """Whether its end is watched for."""
    told: DeliveryState | None = None
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while there is nothing worth waiting for."""


class Deliveries:
    """All that is followed. Use it from one event loop; `clock` is that of the bindings."""

    def __init__(
        self,
        store: StoredDeliveries,
        *,
        window: float = WINDOW,
        events: EventSink | None = None,
        clock: Callable[[], float] = now,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._window = window
        self._events = events
        self._clock = clock
        self._wall = wall
        self._open: dict[tuple[str, str], list[Followed]] = {}
        self._due: list[tuple[float, int, Followed]] = []
        self._alarm: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def __len__(self) -> int:
        return sum(map(len, self._open.values()))

    async def load(self) -> None:
        """Go on following what an earlier process sent; an answer to that can come no more."""
        shift = self._wall() - self._clock()
        for record in await self._store.load():
            phase = Phase(record.phase)
            delivery = Delivery(record.sent_at - shift, self._window, phase=phase, answering=phase is Phase.SENT)
            delivery.status, delivery.reason, delivery.latency = record.sip_status, record.sip_reason, record.latency
            subject = Subject(
                record.account_id,
                record.device_id,
                record.event,
                record.user_agent,
                record.vendor,
                record.contact,
                record.job_id,
            )
            watch = Watch(record.contact or "", record.instance, record.host, record.call_id, record.others)
            each = Followed(record.id, subject, delivery, watch, told=None if delivery.answering else TOLD[phase])
            self._open.setdefault((record.account_id, record.device_id), []).append(each)
            if delivery.answering:
                delivery.unanswered(self._clock(), sent=True)
            else:
                delivery.tick(self._clock())
            self.changed(each)

    async def close(self) -> None:
        """Stop following; what is stored stays for the next process."""
        if self._alarm is not None:
            self._alarm.cancel()

    def new(self, subject: Subject, phase: Phase = Phase.SENT, *, watched: bool = True) -> Followed:
        """Return a delivery that nobody follows yet, or one that ended before it began."""
        delivery = Delivery(self._clock(), self._window, watched, phase, answering=phase is Phase.SENT)
        return Followed(self._store.new_id(), subject, delivery)

    def follow(self, each: Followed, *, stored: bool = False) -> None:
        """Follow a new delivery from now on; `stored` says that it is in the database already."""
        if not stored:
            self._store.save(self.record(each), new=True)
        key = each.subject.account_id, each.subject.device_id
        if each.delivery.final:
            self._tell(each)
            return
        siblings = self._open.setdefault(key, [])
        siblings.append(each)
        for old in [old for old in siblings if not old.delivery.answering][: max(0, len(siblings) - MAX_OPEN)]:
            old.delivery.learn(Input.WINDOW_OVER)
            self.changed(old)

    def changed(self, each: Followed) -> None:
        """Take note that something was done to a delivery."""
        self._store.save(self.record(each), new=False)
        self._tell(each)
        if each.delivery.final:
            self._forget(each)
        elif not each.scheduled and (deadline := each.delivery.deadline) is not None:
            each.scheduled = True
            heapq.heappush(self._due, (deadline, each.id, each))
            self._arm()

    def happened(self, happening: Happening, binding: Binding) -> None:
        """Learn what a phone did (a listener of `Presence`)."""
        if not self._open:
            return
        for each in tuple(self._open.get((binding.account_id, binding.device_id), ())):
            what = _read(each, happening, binding)
            if what is None:
                continue
            before = each.delivery.phase
            each.delivery.learn(what)
            if each.delivery.phase is not before:
                self.changed(each)

    def expire(self) -> None:
        """End what has been followed long enough."""
        while self._due and self._due[0][0] <= self._clock():
            each = heapq.heappop(self._due)[2]
            before = each.delivery.phase
            each.delivery.tick(self._clock())
            if each.delivery.phase is not before:
                self.changed(each)

    async def wait(self, deliveries: Iterable[Followed], seconds: float) -> None:
        """Wait until there is nothing more worth waiting for, or the time is over."""
        waits = [each.settled.wait() for each in deliveries]
        try:
            await asyncio.wait_for(asyncio.gather(*waits), seconds)
        except (TimeoutError, asyncio.TimeoutError):
            return

    async def outcomes(self, account_id: str, device_id: str) -> list[DeliveryReport]:
        """Return the last deliveries to a device, the latest first. Raises StoreUnavailable."""
        return [report_of(record) for record in await self._store.of_device(account_id, device_id)]

    def report(self, each: Followed) -> DeliveryReport:
        """Return a delivery as it is now."""
        return report_of(self.record(each))

    def record(self, each: Followed) -> DeliveryRecord:
        """Return a delivery as it is kept."""
        subject, delivery, watch = each.subject, each.delivery, each.watch
        return DeliveryRecord(
            id=each.id,
            account_id=subject.account_id,
            device_id=subject.device_id,
            job_id=subject.job_id,
            contact=subject.contact,
            user_agent=subject.user_agent,
            vendor=subject.vendor,
            event=subject.event,
            sent_at=delivery.sent_at + self._wall() - self._clock(),
            phase=delivery.phase.value,
            final=delivery.final,
            sip_status=delivery.status,
            sip_reason=delivery.reason,
            latency=delivery.latency,
            instance=watch.instance,
            host=watch.host,
            call_id=watch.call_id,
            others=watch.others,
        )

    def _tell(self, each: Followed) -> None:
        if each.delivery.settled(awaits_restart=each.awaits_restart):
            each.settled.set()
        else:
            each.settled.clear()
        if each.delivery.answering and each.delivery.phase is Phase.SENT:
            return
        state = each.delivery.state
        if state is each.told:
            return
        each.told = state
        facts = _facts(self.report(each), each.subject)
        log.info("delivery.changed", account_id=each.subject.account_id, **facts)
        if self._events is not None:
            self._events.emit(each.subject.account_id, f"{each.subject.topic}.{state.value}", facts)

    def _forget(self, each: Followed) -> None:
        key = each.subject.account_id, each.subject.device_id
        left = [other for other in self._open.get(key, ()) if other is not each]
        if left:
            self._open[key] = left
        else:
            self._open.pop(key, None)

    def _arm(self) -> None:
        delay = max(0.0, self._due[0][0] - self._clock())
        if self._alarm is not None:
            if self._alarm.when() <= self._loop.time() + delay:
                return
            self._alarm.cancel()
        self._alarm = self._loop.call_later(delay, self._on_alarm)

    def _on_alarm(self) -> None:
        self._alarm = None
        self.expire()
        if self._due:
            self._arm()


def report_of(record: DeliveryRecord) -> DeliveryReport:
    """Return a stored delivery as the API tells it."""
    return DeliveryReport(
        contact=record.contact,
        user_agent=record.user_agent,
        vendor=record.vendor,
        event=record.event,
        state=TOLD[Phase(record.phase)],
        final=record.final,
        sip_status=record.sip_status,
        sip_reason=record.sip_reason,
        latency_ms=None if record.latency is None else round(record.latency * 1000),
        sent_at=int(record.sent_at) + GREGORIAN_EPOCH,
    )


def _read(each: Followed, happening: Happening, binding: Binding) -> Input | None:
    """Return what a happening says of the phone that a delivery went to, if it is that phone's."""
    if happening in (Happening.REGISTERED, Happening.REFRESHED):
        return each.watch.registered(binding, gone=each.flushed or each.delivery.gone)
    if each.flushed or not each.watch.covers(binding):
        return None
    return _READ.get(happening)


_READ: Final = {
    Happening.UNREGISTERED: Input.UNREGISTERED,
    Happening.EXPIRED: Input.FELL_SILENT,
    Happening.UNREACHABLE: Input.FELL_SILENT,
    Happening.REACHABLE: Input.CAME_BACK,
}


def _facts(report: DeliveryReport, subject: Subject) -> JsonObject:
    facts: JsonObject = {
        "device_id": subject.device_id,
        "contact": report.contact,
        "user_agent": report.user_agent,
        "vendor": report.vendor,
        "event_package": report.event,
        "state": report.state.value,
        "final": report.final,
        "sip_status": report.sip_status,
        "sip_reason": report.sip_reason,
        "latency_ms": report.latency_ms,
        "job_id": subject.job_id,
    }
    return {key: value for key, value in facts.items() if value not in (None, "")}
