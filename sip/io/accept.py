"""Accepts connections, after asking whether there may be one more of that source: before TLS, before any other work."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from sip.flow import Address
from sip.io.host import read_address, socket_address
from sip.io.plain import PlainStream
from sip.io.secure import SecureStream
from sip.io.tcp import tune

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

BACKLOG: Final = 1024  # connections that the kernel holds until we come to them
HANDSHAKE_THREADS: Final = 1  # each takes a core while many connect; the loop has another
ACCEPT_PAUSE: Final = 0.1  # seconds after a failure such as too many open files, which does not go away by trying


class Acceptor:
    """A listening socket.

    `enter` is asked with the source's address, and gives what is to be called when the connection is over, or None
    where it may not be; `door` makes the protocol of a connection, which calls that when the connection is lost. With a
    context it has `patience` seconds for TLS's handshake.
    """

    def __init__(
        self,
        address: Address,
        enter: Callable[[str], Callable[[], None] | None],
        door: Callable[[Callable[[], None]], asyncio.Protocol],
        context: ssl.SSLContext | None = None,
        *,
        patience: float,
    ) -> None:
        self._enter = enter
        self._door = door
        self._context = context
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._socket = _listen(address)
        self.local = Address(*self._socket.getsockname()[:2])
        self._threads = ThreadPoolExecutor(HANDSHAKE_THREADS, thread_name_prefix="tls") if context else None
        self._handshakes: set[asyncio.Task[None]] = set()
        self._task = asyncio.create_task(self._accept(), name=f"accept {self.local}")

    @property
    def accepting(self) -> bool:
        """Whether connections are let in."""
        return not self._task.done()

    async def close(self) -> None:
        """Stop accepting; connections that are through stay."""
        tasks = (self._task, *self._handshakes)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        self._socket.close()

    async def _accept(self) -> None:
        while True:
            try:
                stream, source = await self._loop.sock_accept(self._socket)
            except OSError:
                await asyncio.sleep(ACCEPT_PAUSE)
                continue
            leave = self._enter(read_address(source).host)
            if leave is None:
                stream.close()
            else:
                self._let_in(stream, leave)
            # sock_accept does not wait while connections do; others must have their turn.
            await asyncio.sleep(0)

    def _let_in(self, stream: socket.socket, leave: Callable[[], None]) -> None:
        try:
            plain = PlainStream(stream)
        except OSError:
            leave()
            stream.close()
            return
        if self._context is None:
            plain.begin(self._door(leave))
            return
        secure = SecureStream(self._context)
        plain.begin(secure)
        task = asyncio.create_task(self._shake_hands(secure, leave))
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)

    async def _shake_hands(self, secure: SecureStream, leave: Callable[[], None]) -> None:
        try:
            await secure.begin(lambda: self._door(leave), patience=self._patience, threads=self._threads)
        except OSError:  # what a peer can do wrong while it connects
            leave()
        except asyncio.CancelledError:
            leave()
            raise


def _listen(address: Address) -> socket.socket:
    six = ":" in address.host
    listening = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_STREAM)
    with contextlib.ExitStack() as undo:
        undo.callback(listening.close)
        tune(listening)  # Linux gives all that is set here to the connections too
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if six:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(socket_address(address))
        listening.listen(BACKLOG)
        undo.pop_all()
    return listening
