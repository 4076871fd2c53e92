"""The torture messages of RFC 4475 and those of real phones, sent to the running daemon by datagram and by stream.

They stand beside the checkout, not in it; without them these tests are skipped.
"""

from __future__ import annotations

import asyncio
import csv
import re
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from sip_user import WAIT, request_text

from api.ports import Draft, Kind
from config.listen import HostPort, Listener
from config.settings import ApiSettings, Settings, SipSettings, StoreSettings
from daemon.app import Roost
from daemon.store import Store
from sip.errors import ParseError
from sip.message import Request, Response, parse_message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from api.ports import JsonObject
    from sip.flow import Address

CORPUS = Path(__file__).parents[2] / "shared" / "corpus"
TORTURE = CORPUS / "rfc4475"
PHONES = sorted((CORPUS / "phones").glob("*.sip"))
SOURCES: Final = {"user": "127.0.0.71", "watson": "127.0.0.72", "null-%00-null": "127.0.0.73"}
"""Devices that are known by their address, so that their REGISTERs need no digest."""
SENTINEL: Final = "z9hG4bKsentinel"
"""The branch of a good request that is sent after the message: what comes before its answer is to the message."""
LISTENERS: Final = ("udp:127.0.0.1:0", "tcp:127.0.0.1:0")

pytestmark = pytest.mark.skipif(not TORTURE.is_dir(), reason="the corpus does not stand beside the checkout")

ANSWERS: Final[dict[str, int | None]] = {
    "wsinv": 481,  # its To has a tag, so it belongs to a dialog that we do not have
    "intmeth": 405,
    "esc01": 403,
    "escnull": 200,
    "esc02": 405,
    "lwsdisp": 200,
    "longreq": 403,
    "dblreq": 401,
    "semiuri": 200,
    "transports": 200,
    "mpart01": 405,
    "unreason": None,
    "noreason": None,
    "badinv01": 400,
    "clerr": 400,
    "ncl": 400,
    "scalar02": 400,
    "scalarlg": None,
    "quotbal": 400,
    "ltgtruri": 400,
    "lwsruri": 400,
    "lwsstart": 400,
    "trws": 400,
    "escruri": 403,  # its headers are not obeyed
    "baddate": 403,  # its Date is not read
    "regbadct": 400,
    "badaspec": 200,  # read as it was meant
    "baddn": 400,
    "badvers": 505,
    "mismatch01": 400,
    "mismatch02": 400,
    "bigcode": None,
    "badbranch": 200,
    "insuf": 400,
    "unkscm": 416,
    "novelsc": 416,
    "unksm2": 400,
    "bext01": 420,
    "invut": 415,
    "regaut01": 401,
    "multi01": 400,
    "mcl01": 400,
    "bcast": None,
    "zeromf": 200,
    "cparam01": 200,
    "cparam02": 200,
    "regescrt": 200,
    "sdp01": 406,
    "inv2543": 403,
}
"""What the daemon answers; None is nothing. An INVITE that is well formed is 403, for calls are not routed."""

BY_STREAM: Final[dict[str, int | None]] = {"clerr": None, "ncl": None, "mcl01": None}
"""Where a stream differs: the first waits for its rest, of the others nobody knows where they end."""

REGISTERED: Final = {
    "escnull": {"sip:%00@host5.example.com", "sip:%00%00@host5.example.com"},
    "cparam01": {"sip:+19725552222@gw1.example.net"},
    "cparam02": {"sip:+19725552222@gw1.example.net;unknownparam"},
    "regescrt": {"sip:user@example.com?Route=%3Csip:sip.example.com%3E"},
}
"""The contacts of the 200, by message."""


@pytest.fixture
async def roost(tmp_path: Path) -> AsyncIterator[Roost]:
    """Run a daemon that serves the domain of the messages, and believes their source to be most of its devices."""
    path = tmp_path / "roost.db"
    store = await Store.open(path)
    account = await store.create_master("Torture", "example.com")
    for number, (user, source) in enumerate(SOURCES.items()):
        sip: JsonObject = {"username": user, "method": "ip", "ip": source}
        await store.documents.create(Draft(Kind.DEVICE, account.account_id, f"d{number}", {"name": user, "sip": sip}))
    data: JsonObject = {"name": "j.user", "sip": {"username": "j.user", "password": "correct-horse"}}
    await store.documents.create(Draft(Kind.DEVICE, account.account_id, "d", data))
    await store.close()
    listen = tuple(map(Listener.parse, LISTENERS))
    roost = Roost(
        Settings(
            sip=SipSettings(listen=listen, drop_strangers=False, qualify_interval=0.0),
            api=ApiSettings(listen=HostPort("127.0.0.1", 0)),
            store=StoreSettings(path=str(path)),
        )
    )
    try:
        await roost.start()
        yield roost
    finally:
        await roost.stop()


def expectations() -> list[tuple[str, str]]:
    if not TORTURE.is_dir():
        return []
    with (TORTURE / "EXPECT.tsv").open(encoding="utf-8") as file:
        rows = csv.DictReader(file, delimiter="\t")
        return [(row["file"].removesuffix(".dat"), row["expected (RFC 4475, shortened)"]) for row in rows]


def statuses_of(expected: str) -> set[int | None]:
    """Return the statuses that a sentence of EXPECT.tsv leaves open; without a number it may be any, or none."""
    named = {int(code) for code in re.findall(r"\b[2-6]\d\d\b", expected)}
    free = not named or any(word in expected for word in ("liberal", "ignore", " or ", "discard", "end point"))
    return set(ANSWERS.values()) if free else set(named)


def listening(roost: Roost, index: int) -> Address:
    assert roost._endpoint is not None
    return roost._endpoint.bound[index][1]


async def by_datagram(roost: Roost, wire: bytes, *, answered: bool) -> list[Response]:
    """Send the message from the port that it names, and return what is answered before another request is.

    Where an answer must come it is waited for first: a REGISTER is answered when it is stored, after what is not.
    """
    server, loop = listening(roost, 0), asyncio.get_running_loop()
    with socket.socket(type=socket.SOCK_DGRAM) as phone:
        phone.setblocking(False)
        await bind_when_free(phone, (source_of(wire), reply_port(wire)))
        await loop.sock_sendto(phone, wire, server)
        answers = [await next_answer(phone)] if answered else []
        await loop.sock_sendto(phone, request_text(branch=SENTINEL, transport="UDP"), server)
        while not is_sentinel(answer := await next_answer(phone)):
            answers.append(answer)
        return answers


async def bind_when_free(phone: socket.socket, address: tuple[str, int]) -> None:
    """Wait for a scanner in a test beside this one, which takes the port of all addresses for a while."""
    for _ in range(300):
        with suppress(OSError):
            phone.bind(address)
            return
        await asyncio.sleep(0.1)
    pytest.skip(f"something else is at port {address[1]} of all addresses")


async def next_answer(phone: socket.socket) -> Response:
    data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(phone, 65535), WAIT)
    answer = parse_message(data)
    assert isinstance(answer, Response)
    return answer


def reply_port(wire: bytes) -> int:
    try:
        return parse_message(wire).via.port or 5060
    except ParseError:
        return 5060


def is_sentinel(answer: Response) -> bool:
    return SENTINEL in (answer.first("Via") or "")


def source_of(wire: bytes) -> str:
    """Return the address of the device that the message is from."""
    return next((source for user, source in SOURCES.items() if f"To: sip:{user}@".encode() in wire), SOURCES["user"])


async def by_stream(roost: Roost, wire: bytes, *, answered: bool) -> list[Response]:
    """Send the message, then a good one, and end; return the answers but that to the good one.

    Where an answer must come it is waited for: a REGISTER is answered when it is stored, after what is not.
    """
    reader, writer = await asyncio.open_connection(*listening(roost, 1), local_addr=(source_of(wire), 0))
    writer.write(wire)
    await asyncio.sleep(0.02)
    writer.write(request_text(branch=SENTINEL))
    received = b""
    try:
        while SENTINEL.encode() not in received or received.count(b"SIP/2.0 ") < 1 + answered:
            data = await asyncio.wait_for(reader.read(65536), 2.0 if answered else 0.3)
            if not data:
                break
            received += data
    except (ConnectionError, asyncio.TimeoutError):
        pass  # closed at once, or waiting for more
    writer.close()
    answers = [parse_message(part + b"\r\n\r\n") for part in received.split(b"\r\n\r\n") if part]
    return [each for each in answers if isinstance(each, Response) and not is_sentinel(each)]


@pytest.mark.parametrize(("name", "expected"), expectations())
async def test_torture_message_by_datagram(roost: Roost, name: str, expected: str) -> None:
    """Answered as EXPECT.tsv says, once or not at all, and without a fault of ours."""
    answers = await by_datagram(roost, (TORTURE / f"{name}.dat").read_bytes(), answered=ANSWERS[name] is not None)
    assert roost._endpoint is not None

    assert [ANSWERS[name]] == ([answer.status for answer in answers] or [None])
    assert 0 == roost._endpoint.transactions.dropped["our fault"]
    assert ANSWERS[name] in statuses_of(expected)
    if name in REGISTERED:
        contacts = {value.partition("<")[2].partition(">")[0] for value in answers[0].values("Contact")}
        assert REGISTERED[name] == contacts


@pytest.mark.parametrize("name", [name for name, _ in expectations()])
async def test_torture_message_by_stream(roost: Roost, name: str) -> None:
    """The same over a connection, but for those whose end a stream cannot tell."""
    expected = BY_STREAM.get(name, ANSWERS[name])
    answers = await by_stream(roost, (TORTURE / f"{name}.dat").read_bytes(), answered=expected is not None)
    assert roost._endpoint is not None

    assert expected in ([answer.status for answer in answers] or [None])
    assert 0 == roost._endpoint.transactions.dropped["our fault"]


@pytest.mark.parametrize("file", PHONES, ids=lambda file: file.stem)
async def test_message_of_a_real_phone_is_understood(roost: Roost, file: Path) -> None:
    """Whatever it asks, it is never told that its message is malformed."""
    wire = file.read_bytes()
    message = parse_message(wire)
    answers = await by_datagram(roost, wire, answered=isinstance(message, Request))
    assert roost._endpoint is not None

    assert 0 == roost._endpoint.transactions.dropped["our fault"]
    assert isinstance(message, Request) == bool(answers)
    assert not [answer.status for answer in answers if answer.status in (400, 500, 513)]
