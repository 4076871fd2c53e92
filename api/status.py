"""GET /devices/status: who is registered, straight from the live table (contract 5.8), and all that is known of it."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from typing import TYPE_CHECKING, Final

import orjson

from api.call import Answer, is_true
from api.filters import parse_filters
from api.listing import FILTERS, PAGING, paging_keys, parse_paging, read_page
from api.ports import Kind, PageQuery
from api.routing import Route, under_each

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.call import Call
    from api.listing import Paging
    from api.ports import Document

CHUNK: Final = 250  # devices told of in one go: a few milliseconds of the event loop


async def read_statuses(call: Call) -> Answer:
    """GET /devices/status: the registered devices, each once; filters and paging are for `details` alone."""
    if not is_true(call.query.get("details")):
        presence, account_id = call.ports.presence, call.account.id
        edition = presence.edition(account_id)
        return Answer(presence.status_json(account_id), stands=True, registrations=edition)
    paging = parse_paging(call.query)
    device_ids, next_start_key = await _page(call, paging)
    rows = await _rows(call, device_ids)
    return Answer(rows, extra=paging_keys(paging, len(device_ids), next_start_key))


async def read_status(call: Call) -> Answer:
    """GET /devices/{D}/status: one device, registered or not."""
    (status,) = call.ports.statuses.of(call.account.id, [call.device.id])
    return Answer(orjson.dumps(status))


async def _page(call: Call, paging: Paging) -> tuple[Sequence[str], str | None]:
    """Return the ids of a page of registered devices; without filters no document is read for it."""
    registered = call.ports.presence.registered_devices(call.account.id)
    if parse_filters(call.query):
        known = frozenset(registered)

        def is_registered(device: Document) -> bool:
            return device.id in known

        page = await read_page(call, PageQuery(Kind.DEVICE, call.account.id), paging, only=is_registered)
        return [device.id for device in page.documents], page.next_start_key
    ordered = sorted(registered)
    ordered = ordered[bisect_left(ordered, paging.start_key) :]
    size = len(ordered) if paging.size is None else paging.size
    return ordered[:size], ordered[size] if len(ordered) > size else None


async def _rows(call: Call, device_ids: Sequence[str]) -> bytes:
    """Return the rows as JSON; the event loop has its turn between the chunks."""
    chunks: list[bytes] = []
    for start in range(0, len(device_ids), CHUNK):
        statuses = call.ports.statuses.of(call.account.id, device_ids[start : start + CHUNK])
        # One that went away between two chunks is not registered any more.
        if rows := [status for status in statuses if status["registered"]]:
            chunks.append(orjson.dumps(rows)[1:-1])
        await asyncio.sleep(0)
    return b"[" + b",".join(chunks) + b"]"


_ACCOUNT: Final = "/accounts/{account_id}"

ROUTES: Final[tuple[Route, ...]] = (
    Route(
        "GET",
        f"{_ACCOUNT}/devices/status",
        read_statuses,
        "List the registered devices",
        answer="status_rows",
        query=("details", *PAGING, *FILTERS),
    ),
    *under_each(
        (_ACCOUNT, f"{_ACCOUNT}/users/{{user_id}}"),
        Route("GET", "/devices/{device_id}/status", read_status, "Tell all of a device", answer="device_status"),
    ),
)
