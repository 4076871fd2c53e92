"""Listings: pages by id ascending, filtered on the way (contract 5.3, 5.4)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import orjson

from api.call import Answer
from api.errors import FaultyRequest
from api.filters import filterable, parse_filters
from api.kept import Listing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from api.call import Call
    from api.filters import Filter
    from api.ports import Document, JsonObject, PageQuery

DEFAULT_PAGE: Final = 50  # Kazoo's
MAX_PAGE: Final = 5_000  # rows; a client that asks for more gets a next_start_key
BATCH: Final = 500  # documents read at a time while filtering, or when no page is wanted

PAGING: Final = ("paginate", "page_size", "start_key")
FILTERS: Final = (
    "has_key",
    "key_missing",
    "has_value",
    "value_missing",
    "created_from",
    "created_to",
    "modified_from",
    "modified_to",
)
"""Names of query parameters, for the OpenAPI document."""


@dataclass(frozen=True, slots=True)
class Paging:
    """Which part of a listing is wanted."""

    size: int | None
    """None is all of it."""
    start_key: str


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a listing."""

    documents: Sequence[Document]
    next_start_key: str | None


def parse_paging(query: Mapping[str, str]) -> Paging:
    """Read the paging parameters. Raises FaultyRequest."""
    if query.get("paginate", "").lower() == "false":
        return Paging(None, "")
    text = query.get("page_size", str(DEFAULT_PAGE))
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        raise FaultyRequest("invalid page size")
    if text.startswith("-") or not digits.strip("0"):
        raise FaultyRequest("page size must be at least 1")
    size = int(digits) if len(digits) <= len(str(MAX_PAGE)) else MAX_PAGE
    return Paging(min(size, MAX_PAGE), query.get("start_key", ""))


async def list_documents(
    call: Call, query: PageQuery, row: Callable[[Document], JsonObject], *, with_status: bool = False
) -> Answer:
    """Answer with the rows of a listing, as the query string wants them.

    A row may depend on its document and the route alone; `with_status` adds whether the device is registered.
    """
    listing = await _find(call, query, row)
    presence, account_id = call.ports.presence, query.account_id
    edition = presence.edition(account_id) if with_status else None
    data, etag = listing.told(presence.are_registered(account_id, listing.ids) if with_status else None)
    return Answer(data, etag=etag if listing.ids else None, extra=listing.extra, stands=True, registrations=edition)


async def _find(call: Call, query: PageQuery, row: Callable[[Document], JsonObject]) -> Listing:
    wanted = tuple((name, value) for name, value in call.query.items() if name != "auth_token")
    key, edition = (call.place, query, wanted), call.ports.documents.edition()

    async def read() -> Listing:
        paging = parse_paging(call.query)
        page = await read_page(call, query, paging)
        ids = [document.id for document in page.documents]
        rows = [orjson.dumps(row(document)) for document in page.documents]
        return Listing(ids, rows, paging_keys(paging, len(rows), page.next_start_key))

    return await call.kept.get(edition, key, read)


async def read_page(
    call: Call, query: PageQuery, paging: Paging, *, only: Callable[[Document], bool] | None = None
) -> Page:
    """Read documents until the page is full or there are no more; with `only`, those that it lets pass."""
    filters = parse_filters(call.query)
    found: list[Document] = []
    query = replace(query, start_key=paging.start_key)
    while True:
        limit = BATCH if filters or only or paging.size is None else paging.size + 1 - len(found)
        batch = await call.ports.documents.page(replace(query, limit=limit))
        for document in batch:
            if (only is None or only(document)) and passes(document, filters):
                if len(found) == paging.size:
                    return Page(found, document.id)
                found.append(document)
        if len(batch) < limit:
            return Page(found, None)
        query = replace(query, start_key=batch[-1].id + "\0")


def passes(document: Document, filters: Sequence[Filter]) -> bool:
    """Return whether the document passes all filters."""
    if not filters:
        return True
    whole = filterable(document)
    return all(each(whole) for each in filters)


def paging_keys(paging: Paging, count: int, next_start_key: str | None) -> JsonObject:
    """Return what the envelope says of a page."""
    if paging.size is None:
        return {}
    keys: JsonObject = {"page_size": count}
    if paging.start_key:
        keys["start_key"] = paging.start_key
    if next_start_key is not None:
        keys["next_start_key"] = next_start_key
    return keys
