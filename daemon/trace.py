"""Traces of single devices: which messages are theirs, and a bounded memory of those.

A message is a device's if its From, To or credentials name it; where they name nobody we know, if its Call-ID is that
of a message of the device, or if it came or went over the flow of one of its bindings. One that names another device
alone is never shown, whatever flow it took: behind an edge proxy many devices share one.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from api.ports import GREGORIAN_EPOCH, TooManyTraces, Trace
from sip.aor import aor_of
from sip.digest import parse_auth
from sip.errors import ParseError
from sip.headers import NameAddr
from sip.message import parse_message
from sip.uri import SipUri, unescape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from api.ports import Document
    from daemon.directory import Device, Directory
    from daemon.presence import Presence
    from sip.io.tap import Glimpse, Tap
    from sip.message import Request, Response
    from sip.sighting import Sighting

MAX_TRACES: Final = 20  # devices, running or over: with MAX_BYTES each some 40 MB in all
MAX_BYTES: Final = 2 * 1024 * 1024  # of the messages of one trace
MAX_LENGTH: Final = 16 * 1024  # bytes kept of one message
MAX_CALLS: Final = 2000  # Call-IDs remembered, of all traces together

Key = tuple[str, str]
"""Account and device."""


@dataclass(slots=True)
class _Ring:
    """The messages of one device."""

    started: float
    ends: float
    most: int
    messages: deque[Sighting] = field(default_factory=deque)
    bytes: int = 0
    seen: int = 0

    def keep(self, glimpse: Glimpse) -> None:
        self.seen += 1
        sighting = glimpse.sighting(number=self.seen, most=MAX_LENGTH)
        self.messages.append(sighting)
        self.bytes += len(sighting.data)
        while len(self.messages) > self.most or self.bytes > MAX_BYTES:
            self.bytes -= len(self.messages.popleft().data)


class Tracer:
    """Implements `api.ports.Traces` and `sip.io.tap.Watcher`."""

    def __init__(
        self,
        tap: Tap,
        directory: Directory,
        presence: Presence,
        *,
        is_own: Callable[[str], bool],
        default_realm: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._tap = tap
        self._directory = directory
        self._presence = presence
        self._is_own = is_own
        self._default_realm = default_realm
        self._clock = clock
        self._rings: dict[Key, _Ring] = {}
        self._running: dict[Key, _Ring] = {}
        self._calls: OrderedDict[str, set[Key]] = OrderedDict()
        self._first_end = 0.0

    def start(self, device: Document, *, seconds: int, messages: int) -> Trace:
        """Begin a new trace of a device, for so long, of its last so many messages. Raises TooManyTraces."""
        key = device.account_id, device.id
        self._end_those_that_are_over()
        if key not in self._rings and len(self._rings) >= MAX_TRACES:
            over = [each for each in self._rings if each not in self._running]
            if not over:
                raise TooManyTraces(f"{MAX_TRACES} devices are traced: stop one, or wait for its end")
            del self._rings[min(over, key=lambda each: self._rings[each].ends)]
        now = self._clock()
        ring = self._rings[key] = self._running[key] = _Ring(now, now + seconds, messages)
        self._first_end = min(each.ends for each in self._running.values())
        self._tap.attach(self)
        return self._shown(key, ring)

    def stop(self, account_id: str, device_id: str) -> Trace | None:
        """End a trace; what it has stays. None where there is none."""
        key = account_id, device_id
        ring = self._running.get(key)
        if ring is not None:
            ring.ends = min(ring.ends, self._clock())
            self._end(key)
        return self.get(account_id, device_id)

    def get(self, account_id: str, device_id: str) -> Trace | None:
        """Return a trace, running or over."""
        self._end_those_that_are_over()
        ring = self._rings.get((account_id, device_id))
        return None if ring is None else self._shown((account_id, device_id), ring)

    def clear(self, account_id: str, device_id: str) -> None:
        """End and forget a trace."""
        self._end((account_id, device_id))
        self._rings.pop((account_id, device_id), None)

    def saw(self, glimpse: Glimpse) -> None:
        """Keep a message that is a traced device's."""
        if glimpse.time > self._first_end:
            self._end_those_that_are_over()
        for key in self._owners(glimpse):
            self._running[key].keep(glimpse)

    def _owners(self, glimpse: Glimpse) -> set[Key]:
        try:
            message = parse_message(glimpse.data)
        except ParseError:
            return self._by_flow(glimpse)
        call_id = message.first("Call-ID") or ""
        named = {(device.account_id, device.device_id) for device in self._named(message)}
        if named:
            owners = named & self._running.keys()
        else:
            owners = self._calls.get(call_id, set()) & self._running.keys() or self._by_flow(glimpse)
        if owners and call_id:
            self._calls.setdefault(call_id, set()).update(owners)
            self._calls.move_to_end(call_id)
            if len(self._calls) > MAX_CALLS:
                self._calls.popitem(last=False)
        return owners

    def _named(self, message: Request | Response) -> Iterator[Device]:
        """Yield the devices whose AORs the message names."""
        for user, host in _identities(message):
            domain = host.lower()
            if not self._directory.serves(domain) and self._is_own(host):
                domain = self._default_realm or self._directory.master_realm
            device = self._directory.find(aor_of(user, domain))
            if device is not None:
                yield device

    def _by_flow(self, glimpse: Glimpse) -> set[Key]:
        peer = glimpse.transport, glimpse.remote, glimpse.connection
        return {
            key
            for key in self._running
            for binding in self._presence.bindings(*key)
            if not binding.path and (binding.flow.transport, binding.flow.remote, binding.flow.connection) == peer
        }

    def _end_those_that_are_over(self) -> None:
        now = self._clock()
        for key in [key for key, ring in self._running.items() if now > ring.ends]:
            self._end(key)
        self._first_end = min((ring.ends for ring in self._running.values()), default=0.0)

    def _end(self, key: Key) -> None:
        self._running.pop(key, None)
        if not self._running:
            self._calls.clear()
            self._tap.detach(self)

    def _shown(self, key: Key, ring: _Ring) -> Trace:
        return Trace(
            running=key in self._running,
            started=int(ring.started) + GREGORIAN_EPOCH,
            ends=int(ring.ends) + GREGORIAN_EPOCH,
            dropped=ring.seen - len(ring.messages),
            messages=tuple(ring.messages),
        )


def _identities(message: Request | Response) -> Iterator[tuple[str, str]]:
    """Yield the users and hosts of From and To, and the usernames and realms of credentials."""
    for name in ("From", "To"):
        try:
            uri = SipUri.parse(NameAddr.parse(message.one(name)).uri)
        except ParseError:
            continue
        if uri.user:
            yield unescape(uri.user), uri.host
    for line in (*message.lines("Authorization"), *message.lines("Proxy-Authorization")):
        try:
            _, params = parse_auth(line)
        except ParseError:
            continue
        if "username" in params:
            yield params["username"], params.get("realm", "")
