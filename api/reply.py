"""An answer whose head is bytes already, sent in one write (RFC 9112 4).

aiohttp makes the head of each answer from a mapping of headers: for a small answer that is more work than all the rest.
"""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web
from aiohttp.http import HttpVersion11

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiohttp.abc import AbstractStreamWriter

WORTH_IT: Final = 32_768  # bytes of a body; below, one join costs less than several writes
NOT_MODIFIED: Final = int(HTTPStatus.NOT_MODIFIED)
REASONS: Final = {status.value: status.phrase for status in HTTPStatus}


class Reply(web.StreamResponse):
    """A whole answer. The length of the body, the date, and how the connection goes on are added to its head."""

    def __init__(self, status: int, head: bytes, body: Sequence[bytes] = ()) -> None:
        super().__init__(status=status)
        self._head = head
        self._pieces = body
        self._writer: AbstractStreamWriter | None = None
        self._has_body = True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Take note of what the client can take; nothing is sent before the whole is."""
        self._keep_alive = request.keep_alive
        self._has_body = request.method != hdrs.METH_HEAD
        if request.version != HttpVersion11 or not self._keep_alive:
            self._head += b"Connection: keep-alive\r\n" if self._keep_alive else b"Connection: close\r\n"
        self._writer = request.writer
        return self._writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Send it."""
        assert self._writer is not None, "prepare comes first"
        assert not data, "the body is whole already"
        size = sum(map(len, self._pieces))
        # RFC 9110 8.6: a 304 says nothing of the length, since it has none of its own.
        length = b"" if self._status == NOT_MODIFIED else b"Content-Length: %d\r\n" % size
        head = b"%b%bDate: %b\r\n\r\n" % (self._head, length, _date(int(time.time())))
        if not self._has_body:
            await self._writer.write_eof(head)
        elif size < WORTH_IT:
            await self._writer.write_eof(b"".join((head, *self._pieces)))
        else:
            for piece in (head, *self._pieces):
                await self._writer.write(piece)
            await self._writer.write_eof()


def head_of(status: int, headers: Mapping[str, str]) -> bytes:
    """Return the status line and these headers. Raises ValueError for a value that would be more than one line."""
    for value in headers.values():
        if not value.isprintable():
            raise ValueError(f"a header cannot hold {value!r}")
    lines = [
        f"HTTP/1.1 {status} {REASONS.get(status, '')}",
        *(f"{name}: {value}" for name, value in headers.items()),
        "",
    ]
    return "\r\n".join(lines).encode()


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()
