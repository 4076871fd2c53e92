"""Connections of peers that are slow, silent, rude or many, over TCP on the loopback."""

from __future__ import annotations

import asyncio
import math
import socket
import time
from typing import TYPE_CHECKING

import pytest
from sip_user import LOCALHOST, WAIT, StreamPhone, User, our_request, request_text

from sip.errors import SipError, TransportFailed
from sip.flow import Address, Flow, Transport
from sip.io.accept import Acceptor
from sip.io.endpoint import Endpoint
from sip.io.policy import EndpointPolicy
from sip.patience import StreamLimits
from sip.uri import SipUri

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Start = Callable[[EndpointPolicy], Awaitable[Endpoint]]
    Connect = Callable[[Endpoint], Awaitable[StreamPhone]]

SOON = 0.15  # seconds: a limit that a test waits for
NEVER = 100.0
PATIENT = StreamLimits(message=NEVER, idle=NEVER, stall=NEVER, keepalive=0.0)


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start an endpoint with this policy on a TCP port of the loopback."""
    started: list[Endpoint] = []

    async def start(policy: EndpointPolicy) -> Endpoint:
        endpoint = Endpoint(User(), policy)
        started.append(endpoint)
        await endpoint.listen(Transport.TCP, Address(LOCALHOST, 0))
        return endpoint

    yield start
    for endpoint in started:
        await endpoint.close()


def limited(**limits: float) -> EndpointPolicy:
    return EndpointPolicy(streams=StreamLimits(**{"message": NEVER, "idle": NEVER, "stall": NEVER, **limits}))


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Connect to an endpoint; connections end with the test."""
    phones: list[StreamPhone] = []

    async def connect(endpoint: Endpoint) -> StreamPhone:
        phones.append(await StreamPhone.connect(endpoint.bound[0][1]))
        return phones[-1]

    yield connect
    for phone in phones:
        await phone.close()


async def left(endpoint: Endpoint, count: int) -> None:
    """Wait until the endpoint counts no more connections than these."""
    deadline = time.monotonic() + WAIT
    while endpoint.connections > count:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_a_peer_that_says_nothing_is_closed(start: Start, connect: Connect) -> None:
    endpoint = await start(limited(message=SOON))
    phone = await connect(endpoint)

    assert b"" == await phone.until_closed()
    await left(endpoint, 0)


async def test_a_peer_that_says_one_byte_at_a_time_is_closed(start: Start, connect: Connect) -> None:
    """Neither bytes nor keepalives put the first message off."""
    endpoint = await start(limited(message=SOON))
    phone = await connect(endpoint)
    began = time.monotonic()

    async def trickle() -> None:
        for byte in b"\r\n\r\n" + b"OPTIONS sip:" + b"b" * 10_000:
            phone.send(bytes([byte]))
            await asyncio.sleep(SOON / 20)

    task = asyncio.create_task(trickle())
    await phone.until_closed()
    task.cancel()

    assert time.monotonic() - began < 10 * SOON
    await left(endpoint, 0)


async def test_half_a_message_after_a_good_one_is_closed(start: Start, connect: Connect) -> None:
    endpoint = await start(limited(message=SOON))
    phone = await connect(endpoint)
    assert 200 == await phone.ask()
    phone.send(request_text()[:40])

    assert b"" == await phone.until_closed()


async def test_a_peer_that_has_said_something_may_be_silent_for_long(start: Start, connect: Connect) -> None:
    """The limit of the first message is not that of silence."""
    endpoint = await start(limited(message=SOON))
    phone = await connect(endpoint)
    assert 200 == await phone.ask()
    await asyncio.sleep(2 * SOON)

    assert 200 == await phone.ask("z9hG4bK2")


async def test_a_silent_connection_is_closed_unless_it_pings(start: Start, connect: Connect) -> None:
    """RFC 5626 4.4.1: a ping is a sign of life, and is answered."""
    endpoint = await start(limited(idle=2 * SOON))
    silent, alive = await connect(endpoint), await connect(endpoint)
    assert [200, 200] == [await silent.ask("z9hG4bK1"), await alive.ask("z9hG4bK2")]

    async def ping() -> None:
        while True:
            alive.send(b"\r\n\r\n")
            assert b"\r\n" == await alive.reader.readexactly(2)
            await asyncio.sleep(SOON / 4)

    task = asyncio.create_task(ping())
    await silent.until_closed()
    await asyncio.sleep(SOON)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert 200 == await alive.ask("z9hG4bK3")


async def test_a_quiet_connection_gets_line_ends_once_it_is_a_phone(start: Start, connect: Connect) -> None:
    """They keep NATs open; who has said nothing yet gets nothing."""
    endpoint = await start(limited(keepalive=SOON / 3))
    phone, stranger = await connect(endpoint), await connect(endpoint)
    assert 200 == await phone.ask()

    assert b"\r\n\r\n" == await asyncio.wait_for(phone.reader.readexactly(4), WAIT)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(stranger.reader.read(1), SOON)


async def test_a_peer_that_never_reads_is_closed_and_holds_nobody_up(start: Start, connect: Connect) -> None:
    """It is not read any more once its answers wait, and closed when that lasts."""
    endpoint = await start(limited(stall=2 * SOON))
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(deaf, endpoint.bound[0][1])
    each = (request_text(branch=f"z9hG4bK{number:04000}", call_id=str(number)) for number in range(1_700))
    flood = b"".join(each)  # its answers are 7 MB
    sending = asyncio.create_task(loop.sock_sendall(deaf, flood))
    other = await connect(endpoint)
    assert 200 == await other.ask("z9hG4bKother")

    await left(endpoint, 1)
    assert 200 == await other.ask("z9hG4bKagain")
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    deaf.close()


async def test_a_request_of_ours_to_a_peer_that_never_reads_fails(start: Start, connect: Connect) -> None:
    """What waits for one peer is bounded."""
    endpoint = await start(EndpointPolicy(streams=PATIENT))
    phone = await connect(endpoint)
    phone.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream's transport can
    phone.send(request_text("BYE"))
    user = endpoint._user
    assert isinstance(user, User)
    _, transaction = await asyncio.wait_for(user.requests.get(), WAIT)
    failures: asyncio.Queue[SipError] = asyncio.Queue()
    for number in range(400):
        request = our_request()
        request.set("Call-ID", f"ours-{number}")
        request.body = b"x" * 60_000
        endpoint.request(request, transaction.flow, lambda _response: None, failures.put_nowait)

    assert isinstance(await asyncio.wait_for(failures.get(), WAIT), TransportFailed)


async def test_many_messages_in_one_segment_are_all_answered_in_order(start: Start, connect: Connect) -> None:
    """RFC 3261 18.3; they take several turns of the loop, so that others have theirs."""
    endpoint = await start(EndpointPolicy(streams=PATIENT))
    phone = await connect(endpoint)
    phone.send(b"".join(request_text(branch=f"z9hG4bK{number}", call_id=str(number)) for number in range(500)))
    branches = [(await phone.receive()).via.branch for _ in range(500)]

    assert [f"z9hG4bK{number}" for number in range(500)] == branches


async def test_what_is_good_is_answered_before_what_is_not_ends_the_connection(start: Start, connect: Connect) -> None:
    """RFC 4475 3.1.2.3: a negative Content-Length leaves no way to the next message."""
    endpoint = await start(EndpointPolicy(streams=PATIENT))
    phone = await connect(endpoint)
    phone.send(request_text() + request_text().replace(b"Content-Length: 0", b"Content-Length: -1"))
    answer = await phone.until_closed()

    assert 1 == answer.count(b"SIP/2.0 200 OK")
    await left(endpoint, 0)


async def test_a_flood_of_pings_leaves_others_their_turn(start: Start, connect: Connect) -> None:
    """Every ping has its pong, a batch at a time."""
    endpoint = await start(EndpointPolicy(streams=PATIENT))
    flooding, other = await connect(endpoint), await connect(endpoint)
    flooding.send(b"\r\n\r\n" * 50_000)
    await asyncio.sleep(0)

    assert 200 == await asyncio.wait_for(other.ask(), WAIT)
    assert 100_000 == len(await asyncio.wait_for(flooding.reader.readexactly(100_000), WAIT))


async def test_too_many_connections_are_closed_before_a_word(start: Start, connect: Connect) -> None:
    """The limit holds, is counted, and makes room again."""
    endpoint = await start(EndpointPolicy(streams=PATIENT, max_connections=2))
    first, second, third = [await connect(endpoint) for _ in range(3)]

    assert b"" == await third.until_closed()
    assert 1 == endpoint.transactions.dropped["connection of a source over its limit"]
    assert [200, 200] == [await first.ask("z9hG4bK1"), await second.ask("z9hG4bK2")]
    await first.close()
    await second.close()
    await left(endpoint, 0)
    again = await connect(endpoint)
    assert 200 == await again.ask("z9hG4bK3")


async def test_messages_beyond_the_rate_are_dropped_unread(start: Start) -> None:
    """Before parsing: what is dropped is not even seen to be noise."""
    endpoint = await start(EndpointPolicy(rate_per_source=0.001, rate_burst=3))
    stranger = Flow.between(Transport.UDP, Address(LOCALHOST, 5060), Address("192.0.2.1", 5060))
    for _ in range(10):
        endpoint.receive(b"noise, not SIP", stranger)
    assert endpoint.transactions.dropped == {"unreadable message": 3, "message of a source over its rate": 7}

    endpoint.trusted.add("192.0.2.1", until=math.inf, now=0.0)
    endpoint.receive(b"noise, not SIP", stranger)
    assert 4 == endpoint.transactions.dropped["unreadable message"]


async def test_our_own_connection_is_used_again_and_a_peers_is_not(start: Start, connect: Connect) -> None:
    """RFC 5922 7.3: who came to us is not thereby whom we look for."""
    endpoint, other = await start(EndpointPolicy()), await start(EndpointPolicy())
    phone = await connect(endpoint)
    assert 200 == await phone.ask()
    uri = SipUri.parse(f"sip:{other.bound[0][1]};transport=tcp")
    first, second = await endpoint.flow_to(uri), await endpoint.flow_to(uri)
    assert first == second

    server = Address(*phone.writer.get_extra_info("sockname"))
    with pytest.raises(TransportFailed):
        await endpoint.flow_to(SipUri.parse(f"sip:{server};transport=tcp"))


@pytest.mark.parametrize(
    "uri",
    [
        pytest.param("sip:127.0.0.1;transport=ws", id="websocket"),
        pytest.param("sip:127.0.0.1;transport=sctp", id="unknown"),
        pytest.param("sips:127.0.0.1;transport=udp", id="secure-datagram"),
        pytest.param("sip:127.0.0.1:1;transport=tcp", id="refused"),
    ],
)
async def test_where_there_is_no_way_the_transport_fails(start: Start, uri: str) -> None:
    endpoint = await start(EndpointPolicy())

    with pytest.raises(TransportFailed):
        await endpoint.flow_to(SipUri.parse(uri))


class _Idle(asyncio.Protocol):
    """Keeps the connection."""

    transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport


async def test_accepted_sockets_do_not_wait_and_notice_when_the_peer_is_gone() -> None:
    """TCP_NODELAY, keepalive probes, and a limit on what is not acknowledged, as the listener has them."""
    idle = _Idle()
    acceptor = Acceptor(Address(LOCALHOST, 0), lambda _host: lambda: None, lambda _left: idle, patience=WAIT)
    options = (
        (socket.IPPROTO_TCP, socket.TCP_NODELAY),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
    )
    _, writer = await asyncio.open_connection(*acceptor.local)
    while idle.transport is None:
        await asyncio.sleep(0)
    accepted = idle.transport.get_extra_info("socket")

    assert [1, 1, 120, 20, 60_000] == [accepted.getsockopt(*option) for option in options]
    writer.close()
    idle.transport.close()  # type: ignore[attr-defined]
    await acceptor.close()
