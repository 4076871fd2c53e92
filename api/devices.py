"""Devices: listings, CRUD and the actions of PUT (contract 4, 5.1-5.5, 5.9)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from api.call import Answer, Call, is_true, shown
from api.device_rules import prepare_device
from api.documents import at, chosen_id, create, created, delete, deleted, save, strip_private
from api.errors import ActionRefused, ValidationFailed
from api.listing import FILTERS, PAGING, list_documents
from api.ports import Kind, PageQuery
from api.routing import Route, under_each
from api.schemas import Schema
from api.sync import deliveries, read_options, sync_device
from sip.notify import notify_faults

if TYPE_CHECKING:
    from collections.abc import Callable

    from api.ports import Document, Draft, JsonObject

NOTIFY: Final = Schema("devices_notify")
WHERE: Final = {"event": "event", "content_type": "body.content_type", "body": "body.data"}
"""Where a client wrote the parts of a NOTIFY."""
DEFAULT_TYPE: Final = "sip_device"


async def list_devices(call: Call) -> Answer:
    """GET /devices."""
    query = PageQuery(Kind.DEVICE, call.account.id)
    with_status = _wants_status(call)
    return await list_documents(call, query, _registrable(_row) if with_status else _row, with_status=with_status)


async def list_devices_of_user(call: Call) -> Answer:
    """GET /users/{U}/devices: those the user owns, and those the user is logged in on."""
    user_id = call.user.id

    def row(device: Document) -> JsonObject:
        kept = {key: value for key, value in _row(device).items() if key not in ("username", "flags")}
        return {**kept, "hotdesked": device.data.get("owner_id") != user_id}

    query = PageQuery(Kind.DEVICE, call.account.id, owner_id=user_id)
    with_status = _wants_status(call)
    return await list_documents(call, query, _registrable(row) if with_status else row, with_status=with_status)


async def create_device(call: Call) -> Answer:
    """PUT /devices."""
    device_id = chosen_id(call.body()) or os.urandom(16).hex()

    async def prepare(call: Call, data: JsonObject, stored: Document | None) -> Draft:
        return await prepare_device(call, data, stored, device_id)

    return created(await create(call, prepare, strip_private(call.body())))


async def read_device(call: Call) -> Answer:
    """GET /devices/{D}."""
    return shown(call.device)


async def replace_device(call: Call) -> Answer:
    """POST /devices/{D}: all public fields become those of the body."""
    return await _change(call, merge=False)


async def patch_device(call: Call) -> Answer:
    """PATCH /devices/{D}."""
    return await _change(call, merge=True)


async def delete_device(call: Call) -> Answer:
    """DELETE /devices/{D}."""
    return deleted(await delete(call, call.device))


async def act_on_device(call: Call) -> Answer:
    """PUT /devices/{D}: notify or sync."""
    action = call.value("action")
    if action is None or action == "":
        raise ActionRefused("action required")
    handler = ACTIONS.get(action) if isinstance(action, str) else None
    if handler is None:
        raise ActionRefused("invalid action")
    # The action's own data is below `data` where the action stands there too, and is `data` where it stands beside.
    body = call.body()
    inside = "action" in body
    payload = body.get("data") if inside else body
    if payload is None and action == "notify":
        fault = {"message": "Field is required but missing", "value": "data"}
        raise ValidationFailed({"data": {"required": {**fault}}})
    return await handler(call, payload if isinstance(payload, dict) else {})


async def _notify(call: Call, payload: JsonObject) -> Answer:
    notify, faults = NOTIFY.check(payload)
    if faults:
        raise ValidationFailed(faults)
    content_type, text = at(notify, "body", "content_type"), at(notify, "body", "data")
    event, content_type = str(notify["event"]), content_type if isinstance(content_type, str) else ""
    body = text.encode("utf-8", "replace") if isinstance(text, str) else b""
    if wrong := notify_faults(event=event, content_type=content_type, body=body):
        raise ValidationFailed({WHERE[key]: {"invalid": {"message": message}} for key, message in wrong.items()})
    options = read_options(call)
    reports = await call.ports.control.notify(
        call.device, event=event, content_type=content_type, body=body, contact=options.contact, wait=options.wait
    )
    return Answer("NOTIFY sent", status=201, extra=deliveries(options, reports))


async def _sync(call: Call, _: JsonObject) -> Answer:
    return (await sync_device(call))._replace(status=201)


ACTIONS: Final = {"notify": _notify, "sync": _sync}


async def _change(call: Call, *, merge: bool) -> Answer:
    wants_sync = is_true(call.body().get("sync"))

    async def prepare(call: Call, data: JsonObject, stored: Document | None) -> Draft:
        data = {key: value for key, value in data.items() if key != "sync"}
        return await prepare_device(call, data, stored, call.device.id)

    device = await save(call, call.device, prepare, merge=merge)
    if wants_sync:
        await call.ports.control.check_sync(device)
    return shown(device)


def _row(device: Document) -> JsonObject:
    data = device.data
    row: JsonObject = {
        "id": device.id,
        "name": data.get("name"),
        "username": at(data, "sip", "username"),
        "mac_address": data.get("mac_address") or "",
        "owner_id": data.get("owner_id"),
        "enabled": data.get("enabled"),
        "device_type": data.get("device_type") or DEFAULT_TYPE,
        "mobile": data.get("mobile"),
        "call_recording": data.get("call_recording"),
    }
    row = {key: value for key, value in row.items() if value is not None}
    row["flags"] = data.get("flags") or []
    return row


def _wants_status(call: Call) -> bool:
    return is_true(call.query.get("with_status"))


def _registrable(row: Callable[[Document], JsonObject]) -> Callable[[Document], JsonObject]:
    """Add to rows what `with_status=true` tells beside the registrations."""
    return lambda device: {**row(device), "registrable": is_registrable(device)}


def is_registrable(device: Document) -> bool:
    """Return whether the device can register at all: enabled, by password, with credentials."""
    sip = device.data.get("sip")
    if not isinstance(sip, dict) or device.data.get("enabled") is False or sip.get("method") == "ip":
        return False
    return bool(sip.get("username")) and bool(sip.get("password"))


_ACCOUNT: Final = "/accounts/{account_id}"
_BOTH: Final = (_ACCOUNT, f"{_ACCOUNT}/users/{{user_id}}")
_ONE: Final = "/devices/{device_id}"
_LISTED: Final = (*PAGING, *FILTERS, "with_status")

ROUTES: Final[tuple[Route, ...]] = (
    Route("GET", f"{_ACCOUNT}/devices", list_devices, "List the devices", answer="device_rows", query=_LISTED),
    Route(
        "GET",
        f"{_ACCOUNT}/users/{{user_id}}/devices",
        list_devices_of_user,
        "List the devices of a user",
        answer="device_rows",
        query=_LISTED,
    ),
    *under_each(_BOTH, Route("PUT", "/devices", create_device, "Create a device", body="devices", answer="device")),
    *under_each(_BOTH, Route("GET", _ONE, read_device, "Read a device", answer="device")),
    *under_each(_BOTH, Route("POST", _ONE, replace_device, "Replace a device", body="devices", answer="device")),
    *under_each(_BOTH, Route("PATCH", _ONE, patch_device, "Change a device", body="patch", answer="device")),
    *under_each(_BOTH, Route("DELETE", _ONE, delete_device, "Delete a device", answer="device")),
    *under_each(
        _BOTH,
        Route(
            "PUT",
            _ONE,
            act_on_device,
            "Send a NOTIFY or a check-sync",
            body="devices_action",
            answer="text",
            query=("contact", "mode", "wait"),
        ),
    ),
)
