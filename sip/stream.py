"""Messages out of a byte stream, by Content-Length (RFC 3261 18.3), and CRLF keepalives (RFC 5626 4.4.1)."""

from __future__ import annotations

import re
from typing import Final

from sip.errors import ParseError
from sip.message import MAX_HEAD, MAX_MESSAGE

PONG: Final = b"\r\n"
"""The answer to a keepalive of two CRLFs (RFC 5626 4.4.1)."""

MAX_CUT: Final = 64  # messages that one call gives, and then as many bytes as one message may have at the most:
"""so that who sends many small ones in one segment leaves the time between them to others."""

_BREAKS = (b"\r", b"\n")
_SLACK = b"\r\n\r"  # what a keepalive begins with
_PING = re.compile(rb"[\r\n]*?\r\n\r\n")
_LINE_ENDS = re.compile(rb"[\r\n]+")
_CONTENT_LENGTH = re.compile(rb"\r\n(?:content-length|l)[ \t]*:((?:[^\r\n]|\r\n[ \t])*)", re.IGNORECASE)


class StreamFramer:
    """Cuts a stream into messages; feed it what arrives, in pieces of any size.

    `feed` returns whole messages, each as bytes, and an empty `b""` for each keepalive ping to answer. A piece that is
    one message is returned as it came, not copied. After a ParseError the stream cannot be trusted any more and its
    connection must be closed. Messages before the fault are returned first; the next call then raises.
    """

    __slots__ = ("_fault", "_need", "_rest", "_scanned", "more")

    def __init__(self) -> None:
        self._rest = b""  # it begins where a message does
        self._need = 0
        self._scanned = 0
        self._fault: ParseError | None = None
        self.more = False
        """Whether the next call may give something, messages or the fault, also with nothing new."""

    @property
    def waiting(self) -> bool:
        """Whether part of a message has arrived and the rest has not."""
        return bool(self._rest) and not _SLACK.startswith(self._rest)

    def feed(self, data: bytes) -> list[bytes]:
        """Take more of the stream. Raises ParseError where a message has no readable length or is too large."""
        if self._fault is not None:
            raise self._fault
        stream = self._rest + data if self._rest else data
        messages: list[bytes] = []
        try:
            at = self._cut(stream, messages)
        except ParseError as fault:
            self._rest, self._fault, self.more = b"", fault, bool(messages)
            if not messages:
                raise
        else:
            self._rest = stream[at:]
        return messages

    def _cut(self, stream: bytes, messages: list[bytes]) -> int:
        """Add the messages that the stream begins with, and return where the rest begins."""
        at, left = 0, MAX_MESSAGE
        while left > 0 and len(messages) < MAX_CUT:
            if not self._need and stream.startswith(_BREAKS, at):
                at, ping = _skip_line_ends(stream, at)
                self._scanned = 0
                if ping:
                    messages.append(b"")
                    continue
            end = at + self._need if self._need or self._find_end(stream, at) else len(stream) + 1
            if end > len(stream):
                self.more = False
                return at
            messages.append(stream[at:end])
            left -= self._need
            at, self._need, self._scanned = end, 0, 0
        self.more = True
        return at

    def _find_end(self, stream: bytes, at: int) -> bool:
        """Look for the end of the header in what is new, and tell whether the length of the message is known."""
        end = stream.find(b"\r\n\r\n", at + max(0, self._scanned - 3))
        self._scanned = len(stream) - at
        if (self._scanned - 3 if end < 0 else end - at) > MAX_HEAD:
            raise ParseError("the header does not end", status=513)
        if end < 0:
            return False
        self._need = end - at + 4 + _body_length(stream, at, end)
        if self._need > MAX_MESSAGE:
            raise ParseError("the message is too large", status=513)
        return True


def _skip_line_ends(stream: bytes, at: int) -> tuple[int, bool]:
    """Pass CRs and LFs between messages, and tell whether they are a ping: a double CRLF (RFC 3261 7.5, RFC 5626)."""
    if (ping := _PING.match(stream, at)) is not None:
        return ping.end(), True
    match = _LINE_ENDS.match(stream, at)
    run = match[0] if match else b""
    # What may become a ping stays until more has come.
    last = at + len(run) == len(stream)
    kept = next((size for size in (3, 2, 1) if run[-size:] == _SLACK[:size]), 0) if last else 0
    return at + len(run) - kept, False


def _body_length(stream: bytes, at: int, end: int) -> int:
    lengths = {each.strip() for each in _CONTENT_LENGTH.findall(stream, at, end)}
    # RFC 3261 20.14: MUST be used over a stream; a message without one is taken to have no body.
    if not lengths:
        return 0
    text = lengths.pop()
    if lengths or not text.isdigit() or len(text) > 9:
        raise ParseError("malformed Content-Length")
    return int(text)
