"""Messages cut out of a byte stream, however it arrives."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip.errors import ParseError
from sip.message import MAX_HEAD, MAX_MESSAGE, parse_message
from sip.stream import MAX_CUT, StreamFramer


def message(body: bytes = b"", length: str | None = None, *, name: str = "Content-Length") -> bytes:
    said = str(len(body)) if length is None else length
    return f"OPTIONS sip:h SIP/2.0\r\nCall-ID: 1\r\n{name}: {said}\r\nCSeq: 1 OPTIONS\r\n\r\n".encode() + body


PLAIN = message()
WITH_BODY = message(b"v=0\r\n\r\nv=1")
COMPACT = message(b"x", name="l")
NO_LENGTH = b"OPTIONS sip:h SIP/2.0\r\nCall-ID: 1\r\n\r\n"
FOLDED = message(b"ab", "\r\n 2")

STREAMS = [
    pytest.param(PLAIN, [PLAIN], id="one"),
    pytest.param(WITH_BODY + PLAIN, [WITH_BODY, PLAIN], id="body-with-an-empty-line"),
    pytest.param(COMPACT + WITH_BODY, [COMPACT, WITH_BODY], id="compact-form"),
    pytest.param(NO_LENGTH + PLAIN, [NO_LENGTH, PLAIN], id="no-length-is-no-body"),
    pytest.param(FOLDED + PLAIN, [FOLDED, PLAIN], id="folded-length"),
    pytest.param(message(b"ab", " 2 \t") + PLAIN, [message(b"ab", " 2 \t"), PLAIN], id="length-in-white-space"),
    pytest.param(
        message(b"a", name="CONTENT-length \t"), [message(b"a", name="CONTENT-length \t")], id="space-before-colon"
    ),
    pytest.param(b"\r\n\r\n", [b""], id="ping"),
    pytest.param(b"\r\n\r\n\r\n\r\n", [b"", b""], id="two-pings"),
    pytest.param(b"\r\n" + PLAIN, [PLAIN], id="pong-before-a-message"),
    pytest.param(PLAIN + b"\r\n\r\n" + PLAIN + b"\r\n", [PLAIN, b"", PLAIN], id="ping-between-and-pong-after"),
    pytest.param(b"\n\n\r\r\n" + PLAIN, [PLAIN], id="stray-line-ends"),
    pytest.param(b"\n\r\n\r\n" + PLAIN, [b"", PLAIN], id="stray-line-end-before-a-ping"),
]


@pytest.mark.parametrize(("stream", "messages"), STREAMS)
def test_stream_is_cut_into_messages(stream: bytes, messages: list[bytes]) -> None:
    """By Content-Length, CRLFs between messages apart (RFC 3261 18.3, 7.5; RFC 5626 4.4.1)."""
    framer = StreamFramer()

    assert messages == framer.feed(stream)
    assert not framer.waiting


@pytest.mark.parametrize(("stream", "messages"), STREAMS)
def test_it_does_not_matter_where_a_segment_ends(stream: bytes, messages: list[bytes]) -> None:
    """Cut in two at every offset, and byte by byte."""
    for offset in range(len(stream) + 1):
        framer = StreamFramer()

        assert messages == framer.feed(stream[:offset]) + framer.feed(stream[offset:])

    framer = StreamFramer()
    assert messages == [cut for byte in stream for cut in framer.feed(bytes([byte]))]


def test_a_message_waits_for_its_rest_and_line_ends_do_not() -> None:
    """Only half a message makes a connection half open; a lone CRLF is a pong."""
    framer = StreamFramer()
    framer.feed(b"\r\n")
    assert not framer.waiting
    framer.feed(PLAIN[:-1])
    assert framer.waiting
    framer.feed(PLAIN[-1:])
    assert not framer.waiting


@pytest.mark.parametrize(
    ("stream", "status"),
    [
        pytest.param(message(length="-999"), 400, id="rfc4475-ncl"),
        pytest.param(message(length="1e3"), 400, id="no-number"),
        pytest.param(message(length=""), 400, id="empty-length"),
        pytest.param(message(length="9999999999"), 400, id="too-many-digits"),
        pytest.param(message(length="70000"), 513, id="body-too-large"),
        pytest.param(
            b"OPTIONS sip:h SIP/2.0\r\nl: 1\r\nContent-Length: 2\r\n\r\nab", 400, id="two-lengths-that-differ"
        ),
        pytest.param(b"a" * (MAX_HEAD + 4), 513, id="header-without-end"),
        pytest.param(b"a" * (MAX_HEAD + 1) + b"\r\n\r\n", 513, id="header-too-long"),
    ],
)
def test_stream_that_cannot_be_followed_is_given_up(stream: bytes, status: int) -> None:
    """Whole or in pieces, where the length cannot be told there is no way to the next message."""
    with pytest.raises(ParseError) as refused:
        StreamFramer().feed(stream)
    assert status == refused.value.status

    assert _cut(*(stream[offset : offset + 7] for offset in range(0, len(stream), 7)))[-1] is None


def test_messages_before_a_fault_are_not_lost() -> None:
    """However the stream is cut into segments, what was good comes out, and then the fault."""
    framer = StreamFramer()

    assert [PLAIN, b""] == framer.feed(PLAIN + b"\r\n\r\n" + message(length="-1") + PLAIN)
    for _ in range(2):
        with pytest.raises(ParseError):
            framer.feed(b"")


def test_longest_message_passes_in_any_pieces() -> None:
    """Up to the limits, and no further."""
    head = b"OPTIONS sip:h SIP/2.0\r\nSubject: "
    length = b"\r\nContent-Length: "
    filler = b"s" * (MAX_HEAD - len(head) - len(length) - 5)
    body = b"b" * (MAX_MESSAGE - MAX_HEAD - 4)
    longest = head + filler + length + str(len(body)).encode() + b"\r\n\r\n" + body
    framer = StreamFramer()

    assert len(longest) == MAX_MESSAGE
    assert [longest] == StreamFramer().feed(longest)
    assert [longest] == [
        cut for offset in range(0, MAX_MESSAGE, 97) for cut in framer.feed(longest[offset : offset + 97])
    ]


@given(st.lists(st.binary(max_size=20)), st.data())
def test_no_stream_raises_anything_but_a_parse_error(bodies: list[bytes], data: st.DataObject) -> None:
    """Bytes of any kind, between good messages too; however cut, they give the same messages."""
    stream = b"".join(message(body) + body[:3] for body in bodies)
    offset = data.draw(st.integers(0, len(stream)))

    assert _cut(stream) == _cut(stream[:offset], stream[offset:])


@given(st.lists(st.binary(max_size=64)))
def test_whole_messages_come_out_as_they_went_in(bodies: list[bytes]) -> None:
    """What the parser says of each is what was sent."""
    cut = _cut(b"".join(map(message, bodies)))

    assert bodies == [parse_message(item).body for item in cut if item is not None]


@pytest.mark.parametrize("unit", [b"\n", b"\r", b"\r\n", b"\n\r", b"a", b"\r\nl:", b"\r\n ", b"l: 1\r\n", b"\r\na"])
def test_long_stream_of_one_repeated_piece_is_cut_fast(unit: bytes) -> None:
    """Whole and in small pieces, without a step back over what was seen, and without recursion."""
    stream = (unit * 60_000)[:60_000]
    began = time.process_time()
    _cut(stream)
    _cut(*(stream[offset : offset + 64] for offset in range(0, len(stream), 64)))

    assert time.process_time() - began < 1


def test_many_small_messages_come_out_in_portions() -> None:
    """One call cuts some, the next ones the rest: a segment of keepalives must not hold everybody up."""
    framer = StreamFramer()

    assert MAX_CUT == len(framer.feed(b"\r\n\r\n" * (2 * MAX_CUT + 1)))
    assert [MAX_CUT, 1, 0] == [len(framer.feed(b"")) for _ in range(3)]
    large = message(b"x" * (MAX_MESSAGE // 2))
    assert [2, 2, 0] == [len(framer.feed(large * 4)), len(framer.feed(b"")), len(framer.feed(b""))]


def _cut(*pieces: bytes) -> list[bytes | None]:
    """Return the messages, and None where the stream was given up."""
    framer = StreamFramer()
    messages: list[bytes | None] = []
    try:
        for piece in (*pieces, b""):
            messages += framer.feed(piece)
            while more := framer.feed(b""):
                messages += more
    except ParseError:
        messages.append(None)
    return messages
