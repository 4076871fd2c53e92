"""SIP over TCP: connections, their framing, and their limits (RFC 3261 18, RFC 5626 4.4.1)."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from typing import TYPE_CHECKING, Final, cast

from sip.errors import ParseError, TransportFailed
from sip.flow import Address, Flow, Transport
from sip.stream import PONG, StreamFramer

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_CONNECTIONS: Final = 20_000  # in all; each costs a file descriptor
MAX_CONNECTIONS_PER_SOURCE: Final = 2_000  # an office behind one NAT, and no more
MAX_UNSENT: Final = 1_048_576  # bytes that wait for a peer which does not read; then the connection is closed
FIRST_MESSAGE_TIMEOUT: Final = 30.0  # seconds in which a new connection must have sent a whole message
IDLE_TIMEOUT: Final = 7_500.0  # seconds of silence after which a connection is closed: over two default registrations
CONNECT_TIMEOUT: Final = 5.0  # seconds

_serials = itertools.count(1)


class StreamConnection(asyncio.Protocol):
    """One connection, accepted or opened."""

    def __init__(self, pool: StreamPool) -> None:
        self._pool = pool
        self._framer = StreamFramer()
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._last_heard = self._loop.time()
        self.flow: Flow | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection in, or close it where there are too many."""
        self._transport = cast("asyncio.Transport", transport)
        local, remote = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
        if not local or not remote:
            self._transport.abort()
            return
        flow = Flow(self._pool.transport, Address(*local[:2]), Address(*remote[:2]), next(_serials))
        if not self._pool.admit(flow, self):
            self._transport.abort()
            return
        self.flow = flow
        self._deadline = self._loop.call_later(FIRST_MESSAGE_TIMEOUT, self.abort)

    def data_received(self, data: bytes) -> None:
        """Cut messages out of the stream and hand each on."""
        self._last_heard = self._loop.time()
        try:
            messages = self._framer.feed(data)
        except ParseError:
            self._pool.unframed += 1
            self.abort()
            return
        for message in messages:
            if self.flow is None or self._transport is None or self._transport.is_closing():
                return
            if message:
                self._await_more()
                self._pool.receive(message, self.flow)
            else:
                self._transport.write(PONG)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio.Protocol names it
        """Let everybody know that the flow is gone."""
        if self._deadline is not None:
            self._deadline.cancel()
        if self.flow is not None:
            self._pool.forget(self.flow)
            self.flow = None

    def send(self, data: bytes) -> None:
        """Write a message. Raises TransportFailed where the peer is gone or has stopped reading."""
        if self._transport is None or self._transport.is_closing():
            raise TransportFailed("the connection is closed")
        if self._transport.get_write_buffer_size() > MAX_UNSENT:
            self.abort()
            raise TransportFailed("the peer does not read")
        self._transport.write(data)

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def _await_more(self) -> None:
        """Close the connection once it has been silent for long; one timer, moved only when it comes."""
        if self._deadline is None or self._deadline.when() - self._loop.time() < FIRST_MESSAGE_TIMEOUT:
            if self._deadline is not None:
                self._deadline.cancel()
            self._deadline = self._loop.call_later(IDLE_TIMEOUT, self._on_deadline)

    def _on_deadline(self) -> None:
        rest = self._last_heard + IDLE_TIMEOUT - self._loop.time()
        if rest <= 0:
            self.abort()
        else:
            self._deadline = self._loop.call_later(rest, self._on_deadline)


class StreamPool:
    """The connections of one transport, whoever opened them."""

    def __init__(
        self, transport: Transport, receive: Callable[[bytes, Flow], None], lost: Callable[[Flow], None]
    ) -> None:
        self.transport = transport
        self.receive = receive
        self.unframed = 0
        """How many connections were closed because their stream could not be cut into messages."""
        self._lost = lost
        self._connections: dict[Flow, StreamConnection] = {}
        self._per_source: Counter[str] = Counter()
        self._closing = False

    def __len__(self) -> int:
        return len(self._connections)

    def admit(self, flow: Flow, connection: StreamConnection) -> bool:
        """Take a new connection in; False where there are too many."""
        source = flow.remote.host
        full = len(self._connections) >= MAX_CONNECTIONS or self._per_source[source] >= MAX_CONNECTIONS_PER_SOURCE
        if full or self._closing:
            return False
        self._connections[flow] = connection
        self._per_source[source] += 1
        return True

    def forget(self, flow: Flow) -> None:
        """Drop a connection that is gone."""
        if self._connections.pop(flow, None) is not None:
            self._per_source[flow.remote.host] -= 1
            if not self._per_source[flow.remote.host]:
                del self._per_source[flow.remote.host]
            if not self._closing:
                self._lost(flow)

    def send(self, data: bytes, flow: Flow) -> None:
        """Write to the flow's own connection. Raises TransportFailed where that is gone."""
        connection = self._connections.get(flow)
        if connection is None:
            raise TransportFailed("the connection is closed")
        connection.send(data)

    async def connect(self, remote: Address) -> Flow:
        """Return the flow of a connection to the address, an open one if there is any. Raises TransportFailed."""
        for flow in self._connections:
            if flow.remote == remote:
                return flow
        loop = asyncio.get_running_loop()
        try:
            _, connection = await asyncio.wait_for(
                loop.create_connection(lambda: StreamConnection(self), remote.host, remote.port), CONNECT_TIMEOUT
            )
        except (OSError, asyncio.TimeoutError) as failure:
            raise TransportFailed(f"no connection to {remote}: {failure!r}") from failure
        if connection.flow is None:
            raise TransportFailed("too many connections")
        return connection.flow

    def close(self) -> None:
        """Close every connection."""
        self._closing = True
        for connection in list(self._connections.values()):
            connection.abort()


async def listen_tcp(pool: StreamPool, address: Address) -> asyncio.Server:
    """Accept connections at the address. Raises OSError where it cannot be bound."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(
        lambda: StreamConnection(pool), address.host, address.port, reuse_address=True, backlog=1024
    )
