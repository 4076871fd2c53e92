"""SIP over WebSocket, by a client that speaks SIP by hand as browsers do (RFC 7118)."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import aiohttp
import pytest
from sip_user import LOCALHOST, WAIT, StreamPhone, User, our_request, request_text

from daemon.selfsigned import make_pair
from sip.flow import Address, Transport
from sip.io.endpoint import Endpoint
from sip.io.policy import EndpointPolicy
from sip.io.tls import TlsFiles
from sip.message import MAX_MESSAGE, Request, Response, parse_message
from sip.patience import StreamLimits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    Connect = Callable[..., Awaitable["Browser"]]

NOBODY = "df7jal23ls0d.invalid"
"""What browsers write in Via and Contact, as in the examples of RFC 7118 8.1."""
SOON = 0.15
PINGS = 20_000


class Browser:
    """A WebSocket that is open."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def send(self, data: bytes) -> None:
        await self.socket.send_str(data.decode())

    async def receive(self) -> Request | Response:
        frame = await self.socket.receive(WAIT)
        assert frame.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), frame
        return parse_message(frame.data.encode() if frame.type is aiohttp.WSMsgType.TEXT else frame.data)

    async def ask(self, branch: str = "z9hG4bK1") -> int:
        await self.send(options(branch))
        response = await self.receive()
        assert isinstance(response, Response)
        return response.status


def options(branch: str = "z9hG4bK1", *, transport: str = "WS") -> bytes:
    return request_text(branch=branch, transport=transport, sent_by=NOBODY)


@pytest.fixture
def user() -> User:
    return User()


@pytest.fixture
def limits() -> StreamLimits:
    return StreamLimits()


@pytest.fixture
async def endpoint(user: User, limits: StreamLimits, tmp_path: Path) -> AsyncIterator[Endpoint]:
    pair = make_pair([LOCALHOST], days=1)
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate.write_bytes(pair.certificate)
    key.write_bytes(pair.key)
    endpoint = Endpoint(user, EndpointPolicy(tls=TlsFiles(str(certificate), str(key)), streams=limits))
    await endpoint.listen(Transport.WS, Address(LOCALHOST, 0))
    await endpoint.listen(Transport.WSS, Address(LOCALHOST, 0))
    yield endpoint
    await endpoint.close()


@pytest.fixture
async def connect(endpoint: Endpoint) -> AsyncIterator[Connect]:
    """Open a WebSocket, to `ws` or `wss`."""
    async with aiohttp.ClientSession() as session:

        async def connect(scheme: str = "ws", **options: int) -> Browser:
            address = next(local for transport, local in endpoint.bound if transport.value.lower() == scheme)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            url = f"{scheme}://{address}/any/path"
            return Browser(await session.ws_connect(url, protocols=("sip",), ssl=context, **options))

        yield connect


@pytest.mark.parametrize(
    ("scheme", "said"),
    [
        pytest.param("ws", "WS", id="plain"),
        pytest.param("wss", "WSS", id="secure"),
        pytest.param("wss", "WS", id="ws-said-over-wss"),
    ],
)
async def test_a_browser_is_answered_on_its_connection(connect: Connect, scheme: str, said: str) -> None:
    """Whatever its Via names and says, the answer comes back the same way (RFC 7118 5)."""
    browser = await connect(scheme)
    await browser.send(options(transport=said))
    response = await browser.receive()

    assert "sip" == browser.socket.protocol
    assert isinstance(response, Response)
    assert 200 == response.status
    assert (NOBODY, said, LOCALHOST) == (response.via.host, response.via.transport, response.via.param("received"))


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_requests_of_ours_go_by_the_flow(connect: Connect, endpoint: Endpoint, user: User, scheme: str) -> None:
    """The host of the Contact does not exist; what is known is the connection."""
    browser = await connect(scheme)
    await browser.send(request_text("REGISTER", transport="WS", sent_by=NOBODY))
    _, transaction = await asyncio.wait_for(user.requests.get(), WAIT)
    answers: asyncio.Queue[Response] = asyncio.Queue()
    ours = our_request()
    ours.uri = f"sip:bob@{NOBODY};transport=ws"
    endpoint.request(ours, transaction.flow, answers.put_nowait, pytest.fail)
    request = await browser.receive()
    assert isinstance(request, Request)
    await browser.send(Response.to_request(request, 200).encode())

    assert 200 == (await asyncio.wait_for(answers.get(), WAIT)).status
    assert scheme.upper() == request.via.transport
    assert endpoint.contact_uri(transaction.flow).endswith(";transport=ws")


async def test_a_message_may_come_in_a_binary_frame(connect: Connect) -> None:
    """RFC 7118 4.2: both kinds of frames."""
    browser = await connect()
    await browser.socket.send_bytes(options())

    assert isinstance(await browser.receive(), Response)


async def test_what_is_not_text_goes_in_a_binary_frame(connect: Connect, endpoint: Endpoint, user: User) -> None:
    browser = await connect()
    await browser.send(request_text("REGISTER", transport="WS", sent_by=NOBODY))
    _, transaction = await asyncio.wait_for(user.requests.get(), WAIT)
    request = our_request()
    request.body = b"\xff\xfe"
    endpoint.request(request, transaction.flow, lambda _response: None, pytest.fail)

    assert b"\xff\xfe" == (await browser.receive()).body


async def test_a_ping_of_line_ends_is_answered(connect: Connect) -> None:
    """RFC 5626 4.4.1, beside WebSocket's own pings."""
    browser = await connect()
    await browser.send(b"\r\n\r\n")

    assert "\r\n" == (await browser.socket.receive(WAIT)).data


async def test_a_ping_of_the_websocket_is_answered(connect: Connect) -> None:
    """RFC 6455 5.5.3."""
    browser = await connect(autoping=False)
    await browser.socket.ping(b"there?")
    pong = await browser.socket.receive(WAIT)

    assert (aiohttp.WSMsgType.PONG, b"there?") == (pong.type, bytes(pong.data))


async def test_a_flood_of_pings_leaves_others_their_turn(connect: Connect, endpoint: Endpoint) -> None:
    """Each has its pong, and the loop is never held for them all."""
    flooding = await StreamPhone.connect(endpoint.bound[0][1])
    flooding.send(
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    await asyncio.wait_for(flooding.reader.readuntil(b"\r\n\r\n"), WAIT)
    other = await connect()
    flooding.send(b"\x89\x80\0\0\0\0" * PINGS)
    pongs = asyncio.create_task(flooding.reader.readexactly(2 * PINGS))

    assert 200 == await other.ask()
    assert not pongs.done()
    assert b"\x8a\x00" * PINGS == await asyncio.wait_for(pongs, WAIT)
    await flooding.close()


async def test_what_is_no_http_is_not_logged_as_our_fault(endpoint: Endpoint, caplog: pytest.LogCaptureFixture) -> None:
    """Anybody can send it without end."""
    peer = await StreamPhone.connect(endpoint.bound[0][1])
    peer.send(b"\0\xff no HTTP\r\n\r\n")
    answer = await peer.until_closed()
    await peer.close()

    assert b"400" in answer.partition(b"\r\n")[0]
    assert [] == caplog.records


async def test_noise_is_dropped_and_the_connection_goes_on(connect: Connect, endpoint: Endpoint) -> None:
    """A frame is a message, so a bad one does not spoil the next."""
    browser = await connect()
    for noise in (b"\0\xff", b"", b"x" * 1000):
        await browser.socket.send_bytes(noise)

    assert 200 == await browser.ask()
    assert 2 == endpoint.transactions.dropped["unreadable message"]


async def test_many_messages_are_answered_in_order(connect: Connect) -> None:
    browser = await connect()
    for number in range(300):
        await browser.send(options(f"z9hG4bK{number}"))
    branches = [(await browser.receive()).via.branch for _ in range(300)]

    assert [f"z9hG4bK{number}" for number in range(300)] == branches


async def test_a_message_that_is_too_large_ends_the_connection(connect: Connect) -> None:
    """Limited before it is in memory, with the code that says why (RFC 6455 7.4.1)."""
    browser = await connect()
    await browser.socket.send_bytes(b"x" * (MAX_MESSAGE + 100))
    closing = await browser.socket.receive(WAIT)

    assert (aiohttp.WSMsgType.CLOSE, 1009) == (closing.type, closing.data)


async def test_compression_is_not_agreed_to(connect: Connect) -> None:
    """A small frame must not become a large message."""
    browser = await connect(compress=15)

    assert not browser.socket.compress
    assert 200 == await browser.ask()


async def test_who_offers_another_subprotocol_is_refused(endpoint: Endpoint) -> None:
    """RFC 7118 4.1: the client MUST offer `sip`."""
    async with aiohttp.ClientSession() as session:
        for protocols in ((), ("chat",), ("sipx",)):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(f"ws://{endpoint.bound[0][1]}/", protocols=protocols)
            assert 400 == refused.value.status


async def test_a_web_page_is_not_served(endpoint: Endpoint) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"http://{endpoint.bound[0][1]}/") as response:
        assert 400 == response.status
        assert "RFC 7118" in await response.text()


async def test_a_closed_connection_is_told_and_counted_out(connect: Connect, endpoint: Endpoint, user: User) -> None:
    """Its bindings are unreachable from that moment."""
    browser = await connect()
    await browser.send(request_text("REGISTER", transport="WS", sent_by=NOBODY))
    _, transaction = await asyncio.wait_for(user.requests.get(), WAIT)
    assert 1 == endpoint.connections
    await browser.socket.close()

    assert transaction.flow == await asyncio.wait_for(user.lost.get(), WAIT)
    await left(endpoint)


@pytest.mark.parametrize("limits", [StreamLimits(message=SOON)])
async def test_who_never_becomes_a_websocket_is_closed(endpoint: Endpoint) -> None:
    """Neither silence nor a header without an end is waited for."""
    for beginning in (b"", b"GET / HTTP/1.1\r\nX: "):
        peer = await StreamPhone.connect(endpoint.bound[0][1])
        peer.send(beginning)
        await peer.until_closed()
        await peer.close()

    await left(endpoint)


@pytest.mark.parametrize("limits", [StreamLimits(message=SOON)])
async def test_a_websocket_that_says_nothing_is_closed(connect: Connect, endpoint: Endpoint) -> None:
    browser = await connect()
    await browser.send(b"\r\n\r\n")
    await left(endpoint)

    assert "\r\n" == (await browser.socket.receive(WAIT)).data
    assert (await browser.socket.receive(WAIT)).type is aiohttp.WSMsgType.CLOSED


async def left(endpoint: Endpoint) -> None:
    """Wait until the endpoint has counted every connection out."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + WAIT
    while endpoint.connections:
        assert loop.time() < deadline
        await asyncio.sleep(0.01)
