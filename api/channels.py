"""Channels: the legs of calls that are up, in Kazoo's shape; hanging up, and calling another number instead."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from api.call import Answer
from api.errors import BadIdentifier, ValidationFailed
from api.ports import GREGORIAN_EPOCH
from api.routing import Route
from api.schemas import Schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from api.call import Call
    from api.ports import Json, JsonObject, Leg

ACTION: Final = Schema("channels_action")


async def list_channels(call: Call) -> Answer:
    """GET /channels: the account's."""
    return _listed(call, lambda _leg: True)


async def list_device_channels(call: Call) -> Answer:
    """GET /devices/{D}/channels."""
    return _listed(call, lambda leg: leg.device_id == call.device.id)


async def list_user_channels(call: Call) -> Answer:
    """GET /users/{U}/channels: of the devices that are the user's."""
    return _listed(call, lambda leg: leg.owner_id == call.user.id)


async def read_channel(call: Call) -> Answer:
    """GET /channels/{UUID}."""
    return Answer(_row(_leg(call)))


async def act_on_channel(call: Call) -> Answer:
    """POST /channels/{UUID}: hang up, or transfer."""
    leg = _leg(call)
    wish, faults = ACTION.check(call.body())
    if faults:
        raise ValidationFailed(faults)
    if wish["action"] == "hangup":
        call.ports.channels.hang_up(call.account.id, leg.call_id)
        return Answer("hangup initiated", status=202)
    target = wish.get("target")
    if not isinstance(target, str):
        raise ValidationFailed({"target": {"required": {"message": "No target destination specified"}}})
    call.ports.channels.transfer(call.account.id, leg.call_id, target)
    return Answer("transfer initiated", status=202)


def _listed(call: Call, wanted: Callable[[Leg], bool]) -> Answer:
    rows: list[Json] = [_row(leg) for leg in call.ports.channels.list(call.account.id) if wanted(leg)]
    return Answer(rows)


def _leg(call: Call) -> Leg:
    call_id = call.params["call_id"]
    leg = call.ports.channels.find(call.account.id, call_id)
    if leg is None:
        raise BadIdentifier(call_id)
    return leg


def _row(leg: Leg) -> JsonObject:
    began = int(leg.began)
    row: JsonObject = {
        "answered": leg.answered is not None,
        "authorizing_id": leg.device_id,
        "authorizing_type": "device" if leg.device_id else "",
        "caller_id_name": leg.caller_id_name,
        "caller_id_number": leg.caller_id_number,
        "destination": leg.destination,
        "direction": "outbound",
        "elapsed_s": max(0, int(time.time()) - began),
        "interaction_id": leg.interaction_id,
        "media": leg.media,
        "other_leg": leg.other_leg,
        "owner_id": leg.owner_id,
        "presence_id": leg.presence_id,
        "ringing": leg.rang is not None and leg.answered is None,
        "side": leg.side,
        "timestamp": began + GREGORIAN_EPOCH,
        "username": leg.username,
        "uuid": leg.call_id,
    }
    return {key: value for key, value in row.items() if value != ""}


_ACCOUNT: Final = "/accounts/{account_id}"
_ONE: Final = f"{_ACCOUNT}/channels/{{call_id}}"

ROUTES: Final[tuple[Route, ...]] = (
    Route("GET", f"{_ACCOUNT}/channels", list_channels, "List the legs of calls that are up", answer="channel_rows"),
    Route(
        "GET",
        f"{_ACCOUNT}/devices/{{device_id}}/channels",
        list_device_channels,
        "List the legs of a device",
        answer="channel_rows",
    ),
    Route(
        "GET",
        f"{_ACCOUNT}/users/{{user_id}}/channels",
        list_user_channels,
        "List the legs of a user's devices",
        answer="channel_rows",
    ),
    Route("GET", _ONE, read_channel, "Read a leg that is up", answer="channel"),
    Route(
        "POST",
        _ONE,
        act_on_channel,
        "End a call, or let another number take the place of the one that is called",
        body="channels_action",
        answer="text",
    ),
)
