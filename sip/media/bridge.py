"""What the core and a worker say to each other, beside SIP: a line of JSON each, over a socketpair.

Rule: one end is a process that parses what phones send, and may be anybody's by now. A line of its is read within
`MAX_LINE`, and one that is none of these ends it.
"""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, TypeAlias

from sip.errors import ParseError
from sip.mediaplan import Source
from sip.outcome import Side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MAX_LINE: Final = 4096
PORTS_PER_CALL: Final = 4
"""UDP ports that a worker uses: RTP and RTCP, on two sides."""
LOOPBACK: Final = "127.0.0.1"
DIGITS: Final = frozenset("0123456789*#ABCD")


@dataclass(frozen=True, slots=True)
class Begin:
    """To the worker: get ready for a call."""

    token: str
    """What the user parts of its two INVITEs begin with; nobody else knows it."""
    rtp_port: int
    """The first of `PORTS_PER_CALL` consecutive ports for RTP and RTCP."""


@dataclass(frozen=True, slots=True)
class Hear:
    """To the worker: from now on, let a side hear this."""

    side: Side
    source: Source


@dataclass(frozen=True, slots=True)
class Warm:
    """From the worker: it runs."""


@dataclass(frozen=True, slots=True)
class Ready:
    """From the worker: it takes the two INVITEs at this UDP port of the loopback address."""

    sip_port: int


@dataclass(frozen=True, slots=True)
class Pressed:
    """From the worker: a key was pressed (RFC 4733)."""

    side: Side
    digit: str


@dataclass(frozen=True, slots=True)
class Fault:
    """From the worker: it cannot go on, and why."""

    reason: str


Command: TypeAlias = "Begin | Hear"
Event: TypeAlias = "Warm | Ready | Pressed | Fault"
Message: TypeAlias = "Command | Event"


def user_of(token: str, side: Side) -> str:
    """Return the user part of the Request-URI by which a worker knows a side's INVITE."""
    return f"{token}-{side.value}"


def encode(message: Message) -> bytes:
    """Return the line that says it."""
    values = [value.value if isinstance(value, Enum) else value for value in astuple(message)]
    return json.dumps([type(message).__name__, *values]).encode() + b"\n"


class Lines:
    """Cuts what arrives into messages."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Message]:
        """Yield the messages that are complete now. Raises ParseError."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_LINE:
            raise ParseError("a line of the media worker is too long")
        for line in lines:
            yield decode(line)


def decode(line: bytes) -> Message:
    """Return what the line says. Raises ParseError."""
    try:
        name, *values = json.loads(line)
        return _FORMS[name](*values)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ParseError("a line between core and media worker cannot be read") from error


def _begin(token: str, rtp_port: int) -> Begin:
    return Begin(str(token), _port(rtp_port))


def _hear(side: str, source: str) -> Hear:
    return Hear(Side(side), Source(source))


def _warm() -> Warm:
    return Warm()


def _ready(sip_port: int) -> Ready:
    return Ready(_port(sip_port))


def _pressed(side: str, digit: str) -> Pressed:
    if digit not in DIGITS:
        raise ValueError
    return Pressed(Side(side), digit)


def _fault(reason: str) -> Fault:
    return Fault(str(reason))


def _port(number: object) -> int:
    if isinstance(number, bool) or not isinstance(number, int) or not 0 < number < 65536:
        raise ValueError
    return number


_FORMS: Final[Mapping[str, Callable[..., Message]]] = {
    "Begin": _begin,
    "Hear": _hear,
    "Warm": _warm,
    "Ready": _ready,
    "Pressed": _pressed,
    "Fault": _fault,
}
