"""POST /devices/{D}/sync: ask a phone to fetch its configuration (contract 5.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api.call import Answer
from api.routing import Route, under_each

if TYPE_CHECKING:
    from api.call import Call


async def sync_device(call: Call) -> Answer:
    """POST /devices/{D}/sync: always sends, and always says so; a phone's answer is not waited for."""
    await call.ports.control.check_sync(call.device)
    return Answer("sync request sent")


ROUTES: Final[tuple[Route, ...]] = under_each(
    ("/accounts/{account_id}", "/accounts/{account_id}/users/{user_id}"),
    Route("POST", "/devices/{device_id}/sync", sync_device, "Send a check-sync NOTIFY", answer="text"),
)
