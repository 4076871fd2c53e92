"""Listings kept as JSON, for the clients that ask for the same page again and again.

They stand until a document is written, by whomever: `Documents.edition` tells.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from api.editions import Edition
from api.shared import SharedReads

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable, Sequence

    from api.ports import JsonObject

MAX_LISTINGS: Final = 32  # with MAX_BYTES some 8 MiB at the worst
MAX_BYTES: Final = 262_144  # a thousand devices; what is larger is asked for by few
REGISTERED: Final = (b',"registered":false}', b',"registered":true}')


class Listing:
    """A page of rows: ready, and made ready again when a registration of theirs changes."""

    def __init__(self, ids: Sequence[str], rows: Sequence[bytes], extra: JsonObject) -> None:
        self.ids = ids
        self.extra = extra
        """What the envelope says of the page."""
        self._rows = rows
        self._registered: Sequence[bool] | None = None
        self._told: tuple[bytes, str] | None = None

    def __len__(self) -> int:
        return sum(map(len, self._rows))

    def told(self, registered: Sequence[bool] | None) -> tuple[bytes, str]:
        """Return the rows as JSON, with whether each is registered where that is given, and their ETag."""
        if self._told is None or registered != self._registered:
            self._told = self._tell(registered)
            self._registered = registered
        return self._told

    def _tell(self, registered: Sequence[bool] | None) -> tuple[bytes, str]:
        rows = self._rows
        if registered is not None:
            rows = [row[:-1] + REGISTERED[each] for row, each in zip(rows, registered, strict=True)]
        data = b"[" + b",".join(rows) + b"]"
        return data, etag_of(data)


class Kept:
    """The listings of one edition."""

    def __init__(self) -> None:
        self._listings: Edition[Listing] = Edition(MAX_LISTINGS)
        self._reads: SharedReads[Listing] = SharedReads()

    async def get(
        self, edition: Hashable, key: Hashable, read: Callable[[], Coroutine[None, None, Listing]]
    ) -> Listing:
        """Return a listing of this edition, read where it is not kept."""
        listing = self._listings.find(edition, key)
        if listing is None:
            listing = await self._reads.read((edition, key), read)
            if len(listing) <= MAX_BYTES:
                self._listings.keep(edition, key, listing)
        return listing


def etag_of(data: bytes) -> str:
    """Return an ETag by content."""
    return blake2b(data, digest_size=16).hexdigest()
