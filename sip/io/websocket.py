"""SIP over WebSocket: a message a frame, for phones in browsers (RFC 7118).

Their Via and Contact name hosts that do not exist (`.invalid`), and their Via may say WS over WSS: a message goes back
by its flow, and nothing that they write is looked at for that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from typing import TYPE_CHECKING, Final

from aiohttp import ClientError, WSMsgType, web
from aiohttp.http_exceptions import HttpProcessingError

from sip.errors import TransportFailed
from sip.io.pool import MAX_UNSENT, flow_of
from sip.message import MAX_MESSAGE
from sip.patience import Patience
from sip.stream import PONG

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.web_protocol import RequestHandler

    from sip.flow import Flow
    from sip.io.pool import ConnectionPool

SUBPROTOCOL: Final = "sip"
PING: Final = b"\r\n\r\n"
PING_INTERVAL: Final = 30.0  # seconds; without a pong in half of that the connection is closed
CLOSE_TIMEOUT: Final = 1.0  # seconds for a peer to agree to a close


class WebSocketServer(web.Server):
    """Speaks HTTP on the connections of a pool until each is a WebSocket; `door` makes the protocol of one."""

    def __init__(self, pool: ConnectionPool) -> None:
        super().__init__(
            self._serve, access_log=None, logger=_faults(), keepalive_timeout=pool.limits.message, lingering_time=0.0
        )
        self._pool = pool
        self._left: dict[RequestHandler, Callable[[], None]] = {}
        self._deadlines: dict[RequestHandler, asyncio.TimerHandle] = {}

    def door(self, left: Callable[[], None]) -> RequestHandler:
        """Return the protocol of a new connection, which calls `left` when it is gone."""
        handler = self()
        self._left[handler] = left
        return handler

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Give the peer its time to become a WebSocket."""
        super().connection_made(handler, transport)
        loop = asyncio.get_running_loop()
        self._deadlines[handler] = loop.call_later(self._pool.limits.message, transport.abort)

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """Count the connection out."""
        self._settle(handler)
        self._left.pop(handler)()
        super().connection_lost(handler, exc)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        offered = request.headers.get("Sec-WebSocket-Protocol", "").split(",")
        if SUBPROTOCOL not in (name.strip() for name in offered):
            return web.Response(status=400, text="SIP is served here, to WebSockets of the subprotocol sip (RFC 7118)")
        # No compression: a small frame must not become a large message.
        socket = web.WebSocketResponse(
            protocols=(SUBPROTOCOL,),
            heartbeat=PING_INTERVAL,
            timeout=CLOSE_TIMEOUT,
            compress=False,
            autoping=False,
            max_msg_size=MAX_MESSAGE,
        )
        await socket.prepare(request)
        transport = request.transport
        flow = flow_of(self._pool.transport, transport) if transport is not None else None
        if transport is not None and flow is not None:
            self._settle(request.protocol)
            await WebSocketConnection(self._pool, flow, socket, transport).run()
        return socket

    def _settle(self, handler: RequestHandler) -> None:
        if (deadline := self._deadlines.pop(handler, None)) is not None:
            deadline.cancel()


class WebSocketConnection:
    """One WebSocket that is open."""

    def __init__(
        self, pool: ConnectionPool, flow: Flow, socket: web.WebSocketResponse, transport: asyncio.Transport
    ) -> None:
        self._pool = pool
        self._flow = flow
        self._socket = socket
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._patience = Patience(pool.limits, self._loop.time())
        self._deadline = self._loop.call_at(self._patience.deadline, self._on_deadline)
        self._outbox: deque[bytes] = deque()
        self._unsent = 0
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Hand on every message until the connection is over."""
        if not self._pool.add(self._flow, self):
            return
        sender = asyncio.create_task(self._send_outbox(), name=f"send {self._flow}")
        try:
            async for frame in self._socket:
                if frame.type is WSMsgType.TEXT:
                    self._receive(frame.data.encode())
                elif frame.type is WSMsgType.BINARY:
                    self._receive(frame.data)
                elif frame.type is WSMsgType.PING:
                    with contextlib.suppress(ClientError, ConnectionError):  # then the next read tells its end
                        await self._socket.pong(frame.data)
                # What waits is given without a pause; others must have their turn.
                await asyncio.sleep(0)
        finally:
            self._deadline.cancel()
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
            self._pool.forget(self._flow)

    def send(self, data: bytes) -> None:
        """Queue a message. Raises TransportFailed where the peer is gone or has stopped reading."""
        if self._socket.closed or self._transport.is_closing():
            raise TransportFailed("the connection is closed")
        if self._unsent + len(data) > MAX_UNSENT:
            self.abort()
            raise TransportFailed("the peer does not read")
        self._unsent += len(data)
        self._outbox.append(data)
        self._wake.set()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def _receive(self, data: bytes) -> None:
        ping = data == PING
        self._patience.heard(self._loop.time(), whole=not ping, waiting=False)
        if not ping:
            self._pool.receive(data, self._flow)
            return
        with contextlib.suppress(TransportFailed):  # then the connection is over, and its end is told below
            self.send(PONG)

    async def _send_outbox(self) -> None:
        with contextlib.suppress(ClientError, ConnectionError):  # the receiving side meets the same, and ends
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._outbox:
                    data = self._outbox.popleft()
                    await self._send_frame(data)
                    self._unsent -= len(data)

    async def _send_frame(self, data: bytes) -> None:
        # RFC 7118 4.2: a message may go in either kind of frame; text is what browsers show.
        try:
            text = data.decode()
        except UnicodeDecodeError:
            await self._socket.send_bytes(data)
        else:
            await self._socket.send_str(text)

    def _on_deadline(self) -> None:
        if self._patience.deadline <= self._loop.time():
            self.abort()
        else:
            self._deadline = self._loop.call_at(self._patience.deadline, self._on_deadline)


def _faults() -> logging.Logger:
    """Return a logger that says nothing of what is no HTTP, for anybody can send that without end."""

    def is_ours(record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))

    logger = logging.getLogger(__name__)
    if not logger.filters:
        logger.addFilter(is_ours)
    return logger
