"""Tells webhooks what happens: to each one event at a time, in their order, until it took it or had its tries.

Rule: a target that is slow, dead or hostile delays itself alone. What it did not take is kept, up to a limit and over
restarts; what it lost it is told by `events.lost` before anything else.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

import orjson
import structlog

from api.auth import ancestors
from api.ports import GREGORIAN_EPOCH, Kind, WebhookAttempt
from daemon.events import LOST, wants
from daemon.store.outbox import Parcel
from daemon.webhook import Webhook, build_request
from daemon.webhook_client import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from api.ports import Document, Event
    from daemon.store.outbox import Outbox
    from daemon.webhook import WebhookRequest

log = structlog.get_logger(__name__)

KEPT: Final = 1000  # events that wait for one webhook
MAX_KEPT: Final = 100_000  # events that wait for all webhooks: some 100 MB
ATTEMPTS: Final = 20  # of one webhook that are told
FIRST_PAUSE: Final = 5.0  # seconds after the first failure in a row; each further one makes it four times as long
LONGEST_PAUSE: Final = 900.0
JITTER: Final = 0.25  # share of a pause by which it is longer or shorter, so that targets are not asked all at once


class Sender(Protocol):
    """Who sends requests."""

    async def send(self, request: WebhookRequest) -> Outcome:
        """Send a request and return what became of it."""
        ...


def pause(failures: int) -> float:
    """Return the seconds to wait after so many failures in a row."""
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 4.0 ** min(failures - 1, 10))
    return longest * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - spreads load


class Target:
    """A webhook, what waits for it, and how it fared."""

    def __init__(self, webhook: Webhook) -> None:
        self.webhook = webhook
        self.waiting: deque[Parcel] = deque()
        """The first one may be under way."""
        self.under_way: Parcel | None = None
        self.lost = 0
        self.last_lost = 0
        """The id of the newest event that is lost."""
        self.failures = 0
        """In a row."""
        self.attempts: deque[WebhookAttempt] = deque(maxlen=ATTEMPTS)
        self.task: asyncio.Task[None] | None = None
        self.nudge = asyncio.Event()
        """Set to end a pause."""

    def oldest(self) -> Parcel:
        """Return what makes room: the oldest that is not under way."""
        second = len(self.waiting) > 1 and self.waiting[0] is self.under_way
        return self.waiting[1 if second else 0]

    def notice(self) -> Parcel:
        """Return the notice of what is lost."""
        account_id = self.webhook.account_id
        facts = {"id": self.last_lost, "event": LOST, "account_id": account_id, "lost": self.lost}
        facts["timestamp"] = int(time.time()) + GREGORIAN_EPOCH
        return Parcel(account_id, self.webhook.id, self.last_lost, LOST, LOST, orjson.dumps(facts))

    def tally(self) -> Parcel:
        """Return what the next process has to know of what is lost; its key is always the same."""
        body = orjson.dumps([self.lost, self.last_lost])
        return Parcel(self.webhook.account_id, self.webhook.id, 0, LOST, LOST, body)

    def take_over(self, tally: Parcel) -> None:
        """Take what an earlier process noted as lost."""
        self.lost, self.last_lost = orjson.loads(tally.body)


class Webhooks:
    """Implements `daemon.provisioning.DocumentListener` and `api.ports.Webhooks`; watches the event bus."""

    def __init__(
        self, outbox: Outbox, sender: Sender, *, keep: int = KEPT, pause: Callable[[int], float] = pause
    ) -> None:
        self._outbox = outbox
        self._sender = sender
        self._keep = keep
        self._pause = pause
        self._targets: dict[str, dict[str, Target]] = {}
        self._above: dict[str, Sequence[str]] = {}
        self._kept = 0
        self._closing = False

    async def load(self) -> int:
        """Take over what an earlier process left; returns how many events. Raises StoreUnavailable."""
        for parcel in await self._outbox.load():
            target = self._targets.get(parcel.account_id, {}).get(parcel.webhook_id)
            if target is None:
                self._outbox.remove([parcel])
            elif parcel.source == LOST:
                target.take_over(parcel)
                self._start(target)
            else:
                self._add(target, parcel)
        return self._kept

    async def close(self) -> None:
        """Stop telling; what was not told stays for the next process."""
        self._closing = True
        tasks = [each.task for targets in self._targets.values() for each in targets.values() if each.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def changed(self, old: Document | None, new: Document | None) -> None:
        """Take in a committed change of an account or webhook (`daemon.provisioning.DocumentListener`)."""
        document = new or old
        if document is None:
            return
        if document.kind is Kind.ACCOUNT:
            self._above.pop(document.id, None)
            if new is not None:
                self._above[new.id] = ancestors(new)
        elif document.kind is Kind.WEBHOOK:
            webhook = Webhook.of(new)
            if webhook is None:
                self._forget(document.account_id, document.id)
            else:
                self._learn(webhook)

    def happened(self, event: Event) -> None:
        """Queue an event for whoever wants it (a watcher of the event bus)."""
        self._offer(event, event.account_id)
        for account_id in self._above.get(event.account_id, ()):
            self._offer(event, account_id)

    def attempts(self, account_id: str, webhook_id: str | None = None) -> Sequence[WebhookAttempt]:
        """Return the last attempts of one of the account's webhooks, or of all, the latest first."""
        targets = self._targets.get(account_id, {})
        found = [
            attempt
            for target in targets.values()
            if webhook_id in (None, target.webhook.id)
            for attempt in reversed(target.attempts)
        ]
        return sorted(found, key=lambda attempt: attempt.timestamp, reverse=True)

    def _learn(self, webhook: Webhook) -> None:
        targets = self._targets.setdefault(webhook.account_id, {})
        target = targets.get(webhook.id)
        if target is None:
            targets[webhook.id] = Target(webhook)
            return
        target.webhook, target.failures = webhook, 0
        target.nudge.set()

    def _forget(self, account_id: str, webhook_id: str) -> None:
        target = self._targets.get(account_id, {}).pop(webhook_id, None)
        if target is None:
            return
        if target.task is not None:
            target.task.cancel()
        self._outbox.remove([*target.waiting, target.tally()])
        self._kept -= len(target.waiting)

    def _offer(self, event: Event, account_id: str) -> None:
        for target in self._targets.get(account_id, {}).values():
            webhook = target.webhook
            if wants(webhook.pattern, event.name) and (webhook.subaccounts or account_id == event.account_id):
                parcel = Parcel(account_id, webhook.id, event.id, event.account_id, event.name, event.body)
                self._outbox.put(parcel)
                self._add(target, parcel)

    def _add(self, target: Target, parcel: Parcel) -> None:
        target.waiting.append(parcel)
        self._kept += 1
        while len(target.waiting) > self._keep or (self._kept > MAX_KEPT and target.waiting):
            self._lose(target, target.oldest())
        self._start(target)

    def _start(self, target: Target) -> None:
        if (target.waiting or target.lost) and target.task is None and not self._closing:
            target.task = asyncio.create_task(self._serve(target), name=f"webhook {target.webhook.id}")
            target.task.add_done_callback(lambda task: self._ended(target, task))

    def _lose(self, target: Target, parcel: Parcel) -> None:
        if not target.lost:
            log.warning("webhook.losing", webhook_id=target.webhook.id, account_id=target.webhook.account_id)
        target.lost += 1
        target.last_lost = parcel.event_id
        self._keep_tally(target)
        self._drop(target, parcel)

    def _keep_tally(self, target: Target) -> None:
        if target.lost:
            self._outbox.put(target.tally())
        else:
            self._outbox.remove([target.tally()])

    def _drop(self, target: Target, parcel: Parcel) -> None:
        """Take a parcel out of what waits, unless it has gone already."""
        with contextlib.suppress(ValueError):
            target.waiting.remove(parcel)
            self._kept -= 1
            self._outbox.remove([parcel])

    async def _serve(self, target: Target) -> None:
        """Tell the target all that waits for it."""
        while target.waiting or target.lost:
            await self._tell(target)

    def _ended(self, target: Target, task: asyncio.Task[None]) -> None:
        target.task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("webhook.crashed", webhook_id=target.webhook.id, exc_info=error)

    async def _tell(self, target: Target) -> None:
        """Send the next event, or the notice of those lost, and wait where that failed."""
        lost = target.lost
        parcel = target.notice() if lost else target.waiting[0]
        target.under_way = parcel
        outcome = await self._send(target.webhook, parcel)
        target.under_way = None
        self._note(target, parcel, outcome)
        if outcome.delivered:
            target.failures = 0
            if lost:
                target.lost -= lost
                self._keep_tally(target)
            else:
                self._drop(target, parcel)
            return
        target.failures += 1
        parcel.failures += 1
        if not lost and parcel.failures > target.webhook.retries:
            self._lose(target, parcel)
        elif not lost and parcel in target.waiting:
            self._outbox.put(parcel)
        target.nudge.clear()
        with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
            await asyncio.wait_for(target.nudge.wait(), self._pause(target.failures))

    async def _send(self, webhook: Webhook, parcel: Parcel) -> Outcome:
        try:
            request = build_request(webhook, parcel, int(time.time()))
        except ValueError as error:
            return Outcome(None, str(error), 0.0)
        return await self._sender.send(request)

    def _note(self, target: Target, parcel: Parcel, outcome: Outcome) -> None:
        webhook = target.webhook
        left = max(0, webhook.retries - parcel.failures)
        target.attempts.append(
            WebhookAttempt(
                hook_id=webhook.id,
                event=parcel.name,
                event_id=parcel.event_id,
                timestamp=int(time.time()) + GREGORIAN_EPOCH,
                result="success" if outcome.delivered else "failure",
                reason=outcome.reason,
                response_code=outcome.status,
                retries_left=0 if outcome.delivered else left,
                latency_ms=round(outcome.took * 1000, 1),
            )
        )
        tell = log.warning if not outcome.delivered and not target.failures else log.debug
        tell(
            "webhook.delivered" if outcome.delivered else "webhook.failed",
            account_id=webhook.account_id,
            webhook_id=webhook.id,
            event_name=parcel.name,
            status=outcome.status,
            reason=outcome.reason,
        )
