"""SIP over UDP: a socket that is drained when it wakes us, and answered in one go (RFC 3261 18)."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Final

from sip.errors import TransportFailed
from sip.flow import Address, Flow, Transport
from sip.io.host import SocketAddress, read_address, socket_address
from sip.message import MAX_MESSAGE

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH: Final = 64  # datagrams a wake-up, so that a flood leaves the loop to others
READ_AHEAD: Final = 65_536  # bytes of them: large messages take longer, so there are fewer of them
RECEIVE_BUFFER: Final = 4 * 1024 * 1024  # bytes asked of the kernel: what arrives while a batch is handled
SO_MEMINFO: Final = 55  # of Linux, since 4.12; the socket module has no name for it
MEMINFO: Final = struct.Struct("=9I")  # enum sk_meminfo: 0 is what waits, 1 its limit, 8 what was dropped
MAX_OUTBOX: Final = 8192  # datagrams that wait for the kernel; beyond it the oldest is lost, as on any network


class UdpListener:
    """One UDP socket. `receive` is called for every datagram with the flow it came by."""

    def __init__(self, address: Address, receive: Callable[[bytes, Flow], None]) -> None:
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self._six = ":" in address.host
        family = socket.AF_INET6 if self._six else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            if family == socket.AF_INET6:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            self._socket.bind(socket_address(address))
        except OSError:
            self._socket.close()
            raise
        self.local = Address(*self._socket.getsockname()[:2])
        self.transport = Transport.UDP
        self._outbox: deque[tuple[bytes, SocketAddress]] = deque(maxlen=MAX_OUTBOX)
        self._flush_due = False
        self._blocked = False
        self._closed = False
        self.backlog = 0.0
        """How full the kernel's buffer was after the last batch, from 0 to 1; beyond 1 the kernel drops datagrams."""
        self._loop.add_reader(self._socket.fileno(), self._on_readable)

    def send(self, data: bytes, flow: Flow, to: Address | None = None) -> None:
        """Send a datagram at the end of this turn of the loop. Raises TransportFailed where it cannot ever be sent."""
        if len(data) > MAX_MESSAGE:
            raise TransportFailed("the message is larger than a datagram")
        self._outbox.append((data, self._destination(to or (flow.host, flow.port))))
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    @property
    def lost(self) -> int:
        """How many datagrams the kernel dropped because its buffer was full."""
        return 0 if self._closed else self._meminfo()[8]

    def close(self) -> None:
        """Send what waits, and close the socket."""
        self._closed = True
        self._flush()
        self._loop.remove_reader(self._socket.fileno())
        if self._blocked:
            self._loop.remove_writer(self._socket.fileno())
        self._socket.close()

    def _on_readable(self) -> None:
        # Each step goes over the whole batch before the next one begins: so its code and data are in the caches.
        receive, local, six = self._receive, self.local, self._six
        for data, source in self._read():
            host, port = read_address(source) if six else source
            receive(data, Flow(Transport.UDP, local, host, port))

    def _read(self) -> list[tuple[bytes, tuple[str, int]]]:
        receive_from = self._socket.recvfrom
        batch: list[tuple[bytes, tuple[str, int]]] = []
        size = 0
        try:
            for _ in range(BATCH):
                batch.append(receive_from(MAX_MESSAGE))
                size += len(batch[-1][0])
                if size > READ_AHEAD:
                    break
            waiting, limit, *_ = self._meminfo()
            self.backlog = waiting / limit
        except BlockingIOError:
            self.backlog = 0.0
        except OSError:
            # An ICMP error of an earlier datagram; the socket itself is well, and the next wake-up reads on.
            pass
        return batch

    def _destination(self, address: tuple[str, int]) -> SocketAddress:
        if not self._six:
            return address
        try:
            return socket_address(Address(*address))
        except OSError as failure:
            raise TransportFailed(f"no way to {Address(*address)}: {failure}") from failure

    def _meminfo(self) -> tuple[int, ...]:
        return MEMINFO.unpack(self._socket.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, MEMINFO.size))

    def _flush(self) -> None:
        self._flush_due = False
        outbox, send_to = self._outbox, self._socket.sendto
        while outbox:
            data, remote = outbox[0]
            try:
                send_to(data, remote)
            except BlockingIOError:
                self._wait_writable()
                return
            except OSError:
                # No route, refused, port 0: the datagram is lost like any other, and timers tell whoever waits.
                pass
            outbox.popleft()

    def _wait_writable(self) -> None:
        if not self._blocked:
            self._blocked = True
            self._loop.add_writer(self._socket.fileno(), self._on_writable)

    def _on_writable(self) -> None:
        self._blocked = False
        self._loop.remove_writer(self._socket.fileno())
        self._flush()
