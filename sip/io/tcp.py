"""SIP over TCP and TLS: connections, their framing, and their limits (RFC 3261 18, RFC 5626 4.4.1)."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING, Final, cast

from sip.errors import ParseError, TransportFailed
from sip.io.host import socket_address
from sip.io.plain import PlainStream
from sip.io.pool import MAX_UNSENT, flow_of
from sip.io.secure import SecureStream
from sip.patience import Patience
from sip.stream import PONG, StreamFramer

if TYPE_CHECKING:
    from collections.abc import Callable

    from sip.flow import Address, Flow
    from sip.io.pool import ConnectionPool

CONNECT_TIMEOUT: Final = 5.0  # seconds for each of TCP's and TLS's handshake
KERNEL_TIMEOUT: Final = 60  # seconds after which the kernel gives up a peer that acknowledges nothing
PROBE_AFTER: Final = 120  # seconds of silence after which the kernel asks whether the peer is still there
PROBE_EVERY: Final = 20  # seconds between such questions
KEEPALIVE: Final = b"\r\n"


class StreamConnection(asyncio.Protocol):
    """One connection, accepted or opened; `left` is called when it is gone.

    At rest it has one timer, for whatever comes first: its end, or a keepalive of ours.
    """

    __slots__ = (
        *("_alarm", "_alarm_at", "_behind", "_framer", "_heard", "_inbox", "_last_traffic", "_left", "_loop"),
        *("_patience", "_pool", "_stall", "_transport", "flow"),
    )

    def __init__(self, pool: ConnectionPool, left: Callable[[], None]) -> None:
        self._pool = pool
        self._left = left
        self._framer = StreamFramer()
        self._inbox: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._last_traffic = self._loop.time()
        self._patience = Patience(pool.limits, self._last_traffic)
        self._transport: asyncio.Transport | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0.0  # not asked of the handle: uvloop's has no when() where the time was past
        self._stall: asyncio.TimerHandle | None = None
        self._heard = False  # whether the pool will come for what is in the inbox
        self._behind = False  # whether more comes than is handed on
        self.flow: Flow | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection in."""
        self._transport = cast("asyncio.Transport", transport)
        flow = flow_of(self._pool.transport, transport)
        if flow is None or not self._pool.add(flow, self):
            self._transport.abort()
            return
        self.flow = flow
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio.Protocol names it
        """Let everybody know that the flow is gone."""
        for timer in (self._alarm, self._stall):
            if timer is not None:
                timer.cancel()
        self._alarm = self._stall = None
        self._inbox.clear()
        if self.flow is not None:
            self._pool.forget(self.flow)
            self.flow = None
        self._left()

    def data_received(self, data: bytes) -> None:
        """Cut messages out of the stream and hand each on."""
        self._last_traffic = self._loop.time()
        if self._inbox:
            self._behind = True
            self._adjust_reading()
        self._cut(data)
        if self._alarm is not None and self._due() < self._alarm_at:
            self._alarm.cancel()
            self._watch()
        self._be_heard()

    def pause_writing(self) -> None:
        """Read nothing more from a peer that does not read, and close if that lasts."""
        self._stall = self._loop.call_later(self._pool.limits.stall, self.abort)
        self._adjust_reading()

    def resume_writing(self) -> None:
        """Go on with what the peer sent meanwhile."""
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
        self._be_heard()
        self._adjust_reading()

    def send(self, data: bytes) -> None:
        """Write a message. Raises TransportFailed where the peer is gone or has stopped reading."""
        if self._transport is None or self._transport.is_closing():
            raise TransportFailed("the connection is closed")
        if self._transport.get_write_buffer_size() + len(data) > MAX_UNSENT:
            self.abort()
            raise TransportFailed("the peer does not read")
        self._last_traffic = self._loop.time()
        self._transport.write(data)

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def _cut(self, data: bytes) -> None:
        """Take messages out of the stream, not all of them if they are many."""
        try:
            cut = self._framer.feed(data)
        except ParseError:
            self._pool.unframed += 1
            self._loop.call_soon(self.abort)  # after the answers to what came before
            return
        self._inbox += cut
        self._patience.heard(self._last_traffic, whole=any(cut), waiting=self._framer.waiting)

    def _be_heard(self) -> None:
        if self._inbox and not self._heard and self._stall is None:
            self._heard = True
            self._pool.hearing.put(self._hand_on)

    def _hand_on(self) -> None:
        """Hand on one message that has come, so that those of other connections are between it and the next."""
        self._heard = False
        if self.flow is None or self._transport is None or self._transport.is_closing() or self._stall is not None:
            return
        message = self._inbox.pop(0)
        if message:
            self._pool.receive(message, self.flow)
        else:
            self._transport.write(PONG)
        if not self._inbox and self._framer.more:
            self._cut(b"")
        if self._inbox:
            self._be_heard()
        elif self._behind:
            self._behind = False
            self._adjust_reading()

    def _adjust_reading(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self._behind or self._stall is not None:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _due(self) -> float:
        """Return when something is to be done if nothing more comes."""
        interval = self._pool.limits.keepalive
        if not interval or not self._patience.greeted:
            return self._patience.deadline
        return min(self._patience.deadline, self._last_traffic + interval)

    def _watch(self) -> None:
        self._alarm_at = self._due()
        self._alarm = self._loop.call_at(self._alarm_at, self._on_alarm)

    def _on_alarm(self) -> None:
        """Give the connection up where the time is over, or send a CRLF for the NATs on its way."""
        now = self._loop.time()
        if self._patience.deadline <= now:
            self.abort()
            return
        if self._due() <= now and self._transport is not None:
            self._last_traffic = now
            if not self._transport.is_closing():
                self._transport.write(KEEPALIVE)
        self._watch()


async def open_stream(pool: ConnectionPool, remote: Address, *, name: str, context: ssl.SSLContext | None) -> Flow:
    """Return the flow of a connection of ours to the address, an open one if there is any. Raises TransportFailed.

    With a context it is TLS, and `name` must stand in the peer's certificate.
    """
    known = pool.opened(remote, name)
    if known is not None:
        return known
    try:
        connection = await _connect(pool, remote, name, context)
    except ssl.SSLCertVerificationError as failure:
        raise TransportFailed(f"the certificate of {name} is not trusted: {failure.verify_message}") from failure
    except (OSError, asyncio.TimeoutError) as failure:
        raise TransportFailed(f"no connection to {remote}: {failure!r}") from failure
    if connection.flow is None:
        raise TransportFailed(f"the connection to {remote} was closed at once")
    pool.remember(connection.flow, name)
    return connection.flow


def tune(stream: socket.socket) -> None:
    """Set what every connection needs: no delay, and a kernel that notices when the peer is gone."""
    stream.setblocking(False)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PROBE_AFTER)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_EVERY)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, KERNEL_TIMEOUT * 1000)


async def _connect(
    pool: ConnectionPool, remote: Address, name: str, context: ssl.SSLContext | None
) -> StreamConnection:
    loop = asyncio.get_running_loop()
    stream = socket.socket(socket.AF_INET6 if ":" in remote.host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        tune(stream)
        await asyncio.wait_for(loop.sock_connect(stream, socket_address(remote)), CONNECT_TIMEOUT)
        plain = PlainStream(stream)
    except BaseException:
        stream.close()
        raise
    connection = StreamConnection(pool, lambda: None)
    if context is None:
        plain.begin(connection)
    else:
        secure = SecureStream(context, name)
        plain.begin(secure)
        await secure.begin(lambda: connection, patience=CONNECT_TIMEOUT)
    return connection
