"""Messages that are built to hurt: nothing fails on them, piles up, takes long, or is answered with more than it is."""

from __future__ import annotations

import logging
import time
import tracemalloc
from itertools import product
from typing import TYPE_CHECKING

import pytest
import structlog
from deaf_registrar import DEVICE, STRANGER, DeafRegistrar
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from judged_input import AMPLIFICATION, Judge

from sip.message import MAX_HEAD, MAX_HEADER_LINE
from sip.uas import METHODS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

LONGEST = 0.010
"""Seconds of processor time that one message may take, which is what it may hold the loop up."""
ATTEMPTS = 5
"""The fastest of so many counts: the others were held up by somebody else."""
STRANGER_BY_SIX = STRANGER._replace(host="2001:db8:1111:2222:3333:4444:5555:6666", port=54321)

_NAMES = (
    "Via", "v", "From", "f", "To", "t", "Call-ID", "CSeq", "Contact", "m", "Expires", "Path", "Route", "Record-Route",
    "Require", "Supported", "Accept", "Authorization", "Max-Forwards", "Content-Length", "l", "Content-Type",
    "User-Agent", "X-Odd", "",
)  # fmt: skip
_PIECES = (
    "SIP/2.0/UDP h", "SIP/2.0/TCP [2001:db8::1]:5060", ";branch=z9hG4bK", ";rport", ";received=1.2.3.4", ";tag=", "x",
    "<sip:desk@office.example>", "sip:guest@office.example", "sip:", "<", ">", '"', "\\", ",", ";", "=", "*", "%00",
    ";expires=", "0", "1", "60", "4294967296", "99999999999999999999", "-1", ";q=", ";+sip.instance=", ";reg-id=",
    "REGISTER", "OPTIONS", "INVITE", "CANCEL", "Digest ", 'realm="office.example"', 'username="guest"', "nonce=",
    'nonce="6553f100aaaaaaaa"', 'uri="sip:office.example"', 'response="0"', "qop=auth", "nc=00000001", 'cnonce="c"',
    "\xe9", "\udcff", "\0", "\t", "\r\n ", "\n", "\r", "tel:1", "[::1]", "application/sdp",
)  # fmt: skip


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    judge = Judge()
    yield judge
    judge.close()


@pytest.fixture
async def registrar() -> AsyncIterator[DeafRegistrar]:
    registrar = DeafRegistrar()
    yield registrar
    await registrar.close()


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Measure the registrar, not the log."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


def plain(method: str = "REGISTER") -> list[str]:
    """Return the lines of a good request."""
    return [
        f"{method} sip:office.example SIP/2.0",
        "Via: SIP/2.0/UDP 192.0.2.10;rport;branch=z9hG4bK1",
        "From: <sip:desk@office.example>;tag=1",
        "To: <sip:desk@office.example>",
        "Call-ID: c",
        f"CSeq: 1 {method}",
        "Contact: <sip:desk@192.0.2.10>",
    ]


def encoded(lines: list[str], body: bytes = b"") -> bytes:
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body


_value = st.lists(st.sampled_from(_PIECES) | st.text(max_size=4), max_size=8).map("".join)
_line = st.builds("{}: {}".format, st.sampled_from(_NAMES), _value)
_method = st.sampled_from([*sorted(METHODS), "MESSAGE", "X"])


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """Take a good request, exchange some of its lines, then some of its bytes."""
    lines = plain(draw(_method))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(1, len(lines)))
        lines[at : at + draw(st.integers(0, 2))] = draw(st.lists(_line, max_size=2))
    text = "\r\n".join([*lines, "", ""])
    wire = bytearray(text.encode("utf-8", "surrogatepass") + draw(st.binary(max_size=20)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(wire)))
        wire[at : at + draw(st.integers(0, 6))] = draw(st.binary(max_size=6))
    return bytes(wire)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages())
def test_any_message_is_taken_or_left(judge: Judge, wire: bytes) -> None:
    """By datagram from a stranger and from a device, and by stream, cut in two."""
    judge(wire)


@pytest.mark.parametrize("flow", [STRANGER, STRANGER_BY_SIX], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("method", [*sorted(METHODS), "MESSAGE", "X"])
async def test_no_victim_of_a_forged_source_gets_much(registrar: DeafRegistrar, method: str, flow) -> None:  # type: ignore[no-untyped-def]
    """One answer at the most, no retransmission, and not many times as large: with the shortest requests there are."""
    uri = "sip:office.example" if method == "REGISTER" else "sip:h"
    lines = [f"{method} {uri} SIP/2.0", "v:SIP/2.0/U h;rport", "f:sip:a", "t:sip:a@office.example", "i:a"]
    lines.append(f"CSeq:1 {method}")
    for tag, more, dropped in product(("", ";tag=x"), ("", "Require:a", "Max-Forwards:0", "Accept:a"), range(2, 7)):
        short = [line + tag if line.startswith("t:") else line for line in (*lines, more) if line]
        del short[dropped:][:1]
        wire = encoded(short)
        answers = registrar.answers(wire, flow)

        assert len(answers) <= (0 if method == "ACK" else 1)
        assert sum(map(len, answers)) <= AMPLIFICATION * len(wire)
        assert 0 == len(registrar.transactions)


@pytest.mark.parametrize(
    "wire", [b"A b SIP/2.0\r\nv:SIP/2.0/U h\r\n\r\n", b"A b SIP/9.0\r\nv:SIP/2.0/U h;rport\r\n\r\n"]
)
async def test_nor_with_the_shortest_that_are_answered(registrar: DeafRegistrar, wire: bytes) -> None:
    answers = registrar.answers(wire, STRANGER_BY_SIX)

    assert 1 == len(answers)
    assert len(answers[0]) <= AMPLIFICATION * len(wire)


async def test_messages_of_strangers_leave_nothing_behind(registrar: DeafRegistrar) -> None:
    """All different, so that no memo helps: once the memos are full, memory stays as it is."""

    def send(first: int, count: int) -> None:
        for number in range(first, first + count):
            lines = [line.replace("desk", f"u{number}").replace("z9hG4bK1", f"z9hG4bK{number}") for line in plain()]
            registrar.answers(encoded([*lines, f"User-Agent: {number}", f"X-{number}: 1"]), STRANGER)

    send(0, 9_000)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        send(9_000, 3_000)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()

    # Memos exchange old entries, which were not counted, for new ones, which are.
    assert grown < 3_000 * 1_500
    assert 0 == registrar.faults
    assert 0 == len(registrar.transactions)


def filled(name: str, unit: str, *, line: int, start: str = "") -> bytes:
    """Return a good REGISTER with as many and as long lines of one header as are read."""
    lines = plain()
    while len(encoded(lines)) + 100 < MAX_HEAD and len(lines) < 250:
        room = min(line, MAX_HEAD - len(encoded(lines)) - 20) - len(name) - len(start)
        lines.append(f"{name}: {start}" + (unit * (room // len(unit) + 1))[: max(0, room)])
    return encoded(lines)


_UNITS = (
    ",", '"', '\\"', "\\", "<", ">", "<>,", '"",', ";", ";a=", ';a="', ';a="";', " ", "\t", "=", "a", "a=b,", 'a="b",',
    "%41", "@", ":", ".", "(", "<sip:a@b>,", "SIP/2.0/UDP h;branch=z9hG4bK1,", ";tag ", "\\a", "sip:a:",
)  # fmt: skip
_HEADERS = ("Via", "Contact", "Authorization", "Route", "Require", "Path", "To", "From", "Accept", "CSeq", "X-Other")
_STARTS = {"Authorization": 'Digest realm="office.example",', "Contact": "<sip:a@b>", "Via": "SIP/2.0/UDP h", "To": "<"}
WHOLE = {
    "many-lines": encoded([*plain(), *["X:y"] * 15_000]),
    "many-names": encoded([*plain(), *(f"{'a-' * 30}{number}: y" for number in range(245))]),
    "folding": encoded([*plain(), "X: a" + "\r\n b" * 15_000]),
    "empty-folding": encoded([*plain(), "X: a" + "\r\n " * 20_000]),
    "line-feeds": encoded([*plain(), "X: a" + "\n" * 60_000]),
    "long-uri": encoded([f"OPTIONS sip:a@{'b.' * 7_000} SIP/2.0", *plain("OPTIONS")[1:]]),
    "uri-parameters": encoded([f"OPTIONS sip:b{';a' * 1_000} SIP/2.0", *plain("OPTIONS")[1:]]),
    "uri-colons": encoded([f"OPTIONS sip:{'a:' * 1_000} SIP/2.0", *plain("OPTIONS")[1:]]),
    "no-head-end": b"REGISTER " + b"a" * 65_000,
    "octets": b"\xff" * 65_507,
    "zeros": b"\0" * 65_507,
    "body": encoded([*plain("INVITE"), "Content-Type: application/sdp"], b"v=0\r\n" * 12_000),
}


@pytest.mark.parametrize("name", _HEADERS)
@pytest.mark.parametrize("line", [MAX_HEADER_LINE - 100, 240], ids=["long-lines", "many-lines"])
async def test_no_header_takes_long(registrar: DeafRegistrar, name: str, line: int) -> None:
    """Whatever it is full of, from a stranger and from who needs no proof."""
    for unit in _UNITS:
        for start in {"", _STARTS.get(name, "")}:
            wire = filled(name, unit, line=line, start=start)

            assert fastest(registrar, wire) < LONGEST, (unit, start)
    assert 0 == registrar.faults


@pytest.mark.parametrize("wire", WHOLE.values(), ids=WHOLE)
async def test_no_message_takes_long(registrar: DeafRegistrar, wire: bytes) -> None:
    assert fastest(registrar, wire[:65_507]) < LONGEST
    assert 0 == registrar.faults


async def test_no_contacts_of_a_device_take_long(registrar: DeafRegistrar) -> None:
    """As many as a request may have, each with all that is read of it, again and again."""
    contact = '<sip:{}@192.0.2.10;transport=udp>;q=0.5;expires=600;+sip.instance="<urn:uuid:{}>";reg-id=1'
    lines = [*plain()[:-1], *(f"Contact: {contact.format(number, number)}" for number in range(128))]

    assert fastest(registrar, encoded(lines)) < LONGEST


def fastest(registrar: DeafRegistrar, wire: bytes) -> float:
    """Return the processor time that the message takes from a stranger or a device, whichever is longer."""
    return max(
        min(_taken(registrar, wire, flow, attempt) for attempt in range(ATTEMPTS)) for flow in (STRANGER, DEVICE)
    )


def _taken(registrar: DeafRegistrar, wire: bytes, flow, attempt: int) -> float:  # type: ignore[no-untyped-def]
    fresh = flow._replace(port=2000 + attempt)  # else it would be a retransmission
    began = time.process_time()
    registrar.answers(wire, fresh)
    return time.process_time() - began
