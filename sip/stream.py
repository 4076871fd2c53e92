"""Messages out of a byte stream, by Content-Length (RFC 3261 18.3), and CRLF keepalives (RFC 5626 4.4.1)."""

from __future__ import annotations

import re
from typing import Final

from sip.errors import ParseError
from sip.message import MAX_MESSAGE

PONG: Final = b"\r\n"
"""The answer to a keepalive of two CRLFs (RFC 5626 4.4.1)."""

MAX_HEAD: Final = 32_768  # bytes of start line and headers; what has no end by then has none

_CONTENT_LENGTH = re.compile(rb"\r\n(?:content-length|l)[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE)


class StreamFramer:
    """Cuts a stream into messages; feed it what arrives, in pieces of any size.

    `feed` returns the whole messages so far, each as bytes, and an empty `b""` for each keepalive ping to answer.
    After a ParseError the stream cannot be trusted any more and its connection must be closed.
    """

    __slots__ = ("_buffer", "_need", "_scanned")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._need = 0
        self._scanned = 0

    @property
    def waiting(self) -> bool:
        """Whether part of a message has arrived and the rest has not."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Take more of the stream. Raises ParseError where a message has no readable length or is too large."""
        self._buffer += data
        messages: list[bytes] = []
        while (message := self._next()) is not None:
            messages.append(message)
        return messages

    def _next(self) -> bytes | None:
        buffer = self._buffer
        if not self._need:
            if buffer.startswith((b"\r", b"\n")):
                return self._keepalive()
            end = buffer.find(b"\r\n\r\n", max(0, self._scanned - 3))
            if end < 0:
                self._scanned = len(buffer)
                if self._scanned > MAX_HEAD:
                    raise ParseError("the header does not end", status=513)
                return None
            self._need = end + 4 + _body_length(bytes(buffer[:end]))
            if self._need > MAX_MESSAGE:
                raise ParseError("the message is too large", status=513)
        if len(buffer) < self._need:
            return None
        message = bytes(buffer[: self._need])
        self._drop(self._need)
        return message

    def _keepalive(self) -> bytes | None:
        """Take CRLFs between messages: a double one is a ping, a single one is slack (RFC 3261 7.5)."""
        if self._buffer.startswith(b"\r\n\r\n"):
            self._drop(4)
            return b""
        if len(self._buffer) < 4 and b"\r\n\r".startswith(self._buffer):
            return None
        self._drop(2 if self._buffer.startswith(b"\r\n") else 1)
        return self._next()

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
