"""The event bus: what happened, told to whoever listens, and kept a while for who was away.

Rule: `emit` never waits, and nothing that a listener does, or fails to do, reaches who emits.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import orjson

from api.ports import GREGORIAN_EPOCH, Event, TooManyListeners

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from api.ports import Json

HISTORY: Final = 1000  # events kept for each account
MAX_HISTORY: Final = 50_000  # events kept for all accounts together: some 40 MB
QUEUE: Final = 1000  # events that wait for one listener
MAX_LISTENERS: Final = 1000  # each may hold QUEUE events that nobody else holds
MAX_LISTENERS_OF_ACCOUNT: Final = 50
EVERYTHING: Final = "all"
LOST: Final = "events.lost"


class EventSink(Protocol):
    """Where events go."""

    def emit(self, account_id: str, name: str, data: Mapping[str, object]) -> None:
        """Tell that something happened in an account. Never waits, never fails.

        The name is `noun.verb`, such as `device.registered`; the data, of plain JSON types, is copied.
        """
        ...


def wants(pattern: str, name: str) -> bool:
    """Return whether a pattern (`all`, a noun such as `device`, or a whole name) means the event."""
    return pattern in (EVERYTHING, name) or name.startswith(f"{pattern}.")


@dataclass(slots=True)
class _History:
    """What is kept of an account."""

    last: int
    """The id of its newest event."""
    events: deque[Event] = field(default_factory=deque)


class EventBus:
    """Implements `EventSink` and `api.ports.Events`. Use it from one event loop.

    The ids of an account's events follow on each other without a gap. Those of a process are all above those of the
    ones before it, as long as the clock was not set back.
    """

    def __init__(self, wall: Callable[[], float] = time.time, *, history: int = HISTORY) -> None:
        self._wall = wall
        self._history = history
        self._first = int(wall() * 1_000_000)
        self._accounts: dict[str, _History] = {}
        self._kept: OrderedDict[tuple[str, int], Event] = OrderedDict()
        """What is in the histories of all accounts, the oldest first."""
        self._listeners: dict[str, list[Listening]] = {}
        self._watchers: list[Callable[[Event], None]] = []

    def watch(self, watcher: Callable[[Event], None]) -> None:
        """Call this for every event of every account. It must neither wait nor raise."""
        self._watchers.append(watcher)

    def emit(self, account_id: str, name: str, data: Mapping[str, object]) -> None:
        """Tell that something happened in an account (see `EventSink`)."""
        account = self._accounts.get(account_id)
        if account is None:
            account = self._accounts[account_id] = _History(self._first)
        account.last += 1
        event = self._event(account.last, account_id, name, data)
        self._keep(account, event)
        for listener in self._listeners.get(account_id, ()):
            listener.offer(event)
        for watcher in self._watchers:
            watcher(event)

    def listen(self, account_id: str, patterns: Sequence[str], *, after: int | None = None) -> Listening:
        """Begin to listen; see `api.ports.Events.listen`. Raises TooManyListeners."""
        present = self._listeners.get(account_id, [])
        if len(present) >= MAX_LISTENERS_OF_ACCOUNT or sum(map(len, self._listeners.values())) >= MAX_LISTENERS:
            raise TooManyListeners
        listening = Listening(account_id, patterns, lambda lost: self._lost(account_id, lost), self._end)
        if after is not None:
            self._catch_up(listening, after)
        self._listeners[account_id] = [*present, listening]
        return listening

    async def close(self) -> None:
        """End all listening; what is emitted from now on is still kept and watched."""
        for listeners in list(self._listeners.values()):
            for listener in listeners:
                listener.close()

    def _event(self, number: int, account_id: str, name: str, data: Mapping[str, object]) -> Event:
        timestamp = int(self._wall()) + GREGORIAN_EPOCH
        facts = {"id": number, "event": name, "account_id": account_id, "timestamp": timestamp, **data}
        return Event(number, account_id, name, _encoded(facts))

    def _lost(self, account_id: str, lost: Lost) -> Event:
        return self._event(lost.last, account_id, LOST, {"lost": lost.count})

    def _keep(self, account: _History, event: Event) -> None:
        if not self._history:
            return
        account.events.append(event)
        self._kept[event.account_id, event.id] = event
        if len(account.events) > self._history:
            oldest = account.events.popleft()
            del self._kept[oldest.account_id, oldest.id]
        if len(self._kept) > MAX_HISTORY:
            _, oldest = self._kept.popitem(last=False)
            self._accounts[oldest.account_id].events.popleft()

    def _catch_up(self, listening: Listening, after: int) -> None:
        account = self._accounts.get(listening.account_id) or _History(self._first)
        events = account.events
        oldest = events[0].id if events else account.last + 1
        if not self._first <= after <= account.last:
            listening.miss(Lost(None, oldest - 1))  # an id of another process
        elif after < oldest - 1:
            listening.miss(Lost(oldest - 1 - after, oldest - 1))
        for event in events:
            if event.id > after or after > account.last:
                listening.offer(event)

    def _end(self, listening: Listening) -> None:
        left = [each for each in self._listeners.get(listening.account_id, ()) if each is not listening]
        if left:
            self._listeners[listening.account_id] = left
        else:
            self._listeners.pop(listening.account_id, None)


@dataclass(frozen=True, slots=True)
class Lost:
    """Events that a listener will not get."""

    count: int | None
    """None where nobody knows: they were told by an earlier process."""
    last: int
    """The id of the newest of them."""


class Listening:
    """Implements `api.ports.Listening`: one listener's bounded queue."""

    def __init__(
        self,
        account_id: str,
        patterns: Iterable[str],
        tell_lost: Callable[[Lost], Event],
        on_close: Callable[[Listening], None],
    ) -> None:
        self.account_id = account_id
        self.closed = False
        self._patterns = tuple(patterns) or (EVERYTHING,)
        self._tell_lost = tell_lost
        self._on_close = on_close
        self._queue: deque[Event] = deque()
        self._lost: Lost | None = None
        self._wake = asyncio.Event()

    def offer(self, event: Event) -> None:
        """Queue the event, if it is wanted; the oldest makes room for it."""
        if not any(wants(pattern, event.name) for pattern in self._patterns):
            return
        self._queue.append(event)
        if len(self._queue) > QUEUE:
            self.miss(Lost(1, self._queue.popleft().id))
        self._wake.set()

    def miss(self, lost: Lost) -> None:
        """Note that events are gone, to be told before the next one."""
        before = self._lost
        if before is not None:
            known = before.count is not None and lost.count is not None
            lost = Lost((before.count or 0) + (lost.count or 0) if known else None, lost.last)
        self._lost = lost
        self._wake.set()

    async def read(self, wait: float) -> Sequence[Event]:
        """Return the events since the last call, after waiting for the first one; see `api.ports.Listening`."""
        if not self._wake.is_set():
            try:
                await asyncio.wait_for(self._wake.wait(), wait)
            except (TimeoutError, asyncio.TimeoutError):
                return ()
        self._wake.clear()
        found = list(self._queue)
        self._queue.clear()
        if self._lost is not None:
            found.insert(0, self._tell_lost(self._lost))
            self._lost = None
        return found

    def close(self) -> None:
        """Stop listening; who waits for an event is woken."""
        if not self.closed:
            self.closed = True
            self._on_close(self)
            self._wake.set()


def _encoded(facts: Mapping[str, object]) -> bytes:
    try:
        encoded = orjson.dumps(facts, default=str)
    except TypeError:  # what phones send need not be UTF-8
        encoded = orjson.dumps(_mended(facts), default=str)
    # A copy: what orjson returns was cut down from 4 KB, and kept the rest of the page from being used.
    return bytes(memoryview(encoded))


def _mended(value: object) -> Json | object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {key: _mended(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mended(item) for item in value]
    return value
