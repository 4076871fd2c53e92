"""Hotdesks: who is logged in on which device (contract 5.11). The devices hold it, in `hotdesk.users`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api.call import Answer
from api.documents import at, find
from api.listing import Paging, read_page
from api.ports import Kind, PageQuery
from api.routing import Route
from api.users import summary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.call import Call
    from api.ports import Document, Json, JsonObject


async def list_hotdesks(call: Call) -> Answer:
    """GET /accounts/{A}/hotdesks: a row for each user on each device."""
    devices = await _devices(call, owner_id=None)
    return _listed([_row(device) for device in devices for _ in hotdesk_users(device)])


async def list_hotdesks_of_user(call: Call) -> Answer:
    """GET /users/{U}/hotdesks: the devices that the user is logged in on."""
    devices = await _devices(call, owner_id=call.user.id)
    return _listed([_row(device) for device in devices if call.user.id in hotdesk_users(device)])


async def list_hotdesks_of_device(call: Call) -> Answer:
    """GET /devices/{D}/hotdesks: the users that are logged in on the device."""
    users = [await find(call, Kind.USER, user_id) for user_id in hotdesk_users(call.device)]
    rows = [summary(user) for user in users if user is not None]
    return _listed([{key: value for key, value in row.items() if key != "flags"} for row in rows])


def hotdesk_users(device: Document) -> Sequence[str]:
    """Return the ids of the users that are logged in on the device."""
    users = at(device.data, "hotdesk", "users")
    return list(users) if isinstance(users, dict) else []


async def _devices(call: Call, *, owner_id: str | None) -> Sequence[Document]:
    query = PageQuery(Kind.DEVICE, call.account.id, owner_id=owner_id)
    return (await read_page(call, query, Paging(None, ""))).documents


def _row(device: Document) -> JsonObject:
    return {"device_id": device.id, "device_name": device.data.get("name")}


def _listed(rows: Sequence[JsonObject]) -> Answer:
    data: list[Json] = list(rows)
    return Answer(data, etag=bool(rows), extra={"page_size": len(rows)})


_ACCOUNT: Final = "/accounts/{account_id}"

ROUTES: Final[tuple[Route, ...]] = (
    Route("GET", f"{_ACCOUNT}/hotdesks", list_hotdesks, "List who is logged in where", answer="hotdesk_rows"),
    Route(
        "GET",
        f"{_ACCOUNT}/users/{{user_id}}/hotdesks",
        list_hotdesks_of_user,
        "List the devices a user is logged in on",
        answer="hotdesk_rows",
    ),
    Route(
        "GET",
        f"{_ACCOUNT}/devices/{{device_id}}/hotdesks",
        list_hotdesks_of_device,
        "List the users logged in on a device",
        answer="user_rows",
    ),
)
