"""The endpoint on real sockets of the loopback."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest
from sip_user import LOCALHOST, WAIT, User, request_text

from sip.errors import SipError, TransportFailed
from sip.flow import Address, Flow, Transport
from sip.io.endpoint import Endpoint
from sip.message import Request, Response, parse_message
from sip.uri import SipUri

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Phone:
    """A UDP socket that speaks SIP by hand."""

    def __init__(self, server: Address) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((LOCALHOST, 0))
        self._socket.setblocking(False)
        self._server = server
        self.address = Address(*self._socket.getsockname())

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendto(self._socket, data, self._server)

    async def receive(self) -> Request | Response:
        loop = asyncio.get_running_loop()
        return parse_message(await asyncio.wait_for(loop.sock_recv(self._socket, 65535), WAIT))

    async def is_silent(self, seconds: float = 0.05) -> bool:
        try:
            await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self._socket, 65535), seconds)
        except asyncio.TimeoutError:
            return True
        return False

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
async def user() -> User:
    return User()


@pytest.fixture
async def endpoint(user: User) -> AsyncIterator[Endpoint]:
    endpoint = Endpoint(user)
    await endpoint.listen(Transport.UDP, Address(LOCALHOST, 0))
    await endpoint.listen(Transport.TCP, Address(LOCALHOST, 0))
    yield endpoint
    await endpoint.close()


@pytest.fixture
async def phone(endpoint: Endpoint) -> AsyncIterator[Phone]:
    phone = Phone(endpoint.bound[0][1])
    yield phone
    phone.close()


def _request(method: str, branch: str = "z9hG4bK1", *, rport: str = ";rport", extra: str = "") -> bytes:
    return (
        f"{method} sip:bob@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.9.9.9:5060{rport};branch={branch}\r\n"
        f"From: <sip:bob@acme.test>;tag=a\r\nTo: <sip:bob@acme.test>\r\nCall-ID: c1\r\nCSeq: 1 {method}\r\n"
        f"{extra}Content-Length: 0\r\n\r\n"
    ).encode()


def test_timers_work_on_uvloop_when_one_is_set_late() -> None:
    """A handle of uvloop tells no when() where its time is past."""
    uvloop = pytest.importorskip("uvloop")

    async def scenario() -> int:
        user = User()
        endpoint = Endpoint(user)
        address = await endpoint.listen(Transport.UDP, Address(LOCALHOST, 0))
        loop = asyncio.get_running_loop()
        endpoint.transactions._arm(loop.time() - 1)
        phone = Phone(address)
        phone._socket.sendto(_request("OPTIONS"), address)
        response = await phone.receive()
        phone.close()
        await endpoint.close()
        assert isinstance(response, Response)
        return response.status

    loop = uvloop.new_event_loop()
    status = loop.run_until_complete(scenario())
    loop.close()

    assert status == 200


async def test_an_answer_goes_to_the_source_that_asked_for_it(phone: Phone) -> None:
    """RFC 3581 4: with rport the response goes back to where the request came from."""
    await phone.send(_request("OPTIONS"))
    response = await phone.receive()

    assert isinstance(response, Response)
    assert response.status == 200
    assert response.via.param("received") == LOCALHOST
    assert response.via.param("rport") == str(phone.address.port)
    assert response.to.tag


async def test_a_retransmission_gets_the_same_answer_and_no_second_handling(phone: Phone, user: User) -> None:
    """RFC 3261 17.2.2."""
    await phone.send(_request("BYE"))
    request, transaction = await user.requests.get()
    transaction.respond(Response.to_request(request, 481))
    first = await phone.receive()
    await phone.send(_request("BYE"))

    assert first.encode() == (await phone.receive()).encode()  # type: ignore[union-attr]
    assert user.requests.empty()


async def test_a_request_that_waits_for_its_answer_is_not_handled_twice(phone: Phone, user: User) -> None:
    """RFC 3261 17.2.2: in Trying, retransmissions are discarded."""
    await phone.send(_request("BYE"))
    await user.requests.get()
    await phone.send(_request("BYE"))

    assert await phone.is_silent()
    assert user.requests.empty()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        pytest.param(_request("DANCE"), 405, id="unknown-method"),
        pytest.param(_request("OPTIONS").replace(b"sip:bob@127.0.0.1", b"gopher:x"), 416, id="scheme"),
        pytest.param(_request("OPTIONS", extra="Require: nothingSupportsThis\r\n"), 420, id="extension"),
        pytest.param(_request("OPTIONS").replace(b"SIP/2.0\r\n", b"SIP/7.0\r\n", 1), 505, id="version"),
        pytest.param(_request("OPTIONS").replace(b"CSeq: 1 OPTIONS", b"CSeq: 1 INVITE"), 400, id="cseq"),
        pytest.param(_request("INVITE", extra="Max-Forwards: 0\r\n"), 483, id="hops-used-up"),
        pytest.param(_request("OPTIONS", extra="Max-Forwards: 0\r\n"), 200, id="hops-used-up-by-an-end-point's"),
        pytest.param(_request("DANCE", extra="Require: x\r\n").replace(b"sip:bob@127.0.0.1", b"tel:1"), 405, id="1st"),
        pytest.param(
            _request("INVITE", extra="Require: x\r\nMax-Forwards: 0\r\n").replace(b"sip:bob@127.0.0.1", b"tel:1"),
            416,
            id="scheme-before-hops",
        ),
        pytest.param(_request("INVITE", extra="Require: x\r\nMax-Forwards: 0\r\n"), 483, id="hops-before-extension"),
        pytest.param(_request("INVITE", extra="Require: x\r\nAccept: a/b\r\n"), 420, id="extension-before-content"),
    ],
)
async def test_refusals_before_the_method_is_looked_at(phone: Phone, data: bytes, status: int) -> None:
    """In the order of RFC 3261 8.2 and, for what only a proxy could do, 16.3."""
    await phone.send(data)
    response = await phone.receive()

    assert isinstance(response, Response)
    assert status == response.status


async def test_a_request_that_was_forked_on_its_way_is_taken_once(phone: Phone, user: User) -> None:
    """RFC 3261 8.2.2.2: 482 while the other copy is under way; not within a dialog, nor once that is answered."""
    await phone.send(_request("INVITE", "z9hG4bK1"))
    request, transaction = await user.requests.get()
    await phone.send(_request("INVITE", "z9hG4bK2"))
    merged = await phone.receive()
    await phone.send(
        _request("INVITE", "z9hG4bK3").replace(b"To: <sip:bob@acme.test>", b"To: <sip:bob@acme.test>;tag=1")
    )
    await user.requests.get()
    transaction.respond(Response.to_request(request, 486))
    await phone.receive()
    await phone.send(_request("INVITE", "z9hG4bK4"))
    await user.requests.get()

    assert isinstance(merged, Response)
    assert (482, "z9hG4bK2") == (merged.status, merged.via.branch)


async def test_options_that_asks_for_another_body_is_answered_without_one(phone: Phone) -> None:
    """RFC 3261 11.2: a body in the answer is optional. sipsak asks for text/plain."""
    await phone.send(_request("OPTIONS", extra="Accept: text/plain\r\n"))
    response = await phone.receive()

    assert isinstance(response, Response)
    assert (response.status, response.body) == (200, b"")


@pytest.mark.parametrize(
    "data",
    [b"", b"\r\n\r\n", b"\0", b"nonsense\r\n\r\n", b"\xff" * 60_000, b"SIP/2.0 200 OK\r\n\r\n", b"A" * 65_507],
    ids=["empty", "keepalive", "nul", "nonsense", "noise", "bare-response", "long"],
)
async def test_noise_is_dropped_and_the_next_request_is_answered(phone: Phone, data: bytes) -> None:
    await phone.send(data)
    await phone.send(_request("OPTIONS"))

    assert isinstance(await phone.receive(), Response)


async def test_a_request_of_ours_is_repeated_until_it_is_answered(endpoint: Endpoint, phone: Phone) -> None:
    """RFC 3261 17.1.2.2: timer E."""
    answers: asyncio.Queue[Response] = asyncio.Queue()
    flow = Flow.between(Transport.UDP, endpoint.bound[0][1], phone.address)
    endpoint.request(_ours("NOTIFY"), flow, answers.put_nowait, pytest.fail)
    first, second = await phone.receive(), await phone.receive()
    assert isinstance(first, Request)
    assert isinstance(second, Request)
    assert first.encode() == second.encode()

    await phone.send(Response.to_request(first, 489).encode())
    assert (await asyncio.wait_for(answers.get(), WAIT)).status == 489


async def test_a_cancel_waits_for_the_first_provisional_response(endpoint: Endpoint, phone: Phone) -> None:
    """RFC 3261 9.1: no CANCEL before a provisional response; the INVITE's final response still comes, and is acked."""
    answers: asyncio.Queue[Response] = asyncio.Queue()
    flow = Flow.between(Transport.UDP, endpoint.bound[0][1], phone.address)
    transaction = endpoint.request(_ours("INVITE"), flow, answers.put_nowait, pytest.fail)
    invite = await phone.receive()
    assert isinstance(invite, Request)
    transaction.cancel(("Reason", "SIP;cause=200"))
    assert await phone.is_silent()

    await phone.send(Response.to_request(invite, 180, to_tag="p").encode())
    cancel = await phone.receive()
    assert isinstance(cancel, Request)
    assert (cancel.method, cancel.via.branch, cancel.first("Reason")) == ("CANCEL", invite.via.branch, "SIP;cause=200")
    await phone.send(Response.to_request(cancel, 200).encode())
    await phone.send(Response.to_request(invite, 487, to_tag="p").encode())
    ack = await phone.receive()
    assert isinstance(ack, Request)
    assert (ack.method, ack.to.tag, ack.via.branch) == ("ACK", "p", invite.via.branch)
    assert [(await answers.get()).status for _ in range(2)] == [180, 487]


async def test_a_cancelled_request_of_a_peer_ends_with_487(phone: Phone, user: User) -> None:
    """RFC 3261 9.2."""
    await phone.send(_request("INVITE"))
    await user.requests.get()
    await phone.send(_request("CANCEL"))
    statuses = {response.status for response in (await phone.receive(), await phone.receive())}  # type: ignore[union-attr]

    assert statuses == {200, 487}


async def test_a_cancel_of_nothing_is_481(phone: Phone) -> None:
    """RFC 3261 9.2."""
    await phone.send(_request("CANCEL", "z9hG4bKnone"))

    assert (await phone.receive()).status == 481  # type: ignore[union-attr]


async def test_a_2xx_is_repeated_until_its_ack(phone: Phone, user: User) -> None:
    """RFC 3261 13.3.1.4."""
    await phone.send(_request("INVITE"))
    request, transaction = await user.requests.get()
    transaction.respond(Response.to_request(request, 200))
    first, second = await phone.receive(), await phone.receive()
    assert first.encode() == second.encode()  # type: ignore[union-attr]

    transaction.acknowledged()
    assert await phone.is_silent(1.2)


async def test_messages_of_a_stream_are_cut_and_answered_on_their_connection(endpoint: Endpoint) -> None:
    """RFC 3261 18.3, RFC 5626 4.4.1: two in one segment, one over two, a ping between; the pong waits for nothing."""
    reader, writer = await asyncio.open_connection(*endpoint.bound[1][1])
    one, two, three = (request_text("OPTIONS", f"z9hG4bK{n}", call_id=f"c{n}") for n in range(3))
    writer.write(one + b"\r\n\r\n" + two + three[:20])
    pong_and_first = await asyncio.wait_for(reader.readuntil(b"Content-Length: 0\r\n\r\n"), WAIT)
    second = await asyncio.wait_for(reader.readuntil(b"Content-Length: 0\r\n\r\n"), WAIT)
    writer.write(three[20:])
    last = await asyncio.wait_for(reader.readuntil(b"Content-Length: 0\r\n\r\n"), WAIT)
    writer.close()

    assert pong_and_first.startswith(b"\r\nSIP/2.0 200")
    assert second.startswith(b"SIP/2.0 200")
    assert b"branch=z9hG4bK2" in last


async def test_a_stream_that_is_not_sip_is_closed(endpoint: Endpoint) -> None:
    reader, writer = await asyncio.open_connection(*endpoint.bound[1][1])
    writer.write(b"x" * 20_000)

    assert await asyncio.wait_for(reader.read(), WAIT) == b""
    writer.close()


async def test_a_lost_connection_fails_what_waits_on_it(endpoint: Endpoint, user: User) -> None:
    """RFC 3261 18.4: the transport error is told at once, not after 32 seconds."""
    _, writer = await asyncio.open_connection(*endpoint.bound[1][1])
    writer.write(_request("BYE").replace(b"/UDP", b"/TCP"))
    _, transaction = await user.requests.get()
    failures: asyncio.Queue[SipError] = asyncio.Queue()
    endpoint.request(_ours("NOTIFY"), transaction.flow, pytest.fail, failures.put_nowait)
    writer.transport.abort()

    assert isinstance(await asyncio.wait_for(failures.get(), WAIT), TransportFailed)
    assert await asyncio.wait_for(user.lost.get(), WAIT) == transaction.flow


async def test_sending_on_a_connection_that_is_gone_fails(endpoint: Endpoint) -> None:
    failures: asyncio.Queue[SipError] = asyncio.Queue()
    gone = Flow.between(Transport.TCP, endpoint.bound[1][1], Address(LOCALHOST, 9), 7)
    endpoint.request(_ours("NOTIFY"), gone, pytest.fail, failures.put_nowait)

    assert isinstance(await asyncio.wait_for(failures.get(), WAIT), TransportFailed)


async def test_nothing_is_left_when_a_transaction_is_over(endpoint: Endpoint, phone: Phone) -> None:
    """RFC 3261 8.2.7: what is answered without state leaves none."""
    await phone.send(_request("DANCE"))
    await phone.receive()

    assert len(endpoint.transactions) == 0


async def test_a_name_that_does_not_resolve_fails(endpoint: Endpoint) -> None:
    with pytest.raises(TransportFailed):
        await endpoint.flow_to(SipUri.parse("sip:1@no-such-host.invalid"))


def _ours(method: str) -> Request:
    request = Request(method, "sip:bob@127.0.0.1")
    request.add("From", "<sip:roost@127.0.0.1>;tag=r")
    request.add("To", "<sip:bob@acme.test>")
    request.add("Call-ID", "ours")
    request.add("CSeq", f"1 {method}")
    request.add("Max-Forwards", "70")
    return request


async def test_a_cancel_right_behind_its_invite_ends_it_before_anybody_is_asked(phone: Phone, user: User) -> None:
    """RFC 3261 9.2; both are read before the first is handed over."""
    await phone.send(_request("INVITE"))
    await phone.send(_request("CANCEL"))
    answers = [await phone.receive(), await phone.receive()]

    assert {(200, "CANCEL"), (487, "INVITE")} == {(answer.status, answer.cseq.method) for answer in answers}  # type: ignore[union-attr]
    assert user.requests.empty()
