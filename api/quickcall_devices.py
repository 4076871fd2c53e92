"""Which devices a quickcall rings, and whose they are (contract 5.10, 6.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from api.documents import at, find
from api.filters import is_empty
from api.ports import Kind, PageQuery

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.call import Call
    from api.ports import Document, Json, JsonObject


@dataclass(frozen=True, slots=True)
class Target:
    """A device with whom it belongs to: what an attribute of it comes from."""

    account: Document
    device: Document
    owner: Document | None

    def merged(self, key: str) -> JsonObject:
        """Return an object attribute as account, device and owner give it, the later over the earlier."""
        result: JsonObject = {}
        for document in (self.account, self.device, self.owner):
            if document is not None:
                result = _overlaid(result, document.data.get(key))
        return result

    @property
    def username(self) -> str:
        """The device's SIP username; empty where it has none."""
        found = at(self.device.data, "sip", "username")
        return found if isinstance(found, str) else ""

    def is_usable(self) -> bool:
        """Return whether it may be rung: enabled, and nobody wants not to be disturbed."""
        if self.device.data.get("enabled") is False:
            return False
        holders = (self.account, self.device, self.owner)
        return not any(
            at(document.data, "do_not_disturb", "enabled") is True for document in holders if document is not None
        )


async def devices_of(call: Call, user: Document) -> Sequence[Document]:
    """Return the devices that are the user's now: a hotdesked device is that of its guests alone."""
    query = PageQuery(Kind.DEVICE, call.account.id, owner_id=user.id)
    found = await call.ports.documents.page(query)
    return [device for device in found if user.id in owners_of(device)]


def owners_of(device: Document) -> Sequence[str]:
    """Return the ids of the users the device belongs to now."""
    guests = at(device.data, "hotdesk", "users")
    if isinstance(guests, dict) and guests:
        return list(guests)
    owner_id = device.data.get("owner_id")
    return [owner_id] if isinstance(owner_id, str) else []


async def targets(call: Call, devices: Sequence[Document]) -> Sequence[Target]:
    """Return the devices that may be rung, each target once."""
    users: dict[str, Document | None] = {}
    found: dict[tuple[str, ...], Target] = {}
    for device in devices:
        owners = owners_of(device)
        for user_id in owners:
            if user_id not in users:
                users[user_id] = await find(call, Kind.USER, user_id)
        target = Target(call.account, device, users[owners[0]] if len(owners) == 1 else None)
        if target.is_usable():
            found.setdefault(_address(device), target)
    return list(found.values())


def _address(device: Document) -> tuple[str, ...]:
    """Return what makes two devices the same target; one without any address is like no other."""
    keys = ("invite_format", "static_invite", "username", "realm", "number", "route", "proxy")
    values = [at(device.data, "sip", key) for key in keys]
    return tuple(str(value) for value in values) if any(values[1:]) else (device.id,)


def _overlaid(below: JsonObject, above: Json) -> JsonObject:
    if not isinstance(above, dict):
        return below
    result = dict(below)
    for key, value in above.items():
        before = result.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            result[key] = _overlaid(before, value)
        elif isinstance(value, bool) or not is_empty(value):
            result[key] = value
    return result
