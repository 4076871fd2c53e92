"""What a device must keep to beyond its schema, and what is changed on the way in (contract 4.3, 4.4)."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final

from api.documents import at, combine, find_conflicts, refuse_if
from api.ports import Draft, Kind
from api.schemas import Schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from api.documents import Author
    from api.errors import Faults
    from api.ports import Document, Json, JsonObject

DEVICE: Final = Schema("devices")
METHODS: Final = ("password", "ip")
MOBILE: Final = "mobile"

SPELLINGS: Final = (
    ((), "mwi_unsolicitated_updates", "mwi_unsolicited_updates"),
    (("sip",), "expire_seconds", "registration_expiration"),
)
"""Keys with two names: where, ours, the other. A device that has the other is not given ours by default."""


async def prepare_device(author: Author, data: JsonObject, stored: Document | None, device_id: str) -> Draft:
    """Return the device to be stored. Raises ValidationFailed with every rule it breaks."""
    changed = _transform(data, author.account)
    device, faults = DEVICE.check(changed)
    _settle_spellings(device, changed)
    draft = Draft(Kind.DEVICE, author.account.id, device_id, device)
    faults = combine(
        faults,
        _check_method(device),
        await _check_type(author, device, stored),
        await _check_mobile(author, device, stored),
        await find_conflicts(author, draft, faults),
    )
    refuse_if(faults)
    return draft


def _transform(data: JsonObject, account: Document) -> JsonObject:
    result = dict(data)
    if "outbound_flags" in result:
        flags = result["outbound_flags"]
        result["outbound_flags"] = [_stripped(flag) for flag in flags] if isinstance(flags, list) else []
    sip = result.get("sip")
    if isinstance(sip, dict) and _same_realm(sip.get("realm"), account.data.get("realm")):
        result["sip"] = {key: value for key, value in sip.items() if key != "realm"}
    provision = result.get("provision")
    if isinstance(provision, dict):
        result["provision"] = {key: _without_nulls(key, value) for key, value in provision.items()}
    number = at(result, "caller_id", "emergency", "number")
    if isinstance(number, str):
        result = _with_emergency_number(result, to_e164(number))
    return result


def _stripped(flag: Json) -> Json:
    return flag.strip() if isinstance(flag, str) else flag


def _same_realm(realm: Json, account_realm: Json) -> bool:
    return isinstance(realm, str) and isinstance(account_realm, str) and realm.lower() == account_realm.lower()


def _without_nulls(key: str, value: Json) -> Json:
    if key in {"combo_keys", "feature_keys"} and isinstance(value, dict):
        return {name: item for name, item in value.items() if item is not None}
    return value


def _with_emergency_number(data: JsonObject, number: str) -> JsonObject:
    caller_id = data["caller_id"]
    assert isinstance(caller_id, dict)
    emergency = caller_id["emergency"]
    assert isinstance(emergency, dict)
    return {**data, "caller_id": {**caller_id, "emergency": {**emergency, "number": number}}}


def to_e164(number: str) -> str:
    """Return a number in E.164 as far as it is one, by the North American plan; else as it was."""
    digits = re.sub(r"[\s().-]", "", number)
    if re.fullmatch(r"\+[0-9]{7,15}", digits):
        return digits
    if re.fullmatch(r"1?[2-9][0-9]{9}", digits):
        return f"+1{digits[-10:]}"
    return number


def _settle_spellings(device: JsonObject, sent: Mapping[str, Json]) -> None:
    for path, ours, other in SPELLINGS:
        given = at(dict(sent), *path)
        holder = at(device, *path)
        if isinstance(holder, dict) and isinstance(given, dict) and other in given and ours not in given:
            holder.pop(ours, None)


def _check_method(device: JsonObject) -> Faults:
    method, address = at(device, "sip", "method"), at(device, "sip", "ip")
    if method is not None and method not in METHODS:
        message = "SIP authentication method is invalid"
        target: Json = list(METHODS)
        return {"sip.method": {"enum": {"message": message, "target": target, "cause": method, "value": method}}}
    if method == "ip" and not is_ipv4(address):
        return {"sip.ip": {"type": {"message": "Must be a valid IPv4 RFC 791", "cause": address, "value": address}}}
    return {}


def is_ipv4(text: Json) -> bool:
    """Return whether this is a dotted IPv4 address."""
    if not isinstance(text, str):
        return False
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


async def _check_type(author: Author, device: JsonObject, stored: Document | None) -> Faults:
    if stored is None or device.get("device_type") == stored.data.get("device_type") or await author.is_superduper():
        return {}
    cause = device.get("device_type") or ""
    return {"device_type": {"invalid": {"message": "Not authorized to change type of device", "cause": cause}}}


async def _check_mobile(author: Author, device: JsonObject, stored: Document | None) -> Faults:
    if device.get("device_type") != MOBILE:
        return {}
    number = at(device, "mobile", "mdn")
    if not number:
        return {"mobile.mdn": {"required": {"message": "Field is required but missing", "value": "mdn"}}}
    before = at(stored.data, "mobile", "mdn") if stored is not None else number
    if before not in (None, number) and not await author.is_superduper():
        message = "Not authorized to change mobile number of device"
        return {"mobile.mdn": {"invalid": {"message": message, "cause": number}}}
    return {}
