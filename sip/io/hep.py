"""Sending messages to a Homer, without ever waiting for it: a packet that cannot leave at once is lost, and counted."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Final

import structlog

from sip.hep import encode_hep

if TYPE_CHECKING:
    from sip.io.tap import Glimpse

log = structlog.get_logger(__name__)

RETRY: Final = 60.0  # seconds between two looks for a server whose name leads nowhere
SEND_BUFFER: Final = 1024 * 1024  # bytes asked of the kernel: a burst of some hundred messages


class HepSender:
    """Implements `sip.io.tap.Watcher`: exports every message, masked."""

    def __init__(self, host: str, port: int, *, capture_id: int, password: str) -> None:
        self._server = host, port
        self._capture_id = capture_id
        self._password = password
        self._socket: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None
        self.sent = 0
        self.lost = 0

    def start(self) -> None:
        """Look for the server, again and again until its name leads somewhere."""
        self._task = asyncio.create_task(self._connect(), name="hep server")

    async def close(self) -> None:
        """Send no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def saw(self, glimpse: Glimpse) -> None:
        """Export a message."""
        if self._socket is None:
            self.lost += 1
            return
        packet = encode_hep(glimpse.sighting(), capture_id=self._capture_id, password=self._password)
        try:
            self._socket.send(packet)
        except OSError as error:  # BlockingIOError where the buffer is full; the ICMP answer to an earlier packet
            self._failed(error)
        else:
            self.sent += 1

    def _failed(self, error: OSError) -> None:
        tell = log.debug if self.lost else log.warning
        self.lost += 1
        tell("hep.lost", server="{}:{}".format(*self._server), reason=str(error))

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        while self._socket is None:
            try:
                found = await loop.getaddrinfo(*self._server, type=socket.SOCK_DGRAM)
                family, kind, protocol, _, address = found[0]
                self._socket = _connected(socket.socket(family, kind, protocol), (str(address[0]), self._server[1]))
            except OSError as error:
                self._failed(error)
                await asyncio.sleep(RETRY)


def _connected(opened: socket.socket, address: tuple[str, int]) -> socket.socket:
    try:
        opened.setblocking(False)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        opened.connect(address)
    except OSError:
        opened.close()
        raise
    return opened
