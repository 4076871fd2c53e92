"""GET /devices/status: who is registered, straight from the live table (contract 5.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api.call import Answer
from api.routing import Route

if TYPE_CHECKING:
    from api.call import Call


async def read_status(call: Call) -> Answer:
    """GET /devices/status: the registered devices, each once; filters and paging do not apply."""
    return Answer(call.ports.presence.status_json(call.account.id))


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        "GET",
        "/accounts/{account_id}/devices/status",
        read_status,
        "List the registered devices",
        answer="status_rows",
    ),
)
