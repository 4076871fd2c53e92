"""TLS between a connection and the protocol above, byte by byte where it matters."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, cast

import pytest

from daemon.selfsigned import make_pair
from sip.flow import Address
from sip.io.accept import Acceptor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

LOCALHOST = "127.0.0.1"
WAIT = 5.0


class Upper(asyncio.Protocol):
    """What is above: notes what it is told."""

    def __init__(self, left: Callable[[], None]) -> None:
        self._left = left
        self.came: asyncio.Queue[bytes] = asyncio.Queue()
        self.lost = asyncio.Event()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.came.put_nowait(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()
        self._left()

    async def heard(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += await asyncio.wait_for(self.came.get(), WAIT)
        return data


class Peer:
    """A client whose every byte is in our hands."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.tls = context.wrap_bio(self._in, self._out)

    async def shake_hands(self) -> None:
        """Do the handshake, but keep the last of it back."""
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.writer.write(self._out.read())
                self._in.write(await asyncio.wait_for(self.reader.read(65_536), WAIT))
            else:
                return

    def encrypted(self, data: bytes = b"") -> bytes:
        """Return what was not sent yet, and after it the data."""
        if data:
            self.tls.write(data)
        return self._out.read()

    async def receive(self, size: int) -> bytes:
        """Return so many bytes, fewer where the other end says that it is the last."""
        data = b""
        while len(data) < size:
            try:
                part = self.tls.read(65_536)
            except ssl.SSLWantReadError:
                self._in.write(await asyncio.wait_for(self.reader.read(65_536), WAIT))
                continue
            if not part:
                break
            data += part
        return data


class Door:
    """An acceptor, and what it made of those who came."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.made: asyncio.Queue[Upper] = asyncio.Queue()
        self.left: asyncio.Queue[str] = asyncio.Queue()
        self.acceptor = Acceptor(Address(LOCALHOST, 0), self._enter, self._make, context, patience=0.5)

    async def peer(self) -> Peer:
        return Peer(*await asyncio.open_connection(*self.acceptor.local))

    async def shaken(self) -> tuple[Peer, Upper]:
        peer = await self.peer()
        await peer.shake_hands()
        peer.writer.write(peer.encrypted())
        return peer, await asyncio.wait_for(self.made.get(), WAIT)

    def _enter(self, host: str) -> Callable[[], None]:
        return lambda: self.left.put_nowait(host)

    def _make(self, left: Callable[[], None]) -> Upper:
        upper = Upper(left)
        self.made.put_nowait(upper)
        return upper


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    """Listen with a certificate."""
    file = tmp_path / "pair.pem"
    pair = make_pair([LOCALHOST], days=1)
    file.write_bytes(pair.certificate + pair.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    door = Door(context)
    yield door
    await door.acceptor.close()


async def test_what_comes_with_the_end_of_the_handshake_is_handed_on(door: Door) -> None:
    """A phone need not wait between its Finished and its REGISTER (RFC 8446 4.4.4)."""
    peer = await door.peer()
    await peer.shake_hands()
    peer.writer.write(peer.encrypted(b"REGISTER"))
    upper = await asyncio.wait_for(door.made.get(), WAIT)

    assert b"REGISTER" == await upper.heard(8)
    peer.writer.close()


async def test_a_record_may_come_byte_by_byte(door: Door) -> None:
    peer, upper = await door.shaken()
    for byte in peer.encrypted(b"OPTIONS"):
        peer.writer.write(bytes([byte]))
        await peer.writer.drain()
        await asyncio.sleep(0)

    assert b"OPTIONS" == await upper.heard(7)
    peer.writer.close()


async def test_many_records_go_both_ways(door: Door) -> None:
    """More than one record, one read and one buffer hold."""
    peer, upper = await door.shaken()
    much = bytes(range(256)) * 2_000
    peer.writer.write(peer.encrypted(much))
    upper.transport.write(much)

    assert much == await upper.heard(len(much))
    assert much == await peer.receive(len(much))
    peer.writer.close()


async def test_who_pauses_is_told_nothing_until_he_goes_on(door: Door) -> None:
    peer, upper = await door.shaken()
    upper.transport.pause_reading()
    peer.writer.write(peer.encrypted(b"INVITE"))
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(upper.came.get(), 0.05)
    upper.transport.resume_reading()

    assert b"INVITE" == await upper.heard(6)
    peer.writer.close()


async def test_the_end_is_said_before_the_connection_is_closed(door: Door) -> None:
    """RFC 8446 6.1: close_notify, so that nobody can cut a message off unseen."""
    peer, upper = await door.shaken()
    upper.transport.write(b"BYE")
    upper.transport.close()

    assert b"BYE" == await peer.receive(65_536)
    assert upper.transport.is_closing()
    await asyncio.wait_for(upper.lost.wait(), WAIT)
    assert LOCALHOST == await asyncio.wait_for(door.left.get(), WAIT)
    peer.writer.close()


async def test_the_peers_end_is_ours(door: Door) -> None:
    peer, upper = await door.shaken()
    with pytest.raises(ssl.SSLWantReadError):
        peer.tls.unwrap()
    peer.writer.write(peer.encrypted())

    await asyncio.wait_for(upper.lost.wait(), WAIT)
    peer.writer.close()


async def test_what_cannot_be_decrypted_ends_the_connection_with_an_alert(door: Door) -> None:
    """RFC 8446 5.2: bad_record_mac."""
    peer, upper = await door.shaken()
    record = bytearray(peer.encrypted(b"REGISTER"))
    record[-1] ^= 1
    peer.writer.write(record)

    with pytest.raises(ssl.SSLError, match=r"(?i)bad.record.mac"):
        await peer.receive(1)
    await asyncio.wait_for(upper.lost.wait(), WAIT)
    assert upper.came.empty()
    peer.writer.close()


async def test_who_trickles_a_handshake_has_no_more_time_for_it(door: Door) -> None:
    """Each byte is heard, but the patience is for all of them."""
    peer = await door.peer()
    with pytest.raises(ssl.SSLWantReadError):
        peer.tls.do_handshake()
    began = asyncio.get_running_loop().time()
    for byte in peer.encrypted()[:100]:
        peer.writer.write(bytes([byte]))
        await asyncio.sleep(0.02)
        if not door.left.empty():
            break

    assert LOCALHOST == await asyncio.wait_for(door.left.get(), WAIT)
    assert asyncio.get_running_loop().time() - began < 1.5
    assert door.made.empty()
    peer.writer.close()


async def test_facts_of_tls_and_of_the_connection_are_told(door: Door) -> None:
    """What aiohttp and the flows ask for."""
    peer, upper = await door.shaken()
    tell = upper.transport.get_extra_info

    assert tell("ssl_object").version().startswith("TLSv1.")
    assert isinstance(tell("sslcontext"), ssl.SSLContext)
    assert peer.writer.get_extra_info("sockname") == tell("peername")
    assert tell("nothing", "default") == "default"
    assert upper.transport.is_reading()
    assert 0 == upper.transport.get_write_buffer_size()
    peer.writer.close()
