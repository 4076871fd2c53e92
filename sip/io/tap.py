"""The one place where messages are seen as they come and go, for those who trace or export them.

Rule: with nobody who looks, `Endpoint.tap` is None, and a message costs one comparison.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

import structlog

from sip.flow import Address
from sip.io.host import is_unspecified, local_host_towards
from sip.masking import mask
from sip.sighting import Sighting

if TYPE_CHECKING:
    from sip.flow import Flow, Transport
    from sip.io.endpoint import Endpoint


log = structlog.get_logger(__name__)


class Glimpse:
    """A message that has just passed: raw, and masked when somebody wants to keep it."""

    __slots__ = ("_masked", "connection", "data", "local", "remote", "sent", "time", "transport")

    def __init__(self, data: bytes, flow: Flow, to: Address | None, *, sent: bool) -> None:
        self.data = data
        """Raw: to look into, never to keep."""
        self.sent = sent
        self.transport: Transport = flow.transport
        self.local = flow.local
        self.remote = to or flow.remote
        self.connection = flow.connection
        self.time = time.time()
        self._masked: bytes | None = None

    def sighting(self, *, number: int = 0, most: int | None = None) -> Sighting:
        """Return what may be kept of the message, at most so many bytes."""
        if self._masked is None:
            self._masked = mask(self.data)
            if is_unspecified(self.local.host):
                self.local = Address(local_host_towards(self.remote.host), self.local.port)
        data = self._masked if most is None else self._masked[:most]
        length = len(self._masked)
        return Sighting(number, self.time, self.sent, self.transport, self.local, self.remote, data, length)


class Watcher(Protocol):
    """Whoever looks at messages."""

    def saw(self, glimpse: Glimpse) -> None:
        """Take note of a message. Must not block."""
        ...


class Tap:
    """Implements `sip.io.endpoint.Tap`: shows every message to all who look."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._watchers: list[Watcher] = []

    def attach(self, watcher: Watcher) -> None:
        """Begin to show messages to the watcher."""
        if watcher not in self._watchers:
            self._watchers.append(watcher)
        self._endpoint.tap = self.passed

    def detach(self, watcher: Watcher) -> None:
        """Show it no more."""
        if watcher in self._watchers:
            self._watchers.remove(watcher)
        if not self._watchers:
            self._endpoint.tap = None

    def passed(self, data: bytes, flow: Flow, to: Address | None, sent: bool) -> None:  # noqa: FBT001 - hot path
        """Show a message that came or went."""
        glimpse = Glimpse(data, flow, to, sent=sent)
        for watcher in tuple(self._watchers):
            try:
                watcher.saw(glimpse)
            except Exception:  # a part of the datagram entry: whoever looks on must not stop a message
                log.exception("tap.failed", watcher=type(watcher).__name__)
