"""TCP connections, and what a turn of the event loop does of them."""

from __future__ import annotations

import asyncio
import itertools
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING, cast

import pytest
import uvloop

from sip.io.plain import BATCH, HIGH, PlainStream

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

WAIT = 5.0
MANY = 3 * BATCH


class Upper(asyncio.Protocol):
    """What is above: notes what it is told."""

    def __init__(self) -> None:
        self.came = b""
        self.told: list[str] = []
        self.lost = asyncio.Event()
        self.failure: Exception | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.came += data
        if data == b"fail":
            raise ValueError("as asked")

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.failure = exc
        self.lost.set()


@pytest.fixture
def pairs() -> Iterator[Pairs]:
    """Make connections, and close what is left of them."""
    with Pairs() as made:
        yield made


class Pairs(ExitStack):
    """Connections whose other ends are in our hands."""

    def make(self) -> tuple[Upper, socket.socket]:
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)
            self.callback(end.close)
        upper = Upper()
        PlainStream(ours).begin(upper)
        return upper, theirs


def run(loop: str, main: Coroutine[None, None, None]) -> None:
    made = uvloop.new_event_loop() if loop == "uvloop" else asyncio.new_event_loop()
    try:
        made.run_until_complete(main)
    finally:
        made.close()


async def received(theirs: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += await asyncio.wait_for(asyncio.get_running_loop().sock_recv(theirs, size), WAIT)
    return data


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_connections_that_end_together_end_in_turns(loop: str, pairs: Pairs) -> None:
    """However many there are, others have their turns between."""

    async def ends() -> None:
        made = [pairs.make() for _ in range(MANY)]
        for _, theirs in made:
            theirs.close()
        counts = [0]
        while counts[-1] < MANY:
            await asyncio.sleep(0)
            counts.append(sum(upper.lost.is_set() for upper, _ in made))

        assert max(after - before for before, after in itertools.pairwise(counts)) <= BATCH
        assert not any(upper.failure for upper, _ in made)

    run(loop, asyncio.wait_for(ends(), WAIT))


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_who_has_much_to_say_keeps_nobody_from_being_heard(loop: str, pairs: Pairs) -> None:
    """A batch has those who were not in the last ones."""

    async def talk() -> None:
        made = [pairs.make() for _ in range(MANY)]
        for _, theirs in made:
            theirs.send(b"x")
        while not all(upper.came for upper, _ in made):
            for upper, theirs in made:
                if upper.came:
                    theirs.send(b"x")
            await asyncio.sleep(0)

        assert max(len(upper.came) for upper, _ in made) < MANY

    run(loop, asyncio.wait_for(talk(), WAIT))


async def test_what_the_kernel_does_not_take_is_sent_later(pairs: Pairs) -> None:
    """The protocol is paused meanwhile, and a connection that is closed is closed after it."""
    upper, theirs = pairs.make()
    data = bytes(range(256)) * 16_384
    upper.transport.write(data[:-10])
    waiting = upper.transport.get_write_buffer_size()
    upper.transport.write(data[-10:])
    upper.transport.close()
    upper.transport.write(b"after the end")
    closing = upper.transport.is_closing()
    heard = await received(theirs, len(data))
    await asyncio.wait_for(upper.lost.wait(), WAIT)

    assert waiting > HIGH
    assert closing
    assert data == heard
    assert b"" == theirs.recv(1)
    assert upper.told[0] == "pause"
    assert upper.failure is None


async def test_writing_goes_on_when_the_peer_reads(pairs: Pairs) -> None:
    """Paused once, resumed once."""
    upper, theirs = pairs.make()
    upper.transport.write(bytes(2_000_000))
    upper.transport.write(bytes(1_000))
    await received(theirs, 2_001_000)
    upper.transport.write(b"more")

    assert ["pause", "resume"] == upper.told
    assert b"more" == await received(theirs, 4)
    assert 0 == upper.transport.get_write_buffer_size()


async def test_nothing_is_read_while_reading_is_paused(pairs: Pairs) -> None:
    """What comes meanwhile is not lost, the end included."""
    upper, theirs = pairs.make()
    upper.transport.pause_reading()
    theirs.send(b"hello")
    theirs.close()
    for _ in range(10):
        await asyncio.sleep(0)
    before, reading = upper.came, upper.transport.is_reading()
    upper.transport.resume_reading()
    await asyncio.wait_for(upper.lost.wait(), WAIT)

    assert (b"", False) == (before, reading)
    assert b"hello" == upper.came


async def test_an_end_is_told_while_something_waits_for_the_peer(pairs: Pairs) -> None:
    """Also where nothing is read."""
    upper, theirs = pairs.make()
    upper.transport.pause_reading()
    upper.transport.write(bytes(2_000_000))
    theirs.close()
    await asyncio.wait_for(upper.lost.wait(), WAIT)

    assert isinstance(upper.failure, ConnectionError)
    assert upper.transport.is_closing()


async def test_a_connection_that_is_aborted_is_closed_at_once(pairs: Pairs) -> None:
    """But told later, since whoever aborts is in the middle of something."""
    upper, theirs = pairs.make()
    theirs.send(b"unheard")
    upper.transport.abort()
    before = upper.lost.is_set()
    await asyncio.sleep(0)

    assert not before
    assert upper.lost.is_set()
    assert b"" == upper.came
    with pytest.raises(ConnectionResetError):
        theirs.recv(1)


async def test_a_protocol_that_fails_costs_its_connection_alone(pairs: Pairs) -> None:
    """The others are heard, and the loop is told of the fault."""
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context.get("exception")))
    failing, sound = pairs.make(), pairs.make()
    failing[1].send(b"fail")
    sound[1].send(b"hello")
    await asyncio.wait_for(failing[0].lost.wait(), WAIT)
    while not sound[0].came:
        await asyncio.sleep(0)

    assert b"hello" == sound[0].came
    assert not sound[0].lost.is_set()
    assert ["as asked"] == [str(fault) for fault in faults]
