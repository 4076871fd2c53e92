"""Whole messages: parsed, judged and encoded back."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire import faults_of

from sip.errors import LocalProtocolError, ParseError
from sip.headers import CSeq
from sip.message import MAX_HEADER_LINE, MAX_HEADER_LINES, Request, Response, parse_message, reason_phrase

if TYPE_CHECKING:
    from sip.message import Message

DATA = Path(__file__).parent / "data" / "sip"
OWN = sorted(DATA.glob("*.sip"))

REGISTER = (
    b"REGISTER sip:example.com SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.4:5060;branch=z9hG4bK1\r\n"
    b"From: <sip:alice@example.com>;tag=1\r\n"
    b"To: <sip:alice@example.com>\r\n"
    b"Call-ID: c1\r\n"
    b"CSeq: 2 REGISTER\r\n"
    b"Content-Length: 0\r\n\r\n"
)


def content(message: Message) -> tuple[object, ...]:
    """Return all that a message says."""
    fields = {name: message.lines(name) for name in message.names() if name != "Content-Length"}
    start = (message.method, message.uri) if isinstance(message, Request) else (message.status, message.reason)
    return start, fields, message.body


@pytest.mark.parametrize("file", OWN, ids=lambda file: file.stem)
def test_own_messages_are_without_fault_and_written_back(file: Path) -> None:
    """Parsed, encoded, and parsed again: the same message."""
    message = parse_message(file.read_bytes())

    assert message.defect is None
    assert content(message) == content(parse_message(message.encode()))


@pytest.mark.parametrize("file", [file for file in OWN if "compact" not in file.stem], ids=lambda file: file.stem)
def test_canonical_messages_are_written_back_to_the_byte(file: Path) -> None:
    """Order, spelling and bodies stay."""
    assert file.read_bytes() == parse_message(file.read_bytes()).encode()


@pytest.mark.parametrize("file", OWN, ids=lambda file: file.stem)
def test_a_message_cut_short_is_never_taken_for_whole(file: Path) -> None:
    """At every offset it is refused or known to be defective."""
    whole = file.read_bytes()
    for offset in range(len(whole)):
        with suppress(ParseError):
            assert parse_message(whole[:offset]).defect is not None


@pytest.mark.parametrize("file", OWN, ids=lambda file: file.stem)
def test_what_follows_the_message_in_its_datagram_is_ignored(file: Path) -> None:
    """Content-Length ends it (RFC 3261 18.3)."""
    whole = file.read_bytes()

    assert content(parse_message(whole)) == content(parse_message(whole + REGISTER))


def test_compact_and_folded_headers_are_read() -> None:
    """RFC 3261 7.3.1 and 7.3.3, all at once."""
    message = parse_message((DATA / "register-compact-folded.sip").read_bytes())

    assert (message.call_id, message.cseq) == ("reg-2@192.0.2.10", CSeq(7, "REGISTER"))
    assert (message.from_.display, message.from_.tag) == ("Desk", "desk-2")
    assert message.to.uri == "sip:desk@office.example"
    assert (message.via.transport, message.via.port, message.via.branch) == ("TCP", 5060, "z9hG4bK-reg-2")
    assert len(message.values("Via")) == 2
    assert message.values("Contact") == [
        "<sip:desk@192.0.2.10>;q=0.7",
        '"Desk, \\"upper\\" floor" <sip:desk@192.0.2.11>',
    ]
    assert (message.first("Expires"), message.tokens("Supported")) == ("300", {"path"})


def test_body_is_bytes() -> None:
    """Never decoded (RFC 3261 7.4)."""
    message = parse_message((DATA / "message-binary.sip").read_bytes())

    assert message.content_type == "multipart/mixed"
    assert message.body.endswith(b"\x00\xff\xfe\r\n\r\n\x80\r\n--x--\r\n")


def test_octets_that_are_no_utf_8_survive() -> None:
    """A header is passed on as it came."""
    wire = REGISTER.replace(b"Call-ID: c1", b"Call-ID: c\xff\xfe1")

    assert wire == parse_message(wire).encode()


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        pytest.param(b"SIP/2.0\r\nVia", b"SIP/7.0\r\nVia", 505, id="version"),
        pytest.param(b"SIP/2.0\r\nVia", b"sip/2.0\r\nVia", 400, id="version-in-lower-case"),
        pytest.param(b" sip:example.com ", b"  sip:example.com ", 400, id="two-spaces"),
        pytest.param(b"SIP/2.0\r\nVia", b"SIP/2.0 \r\nVia", 400, id="space-at-the-end"),
        pytest.param(b"sip:example.com", b"sip:example.com; lr", 400, id="space-in-the-request-uri"),
        pytest.param(b"sip:example.com", b"sip:example\n.com", 400, id="line-feed-in-the-request-uri"),
        pytest.param(b"Call-ID: c1", b"Call-ID", 400, id="line-without-colon"),
        pytest.param(b"Call-ID: c1", b": c1", 400, id="line-without-name"),
        pytest.param(b"Call-ID: c1", b"Call-ID: c\n1", 400, id="bare-lf"),
        pytest.param(b"Call-ID: c1", b"Call-ID: c\r1", 400, id="bare-cr"),
        pytest.param(b"Call-ID: c1", b"Call-ID: " + b"c" * (MAX_HEADER_LINE + 1), 400, id="line-too-long"),
        pytest.param(b"Call-ID: c1", b"N" * 257 + b": x", 400, id="name-too-long"),
        pytest.param(b"Call-ID: c1", b"\r\n".join([b"X: y"] * MAX_HEADER_LINES), 400, id="too-many-lines"),
        pytest.param(b"Content-Length: 0", b"Content-Length: 1", 400, id="body-too-short"),
        pytest.param(b"Content-Length: 0", b"Content-Length: -1", 400, id="negative-length"),
        pytest.param(b"Content-Length: 0", b"Content-Length: +0", 400, id="length-with-sign"),
        pytest.param(b"Content-Length: 0", b"Content-Length: \xd9\xa0", 400, id="length-in-other-digits"),
        pytest.param(b"Content-Length: 0", b"Content-Length: 0\r\nl: 0", 400, id="two-lengths"),
        pytest.param(b"\r\n\r\n", b"\r\n", 400, id="no-empty-line"),
    ],
)  # fmt: skip
def test_defect_is_kept_so_that_the_request_can_be_answered(old: bytes, new: bytes, status: int) -> None:
    """The first fault, with the status of the answer (RFC 3261 8.2, 16.3)."""
    message = parse_message(REGISTER.replace(old, new))

    assert isinstance(message, Request)
    assert message.defect is not None
    assert status == message.defect.status
    assert message.method == "REGISTER"


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\r\n\r\n", id="keepalive"),
        pytest.param(b"\x00\x00", id="zeros"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="http"),
        pytest.param(b"REGISTER sip:h\r\n\r\n", id="request-without-version"),
        pytest.param(b"RE(GISTER sip:h SIP/2.0\r\n\r\n", id="method-is-no-token"),
        pytest.param(b"M" * 65 + b" sip:h SIP/2.0\r\n\r\n", id="method-too-long"),
        pytest.param(b"SIP/2.0 4294967301 better not break the receiver\r\n\r\n", id="rfc4475-bigcode"),
        pytest.param(b"SIP/2.0 OK\r\n\r\n", id="response-without-status"),
        pytest.param(b"SIP/2.0 700 x\r\n\r\n", id="status-out-of-range"),
        pytest.param(b"SIP/3.0 200 OK\r\n\r\n", id="response-of-another-version"),
        pytest.param(b"\xff\xfe\xfd", id="no-utf-8"),
    ],
)
def test_what_cannot_be_answered_is_a_parse_error(wire: bytes) -> None:
    """There is nobody to tell."""
    with pytest.raises(ParseError):
        parse_message(wire)


def test_line_breaks_of_a_peer_never_reach_an_answer() -> None:
    """A bare CR or LF is read as a space, so that nothing which repeats the value ends its line there."""
    wire = REGISTER.replace(b"Call-ID: c1", b"Call-ID: c\n1\rX: y").replace(b"tag=1", b"tag=1\nInjected: yes")
    request = parse_message(wire)
    assert isinstance(request, Request)
    answer = Response.to_request(request, 400).encode()

    assert answer.count(b"\n") == answer.count(b"\r") == answer.count(b"\r\n")
    assert not any(line.startswith((b"Injected", b"X:")) for line in answer.split(b"\r\n"))


@pytest.mark.parametrize(
    ("line", "status", "reason"),
    [
        (b"SIP/2.0 200 OK", 200, "OK"),
        (b"SIP/2.0 100 ", 100, ""),
        (b"SIP/2.0 100", 100, ""),
        (b"sip/2.0  486 Busy  Here", 486, "Busy  Here"),
        ("SIP/2.0 200 сто девяносто девять".encode(), 200, "сто девяносто девять"),
    ],
)
def test_status_line_is_read(line: bytes, status: int, reason: str) -> None:
    """The reason phrase may be anything, or nothing (RFC 4475 3.1.1.12, 3.1.1.13)."""
    response = parse_message(line + REGISTER[REGISTER.index(b"\r\n") :])

    assert isinstance(response, Response)
    assert (status, reason) == (response.status, response.reason)
    assert response.defect is None


@pytest.mark.parametrize(
    ("status", "final", "success"), [(100, False, False), (200, True, True), (299, True, True), (404, True, False)]
)
def test_class_of_a_response(status: int, *, final: bool, success: bool) -> None:
    """RFC 3261 7.2."""
    response = Response(status)

    assert (final, success) == (response.final, response.success)


@pytest.mark.parametrize(
    ("status", "phrase"), [(200, "OK"), (423, "Interval Too Brief"), (418, "I'm a Teapot"), (699, "Unknown")]
)
def test_reason_phrase_of_any_status(status: int, phrase: str) -> None:
    """SIP's own, then HTTP's, then something."""
    assert phrase == reason_phrase(status)


@pytest.mark.parametrize(
    ("to", "status", "answered"),
    [
        pytest.param("<sip:a@h>", 200, "<sip:a@h>;tag=t", id="tag-added"),
        pytest.param("sip:a@h", 200, "sip:a@h;tag=t", id="bare-address"),
        pytest.param("<sip:a@h>;tag=x", 200, "<sip:a@h>;tag=x", id="tag-there"),
        pytest.param("<sip:a@h> ; TAG = x", 200, "<sip:a@h> ; TAG = x", id="tag-there-in-another-spelling"),
        pytest.param('";tag=x" <sip:a@h;tag=y>', 200, '";tag=x" <sip:a@h;tag=y>;tag=t', id="tag-of-something-else"),
        pytest.param("<sip:a@h>", 100, "<sip:a@h>", id="not-in-100"),
    ],
)
def test_response_repeats_the_request_and_adds_our_tag(to: str, status: int, answered: str) -> None:
    """RFC 3261 8.2.6.2."""
    request = parse_message(REGISTER)
    assert isinstance(request, Request)
    request.set("To", to)
    request.set("Via", "SIP/2.0/UDP a", "SIP/2.0/UDP b")
    request.set("Contact", "<sip:x@y>")
    response = Response.to_request(request, status, to_tag="t")

    assert response.lines("To") == [answered]
    assert response.lines("Via") == ["SIP/2.0/UDP a", "SIP/2.0/UDP b"]
    assert list(response.names()) == ["Via", "From", "To", "Call-ID", "CSeq"]
    assert request.lines("To") == [to]


def test_headers_can_be_read_in_every_way() -> None:
    """By line, by value, as tokens, or as the only one."""
    request = Request("OPTIONS", "sip:h")
    request.add("Supported", "path, Outbound")
    request.add("Supported", "gruu,")

    assert request.first("Supported") == "path, Outbound"
    assert request.lines("Supported") == ["path, Outbound", "gruu,"]
    assert request.values("Supported") == ["path", "Outbound", "gruu", ""]
    assert request.tokens("Supported") == {"path", "outbound", "gruu"}
    with pytest.raises(ParseError, match="more than once"):
        request.one("Supported")
    request.set("Supported")
    assert (request.first("Supported"), request.lines("Supported"), request.values("Supported")) == (None, [], [])
    with pytest.raises(ParseError, match="Supported is missing"):
        request.one("Supported")


@pytest.mark.parametrize("name", ["call_id", "cseq", "from_", "to", "via"])
def test_mandatory_header_that_is_missing_is_a_parse_error(name: str) -> None:
    """RFC 3261 8.1.1; RFC 4475 3.3.1."""
    with pytest.raises(ParseError, match="missing"):
        getattr(Request("OPTIONS", "sip:h"), name)


@pytest.mark.parametrize("value", ["a\r\nVia: b", "a\n", "\r"])
def test_nothing_of_ours_breaks_out_of_its_line(value: str) -> None:
    """Whatever a client of the API asks for."""
    request = Request("OPTIONS", "sip:h")
    with pytest.raises(LocalProtocolError):
        request.add("Subject", value)
    with pytest.raises(LocalProtocolError):
        request.set("Subject", "x", value)
    with pytest.raises(LocalProtocolError):
        Response(200, value).encode()
    with pytest.raises(LocalProtocolError):
        Request("OPTIONS", f"sip:{value}").encode()


def test_content_length_is_always_true() -> None:
    """Whatever stood in the message before."""
    request = Request("INFO", "sip:h", b"12345")
    request.add("Content-Length", "99")

    assert request.encode() == b"INFO sip:h SIP/2.0\r\nContent-Length: 5\r\n\r\n12345"


_bytes = st.binary() | st.lists(
    st.sampled_from(
        [b"\r\n", b"\n", b" ", b":", b"SIP/2.0", b"INVITE", b"sip:h", b"Via", b"l", b"1", b"\t", b";", b"\xff"]
    )
).map(b"".join)


@given(_bytes | _bytes.map(lambda tail: REGISTER[:-2] + tail))
def test_no_bytes_raise_anything_but_a_parse_error(wire: bytes) -> None:
    """And what is parsed without defect is the same message when it has gone out and come back."""
    try:
        message = parse_message(wire)
    except ParseError:
        return
    faults_of(message)
    if message.defect is None:
        assert content(message) == content(parse_message(message.encode()))


@given(st.data())
def test_mutated_messages_raise_nothing_but_parse_errors(data: st.DataObject) -> None:
    """A few bytes of a good message are replaced, taken out or put in."""
    wire = bytearray(data.draw(st.sampled_from(OWN)).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(wire)))
        wire[start : start + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    with suppress(ParseError):
        faults_of(parse_message(bytes(wire)))


@pytest.mark.parametrize(
    "unit", [b"a", b" ", b"\r\n", b"\n", b"\r\n ", b"\r\na:", b"\r\na:b", b",", b"\x00", b"SIP/2.0 "]
)
@pytest.mark.parametrize("head", [b"", b"INVITE ", b"INVITE sip:h SIP/2.0\r\n", b"SIP/2.0 200 ", REGISTER[:-4]])
def test_long_message_of_one_repeated_piece_is_parsed_fast(head: bytes, unit: bytes) -> None:
    """A datagram's worth takes milliseconds, whatever it is made of."""
    wire = head + (unit * 60_000)[:60_000]
    began = time.process_time()
    with suppress(ParseError):
        faults_of(parse_message(wire))

    assert time.process_time() - began < 0.5
