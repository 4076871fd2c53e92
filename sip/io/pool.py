"""The connections of one stream transport, whoever opened them, by their flows (RFC 5626 3.2)."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final, Protocol

from sip.errors import TransportFailed
from sip.flow import Address, Flow, Transport
from sip.io.host import read_address
from sip.io.turn import this_turn

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from sip.io.turn import Line
    from sip.patience import StreamLimits

MAX_UNSENT: Final = 131_072  # bytes that wait for a peer which does not read: two of the largest messages

_serials = itertools.count(1)


class Connection(Protocol):
    """One connection, whatever its framing."""

    def send(self, data: bytes) -> None:
        """Write a message. Raises TransportFailed where the peer is gone or has stopped reading."""
        ...

    def abort(self) -> None:
        """Close at once."""
        ...


class ConnectionPool:
    """The connections of one transport. `receive` is called for every message, `lost` for every flow that ends."""

    def __init__(
        self,
        transport: Transport,
        limits: StreamLimits,
        receive: Callable[[bytes, Flow], None],
        lost: Callable[[Flow], None],
    ) -> None:
        self.transport = transport
        self.limits = limits
        self.receive = receive
        self.unframed = 0
        """How many connections were closed because their stream could not be cut into messages."""
        turn = this_turn()
        self.hearing: Line[Callable[[], None]] = turn.line(_hear)
        """Connections where messages have come; each hands on one when it is called, and comes again for the next."""
        self._lost = turn.line(lost)
        self._connections: dict[Flow, Connection] = {}
        self._opened: dict[tuple[Address, str], Flow] = {}
        self._closing = False

    def __len__(self) -> int:
        return len(self._connections)

    def add(self, flow: Flow, connection: Connection) -> bool:
        """Take a new connection in; False where the pool is being closed."""
        if self._closing:
            return False
        self._connections[flow] = connection
        return True

    def forget(self, flow: Flow) -> None:
        """Drop a connection that is gone."""
        if self._connections.pop(flow, None) is not None and not self._closing:
            self._lost.put(flow)

    def send(self, data: bytes, flow: Flow) -> None:
        """Write to the flow's own connection. Raises TransportFailed where that is gone."""
        connection = self._connections.get(flow)
        if connection is None:
            raise TransportFailed("the connection is closed")
        connection.send(data)

    def opened(self, remote: Address, name: str) -> Flow | None:
        """Return a connection of ours to the peer of this name, if it is still open.

        One that the peer opened is never taken: nobody has verified its name (RFC 5922 7.3).
        """
        flow = self._opened.get((remote, name))
        if flow is None or flow in self._connections:
            return flow
        del self._opened[remote, name]
        return None

    def remember(self, flow: Flow, name: str) -> None:
        """Keep a connection of ours for whoever next wants the peer of this name."""
        self._opened[flow.remote, name] = flow

    def close(self) -> None:
        """Close every connection; nobody is told."""
        self._closing = True
        for connection in list(self._connections.values()):
            connection.abort()


def _hear(hand_on: Callable[[], None]) -> None:
    hand_on()


def flow_of(kind: Transport, transport: asyncio.BaseTransport) -> Flow | None:
    """Return the flow of a new connection, None where it is gone already."""
    local, remote = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
    if not local or not remote:
        return None
    return Flow.between(kind, Address(*local[:2]), read_address(remote), next(_serials))
