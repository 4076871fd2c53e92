"""A response body sent in pieces, so that large `data` made ready elsewhere is never copied into an envelope."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import Payload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp.abc import AbstractStreamWriter

WORTH_IT: Final = 32_768  # bytes; below, one join costs less than three writes


class Pieces(Payload):
    """Bytes that belong together."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        super().__init__(pieces, content_type="application/json")
        self._pieces = pieces
        self._size = sum(map(len, pieces))

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the whole as text."""
        return b"".join(self._pieces).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send the pieces, one after the other."""
        for piece in self._pieces:
            await writer.write(piece)
