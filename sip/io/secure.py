"""TLS between a connection and the protocol above, which sees a transport like any other (RFC 8446, RFC 5246).

The loop's own TLS holds a buffer of 256 KiB for each connection and does the handshake, with up to a millisecond of
arithmetic for its signature, in the loop. Here a connection at rest has no buffer but OpenSSL's, and a thread signs.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Any, Final, cast

from sip.errors import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

RECORD: Final = 16_384  # bytes that are asked for at once: the most that a TLS record can have


class SecureStream(asyncio.Protocol, asyncio.Transport):
    """One connection with TLS: a protocol to what is below, a transport to what is above. `begin` when it is connected.

    With a `name` it is the client's end, and the certificate must be valid for that name.
    """

    __slots__ = ("_came", "_context", "_incoming", "_lost", "_outgoing", "_protocol", "_reading", "_tls", "_transport")

    def __init__(self, context: ssl.SSLContext, name: str | None = None) -> None:
        super().__init__()
        self._context = context
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=name is None, server_hostname=name)
        self._transport: asyncio.Transport | None = None
        self._protocol: asyncio.Protocol | None = None
        self._came: asyncio.Event | None = asyncio.Event()  # while hands are shaken: something, or the end
        self._reading = True
        self._lost = False

    async def begin(
        self, make: Callable[[], asyncio.Protocol], *, patience: float, threads: Executor | None = None
    ) -> asyncio.Protocol:
        """Do the handshake, and return the protocol that is above from now on.

        With `threads` the first step, which signs, is theirs; those after it take less than a change of threads. The
        peer has `patience` seconds, beside those that we take. Raises OSError, and the connection is closed then.
        """
        try:
            await self._shake_hands(patience, threads)
        except OSError:
            self._flush()  # the alert that says why
            self._below.close()
            raise
        except BaseException:
            self.abort()  # a thread may still be at work
            raise
        self._came = None
        protocol = self._protocol = make()
        protocol.connection_made(self)
        self._below.resume_reading()
        self._read()  # what came with the end of the handshake
        return protocol

    async def _shake_hands(self, patience: float, threads: Executor | None) -> None:
        loop = asyncio.get_running_loop()
        self._below.pause_reading()
        if self._tls.server_side:
            patience = await self._hear(patience)
        while True:
            try:
                if threads is None:
                    self._tls.do_handshake()
                else:
                    await loop.run_in_executor(threads, self._tls.do_handshake)
            except ssl.SSLWantReadError:
                self._flush()
                threads = None
                patience = await self._hear(patience)
            else:
                self._flush()
                return

    async def _hear(self, patience: float) -> float:
        """Wait for what the peer says next, and return the patience that is left.

        Reading is paused from then on, since a thread works on what has come.
        """
        loop, came = asyncio.get_running_loop(), cast("asyncio.Event", self._came)
        began = loop.time()
        if not self._incoming.pending and not self._lost:
            came.clear()
            self._below.resume_reading()
            try:
                await asyncio.wait_for(came.wait(), patience)
            except asyncio.TimeoutError as failure:
                raise ConnectionAbortedError("the TLS handshake takes too long") from failure
        if self._lost:
            raise ConnectionResetError("the connection ended in the TLS handshake")
        return patience - (loop.time() - began)

    # What is below calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be connected."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell what is above, or who waits for the handshake."""
        self._lost = True
        if self._came is not None:
            self._came.set()
        if self._protocol is not None:
            protocol, self._protocol = self._protocol, None
            protocol.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Decrypt, and hand on what that gives."""
        self._incoming.write(data)
        if self._came is None:
            self._read()
        else:
            self._below.pause_reading()
            self._came.set()

    def pause_writing(self) -> None:
        """Let what is above know that the peer does not read."""
        if self._protocol is not None:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Let what is above know that the peer reads again."""
        if self._protocol is not None:
            self._protocol.resume_writing()

    # What is above calls these.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send."""
        try:
            self._tls.write(data)
        except ssl.SSLError:  # closed by the peer, whose end is to be told
            self.abort()
        else:
            self._flush()

    def close(self) -> None:
        """Say that this is all, and close when it is sent."""
        if not self._below.is_closing():
            with contextlib.suppress(ssl.SSLError):  # that the peer has not said so too
                self._tls.unwrap()
            self._flush()
            self._below.close()

    def abort(self) -> None:
        """Close at once."""
        self._below.abort()

    def is_closing(self) -> bool:
        """Return whether nothing can be sent any more."""
        return self._below.is_closing()

    def pause_reading(self) -> None:
        """Hand on nothing more for now."""
        self._reading = False
        self._below.pause_reading()

    def resume_reading(self) -> None:
        """Hand on again what comes, and what came."""
        if not self._reading:
            self._reading = True
            self._below.resume_reading()
            asyncio.get_running_loop().call_soon(self._read)

    def is_reading(self) -> bool:
        """Return whether what comes is handed on."""
        return self._reading and self._below.is_reading()

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait for the peer to read."""
        return self._below.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set how many bytes may wait before writing is paused, and until when."""
        self._below.set_write_buffer_limits(high, low)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return a fact about TLS or about the connection below."""
        if name == "ssl_object":
            return self._tls
        return self._context if name == "sslcontext" else self._below.get_extra_info(name, default)

    @property
    def _below(self) -> asyncio.Transport:
        if self._transport is None:
            raise LocalProtocolError("TLS before the connection is there")
        return self._transport

    def _read(self) -> None:
        incoming, tls = self._incoming, self._tls
        try:
            while self._reading and self._protocol is not None and (incoming.pending or tls.pending()):
                data = tls.read(RECORD)
                if not data:
                    self.close()  # as the peer does
                    return
                self._protocol.data_received(data)
        except ssl.SSLWantReadError:
            pass  # the rest of a record is still to come
        except ssl.SSLError:
            self._flush()  # the alert that says why
            self._below.close()
            return
        self._flush()  # what TLS itself has to answer

    def _flush(self) -> None:
        if self._outgoing.pending and not self._below.is_closing():
            self._below.write(self._outgoing.read())
