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

_SLACK = b"\r\n\r"  # what a keepalive begins with
_PING = re.compile(rb"[\r\n]*?\r\n\r\n")
_LINE_ENDS = re.compile(rb"[\r\n]+")
_CONTENT_LENGTH = re.compile(rb"\r\n(?:content-length|l)[ \t]*:((?:[^\r\n]|\r\n[ \t])*)", re.IGNORECASE)


class StreamFramer:
    """Cuts a stream into messages; feed it what arrives, in pieces of any size.

    `feed` returns whole messages, each as bytes, and an empty `b""` for each keepalive ping to answer. If it returns
    any there may be more, which the next call gives, also one with nothing. After a ParseError the stream cannot be
    trusted any more and its connection must be closed. Messages before the fault are returned first; the next call
    then raises.
    """

    __slots__ = ("_buffer", "_fault", "_need", "_scanned")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._need = 0
        self._scanned = 0
        self._fault: ParseError | None = None

    @property
    def waiting(self) -> bool:
        """Whether part of a message has arrived and the rest has not."""
        return bool(self._buffer) and not _SLACK.startswith(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Take more of the stream. Raises ParseError where a message has no readable length or is too large."""
        if self._fault is not None:
            raise self._fault
        self._buffer += data
        messages: list[bytes] = []
        try:
            left = MAX_MESSAGE
            while left > 0 and len(messages) < MAX_CUT and (message := self._next()) is not None:
                messages.append(message)
                left -= len(message)
        except ParseError as fault:
            if not messages:
                raise
            self._fault = fault
        return messages

    def _next(self) -> bytes | None:
        buffer = self._buffer
        if not self._need:
            if buffer.startswith((b"\r", b"\n")) and (ping := self._take_line_ends()) is not None:
                return ping
            if not self._find_end():
                return None
        if len(buffer) < self._need:
            return None
        message = bytes(buffer[: self._need])
        self._drop(self._need)
        return message

    def _find_end(self) -> bool:
        """Look for the end of the header in what is new, and tell whether the length of the message is known."""
        buffer = self._buffer
        end = buffer.find(b"\r\n\r\n", max(0, self._scanned - 3))
        self._scanned = len(buffer)
        if (self._scanned - 3 if end < 0 else end) > MAX_HEAD:
            raise ParseError("the header does not end", status=513)
        if end < 0:
            return False
        self._need = end + 4 + _body_length(bytes(buffer[:end]))
        if self._need > MAX_MESSAGE:
            raise ParseError("the message is too large", status=513)
        return True

    def _take_line_ends(self) -> bytes | None:
        """Take the CRs and LFs between messages: a double CRLF is a ping, the rest is slack (RFC 3261 7.5)."""
        if (ping := _PING.match(self._buffer)) is not None:
            self._drop(ping.end())
            return b""
        match = _LINE_ENDS.match(self._buffer)
        run = match[0] if match else b""
        # What may become a ping stays until more has come.
        kept = next((size for size in (3, 2, 1) if run[-size:] == _SLACK[:size]), 0) if run == self._buffer else 0
        self._drop(len(run) - kept)
        return None

    def _drop(self, count: int) -> None:
        del self._buffer[:count]
        self._need = 0
        self._scanned = 0


def _body_length(head: bytes) -> int:
    lengths = _CONTENT_LENGTH.findall(head)
    # RFC 3261 20.14: MUST be used over a stream; a message without one is taken to have no body.
    if not lengths:
        return 0
    text = lengths[0].strip()
    if any(other.strip() != text for other in lengths) or not text.isdigit() or len(text) > 9:
        raise ParseError("malformed Content-Length")
    return int(text)
