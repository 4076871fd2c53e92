"""What core and media worker say to each other, whole and in pieces."""

from __future__ import annotations

import pytest

from config import settings
from sip.errors import ParseError
from sip.media.bridge import (
    MAX_LINE,
    PORTS_PER_CALL,
    Begin,
    Fault,
    Hear,
    Lines,
    Message,
    Pressed,
    Ready,
    Warm,
    decode,
    encode,
)
from sip.media.ports import RESTS, PortRange
from sip.mediaplan import Source
from sip.outcome import Side

MESSAGES = [
    pytest.param(Begin("f00", 9000), b'["Begin", "f00", 9000]\n', id="begin"),
    pytest.param(Hear(Side.B, Source.OTHER), b'["Hear", "b", "other"]\n', id="hear"),
    pytest.param(Warm(), b'["Warm"]\n', id="warm"),
    pytest.param(Ready(5060), b'["Ready", 5060]\n', id="ready"),
    pytest.param(Pressed(Side.A, "#"), b'["Pressed", "a", "#"]\n', id="pressed"),
    pytest.param(Fault("no\nmore"), b'["Fault", "no\\nmore"]\n', id="fault"),
]


@pytest.mark.parametrize(("message", "line"), MESSAGES)
def test_a_message_is_a_line_and_comes_back(message: Message, line: bytes) -> None:
    """Each is one line of JSON, read as it was written."""
    assert line == encode(message)
    assert message == decode(line[:-1])


def test_messages_cut_anywhere_arrive_whole() -> None:
    """A socket gives what it likes."""
    data = encode(Warm()) + encode(Ready(5060)) + encode(Pressed(Side.B, "1"))
    for cut in range(len(data)):
        lines = Lines()

        assert [Warm(), Ready(5060), Pressed(Side.B, "1")] == [*lines.feed(data[:cut]), *lines.feed(data[cut:])]


@pytest.mark.parametrize(
    "line",
    [
        b"", b"[]", b"{}", b"null", b'"Warm"', b"[1]", b'["Warm", 1]', b'["Gone"]', b'["Ready"]', b'["Ready", 0]',
        b'["Ready", 65536]', b'["Ready", "5060"]', b'["Ready", true]', b'["Ready", 5060.5]', b'["Hear", "c", "other"]',
        b'["Hear", "a", "music"]', b'["Pressed", "a", "12"]', b'["Pressed", "a", ""]', b'["Pressed", "a", []]',
        b'["Begin", "x", -1]', b"\xff\xfe", b"[" * 4000,
    ],
)  # fmt: skip
def test_what_is_no_message_is_refused(line: bytes) -> None:
    """A worker parses what phones send, and may say anything by then."""
    with pytest.raises(ParseError):
        decode(line)


def test_a_line_without_an_end_is_refused() -> None:
    """Nothing that a worker says can fill the core's memory."""
    lines = Lines()

    assert [] == list(lines.feed(b"x" * MAX_LINE))
    with pytest.raises(ParseError):
        list(lines.feed(b"x"))


def test_settings_and_workers_agree_on_the_ports_of_a_call() -> None:
    """The check of `media.max_calls` against the range counts what a worker uses."""
    assert PORTS_PER_CALL == settings.PORTS_PER_CALL


def test_no_two_calls_have_a_port_in_common() -> None:
    """Every share is even, whole and used once; an odd beginning and a rest at the end are left alone."""
    ports = PortRange(9001, 9018, lambda count: count - 1)
    taken = [ports.take(0.0) for _ in range(5)]

    assert [9014, 9010, 9006, 9002, None] == taken
    ports.give_back(9006)
    assert 9006 == ports.take(0.0)


def test_ports_that_somebody_else_has_are_left_alone_for_a_while() -> None:
    """They come back, for the other may go."""
    ports = PortRange(9000, 9003, lambda _count: 0)
    assert 9000 == ports.take(0.0)
    ports.rest(9000, 0.0)

    assert ports.take(RESTS - 1) is None
    assert 9000 == ports.take(RESTS)
