"""The `data` of a quickcall's answer, field by field (contract 5.10, 6.4, 6.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api.call import text_of
from api.call_forward import beside, forward_of
from api.device_rules import to_e164
from api.documents import at
from api.filters import is_empty
from sip.callflow import CONFIRMS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from api.call_forward import Forward
    from api.ports import Document, Json, JsonObject, QuickcallOptions
    from api.quickcall_devices import Target

CALLER_NAME: Final = "Device QuickCall"
EXPORTED: Final[list[Json]] = [
    "Account-ID",
    "Retain-CID",
    "Authorizing-ID",
    "Authorizing-Type",
    "Outbound-Callee-ID-Number",
    "Outbound-Callee-ID-Name",
]


def describe(
    owner: Document, targets: Sequence[Target], options: QuickcallOptions, call_ids: Mapping[str, str]
) -> JsonObject:
    """Return what Kazoo tells of a quickcall; `call_ids` are those on the wire, by device id."""
    return {
        "application_name": "transfer",
        "application_data": {"route": options.number},
        "continue_on_fail": False,
        "dial_endpoint_method": "simultaneous",
        "timeout": options.timeout,
        "ignore_early_media": options.ignore_early_media,
        "media": "bypass" if options.bypass else "process",
        "outbound_caller_id_name": CALLER_NAME,
        "outbound_caller_id_number": options.filtered_number,
        "outbound_callee_id_name": options.callee_name,
        "outbound_callee_id_number": options.callee_number,
        "custom_channel_vars": {
            "account_id": owner.account_id,
            "authorizing_id": owner.id,
            "authorizing_type": owner.kind.value,
            "inherit_codec": "false",
            "retain_cid": "true" if options.retain_caller_id else "false",
        },
        "export_custom_channel_vars": EXPORTED,
        "endpoints": [endpoint for target in targets for endpoint in _endpoints(target, options, call_ids)],
    }


def count_endpoints(targets: Sequence[Target]) -> int:
    """Return how many legs would be rung: a device whose calls are forwarded too has two."""
    forwards = (forward_of(target) for target in targets)
    return len(targets) + sum(forward is not None and forward.adds for forward in forwards)


def callee_id(target: Target, number: str) -> tuple[str, str]:
    """Return the name and number shown to the number that is called, from the device's caller id."""
    kind = "external" if to_e164(number).startswith("+") else "internal"
    caller_id = target.merged("caller_id").get(kind)
    name, shown = text_of(at(caller_id, "name")), text_of(at(caller_id, "number"))
    if kind == "internal":
        name = name or _full_name(target.owner)
        shown = shown or presence_id(target).partition("@")[0]
    return name, shown


def presence_id(target: Target) -> str:
    """Return the presence id: the owner's, else the device's, else its username; with a realm in any case."""
    candidates = (
        at(target.owner.data, "presence_id") if target.owner is not None else None,
        target.device.data.get("presence_id"),
        at(target.device.data, "sip", "username"),
    )
    found = next((text_of(value) for value in candidates if not is_empty(value)), "")
    return found if not found or "@" in found else f"{found}@{_realm(target)}"


def _endpoints(target: Target, options: QuickcallOptions, call_ids: Mapping[str, str]) -> list[JsonObject]:
    """Return the device's leg, and that of its call-forward in its place or beside it."""
    forward, device_id = forward_of(target), target.device.id
    own = call_ids.get(device_id)
    if forward is not None and forward.replaces:
        return [_forwarded(target, forward, options, own)]
    phone = _endpoint(target, options, own)
    if forward is not None and forward.adds:
        return [phone, _forwarded(target, forward, options, call_ids.get(beside(device_id)))]
    return [phone]


def _forwarded(target: Target, forward: Forward, options: QuickcallOptions, call_id: str | None) -> JsonObject:
    variables = _channel_vars(target, options)
    variables.pop("auto_answer", None)  # a number rings
    fields: JsonObject = {
        "outbound_call_id": call_id,
        "endpoint_type": "call_forward",
        "invite_format": "route",
        "to_did": forward.number,
        "route": f"loopback/{forward.number}",
        "endpoint_id": target.device.id,
        "presence_id": presence_id(target),
        "ignore_early_media": "true" if forward.ignore_early_media else "false",
        "bypass_media": "false",
        "custom_sip_headers": _headers(target),
        "custom_channel_vars": {
            **variables,
            "call_forward": "true",
            **({"confirm_key": CONFIRMS} if forward.require_keypress else {}),
            "retain_cid": "true" if forward.keep_caller_id else "false",
        },
    }
    return {key: value for key, value in fields.items() if not is_empty(value)}


def _endpoint(target: Target, options: QuickcallOptions, call_id: str | None) -> JsonObject:
    device = target.device.data
    sip = device.get("sip") if isinstance(device.get("sip"), dict) else {}
    fields: JsonObject = {
        "outbound_call_id": call_id,
        "invite_format": at(sip, "invite_format"),
        "to_user": at(sip, "static_invite") or at(sip, "username"),
        "to_username": at(sip, "username"),
        "to_realm": at(sip, "realm") or _realm(target),
        "to_did": at(sip, "number") or options.filtered_number,
        "to_ip": at(sip, "ip"),
        "sip_transport": at(sip, "transport"),
        "sip_interface": at(sip, "custom_sip_interface"),
        "route": at(sip, "route"),
        "proxy_ip": at(sip, "proxy"),
        "forward_ip": at(sip, "forward"),
        "endpoint_id": target.device.id,
        "codecs": _codecs(device),
        "presence_id": presence_id(target),
        "hold_media": at(target.merged("music_on_hold"), "media_id"),
        "flags": device.get("outbound_flags"),
        "metaflows": target.merged("metaflows"),
        "ignore_early_media": "true" if at(device, "media", "ignore_early_media") is True else None,
        "bypass_media": "true" if at(device, "media", "bypass_media") in (True, "true") else None,
        "endpoint_progress_timeout": text_of(at(device, "media", "progress_timeout")),
        "ignore_completed_elsewhere": at(sip, "ignore_completed_elsewhere") is not False,
        "failover": _failover(target),
        "custom_sip_headers": _headers(target),
        "custom_channel_vars": _channel_vars(target, options),
    }
    return {key: value for key, value in fields.items() if not is_empty(value)}


def _channel_vars(target: Target, options: QuickcallOptions) -> JsonObject:
    variables: JsonObject = {
        "auto_answer": True if options.auto_answer else None,
        "account_id": target.account.id,
        "authorizing_id": target.device.id,
        "authorizing_type": "device",
        "owner_id": target.device.data.get("owner_id"),
        "media_encryption_enforce_security": at(target.device.data, "media", "encryption", "enforce_security") is True,
        "sip_invite_domain": _realm(target),
    }
    return {key: value for key, value in variables.items() if value is not None}


def _headers(target: Target) -> JsonObject:
    sip = target.device.data.get("sip")
    custom, username = at(sip, "custom_sip_headers"), at(sip, "username")
    headers: JsonObject = {}
    if isinstance(custom, dict):
        headers.update({key: value for key, value in custom.items() if isinstance(value, str)})
        for direction in ("in", "out"):
            below = custom.get(direction)
            headers.update(below if isinstance(below, dict) else {})
    ringtone = target.merged("ringtones").get("internal")
    if ringtone:
        headers["alert_info"] = ringtone
    if username:
        headers["x_kazoo_aor"] = f"sip:{text_of(username)}@{_realm(target)}"
    return {key.lower().replace("-", "_"): value for key, value in headers.items()}


def _failover(target: Target) -> Json:
    """Return the leg to the number that is called when the device is not registered (contract 6.5)."""
    forward = forward_of(target)
    if forward is None or not forward.failover:
        return None
    return {"endpoint_type": "call_forward", "to_did": forward.number, "route": f"loopback/{forward.number}"}


def _codecs(device: JsonObject) -> Json:
    lists = (at(device, "media", kind, "codecs") for kind in ("audio", "video"))
    return [codec for codecs in lists if isinstance(codecs, list) for codec in codecs]


def _realm(target: Target) -> str:
    return text_of(target.account.data.get("realm"))


def _full_name(owner: Document | None) -> str:
    if owner is None:
        return ""
    return f"{text_of(owner.data.get('first_name'))} {text_of(owner.data.get('last_name'))}".strip()
