"""Devices: what is refused beyond the schema, and what is changed on the way in (contract 4.3, 4.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from api.device_rules import to_e164

if TYPE_CHECKING:
    from api_client import Api


@pytest.mark.parametrize(
    ("sent", "key", "message"),
    [
        pytest.param(
            {"sip": {"method": "none"}}, "sip.method.enum", "SIP authentication method is invalid", id="method"
        ),
        pytest.param({"sip": {"method": "ip"}}, "sip.ip.type", "Must be a valid IPv4 RFC 791", id="no-address"),
        pytest.param(
            {"sip": {"method": "ip", "ip": "2001:db8::1"}}, "sip.ip.type", "Must be a valid IPv4 RFC 791", id="ipv6"
        ),
        pytest.param(
            {"sip": {"method": "ip", "ip": "192.0.2.99"}}, "sip.ip.unique", "SIP IP already in use", id="taken-address"
        ),
        pytest.param(
            {"sip": {"username": "BOB"}}, "sip.username.unique", "SIP credentials already in use", id="taken-username"
        ),
        pytest.param(
            {"mac_address": "0004F2AB7EFD"}, "mac_address.unique", "MAC address already in use", id="taken-mac"
        ),
        pytest.param(
            {"device_type": "mobile"},
            "mobile.mdn.required",
            "Field is required but missing",
            id="mobile-without-number",
        ),
        pytest.param({"owner_id": "short"}, "owner_id.minLength", "String must be at least 32 characters", id="owner"),
    ],
)
async def test_custom_rules(api: Api, device_id: str, sent: Any, key: str, message: str) -> None:
    """Uniqueness and the rules beyond the schema are told beside its own (4.3)."""
    await api.put_device(mac_address="00:04:f2:ab:7e:fd")
    await api.put_device(sip={"method": "ip", "ip": "192.0.2.99"})
    envelope = await api.ask("PUT", "/devices", data=sent, status=400)
    path, _, rule = key.rpartition(".")

    assert envelope["message"] == "validation error"
    assert envelope["data"][path][rule]["message"] == message
    assert "required" in envelope["data"]["name"]


async def test_uniqueness_is_not_broken_by_the_device_itself(api: Api, device_id: str) -> None:
    """A device may be saved again with what it has."""
    await api.ask("PATCH", f"/devices/{device_id}", data={"sip": {"username": "bob"}})


async def test_mac_address_is_kept_as_sent(api: Api) -> None:
    """It is compared without separators, and stored with them."""
    assert (await api.put_device(mac_address="00:04:F2:AB:7E:FD"))["mac_address"] == "00:04:F2:AB:7E:FD"


async def test_device_type_is_the_superdupers_to_change(api: Api) -> None:
    """Others may set it on creation alone; leaving it out of a POST is a change too (4.3)."""
    child, token = await api.child()
    path = f"/v2/accounts/{child.account_id}/devices"
    made = (await api.ask("PUT", path, data={"name": "n", "device_type": "fax"}, token=token, status=201))["data"]
    one = f"{path}/{made['id']}"

    await api.ask("PATCH", one, data={"name": "m"}, token=token)
    for method, data, cause in (("PATCH", {"device_type": "ata"}, "ata"), ("POST", {"name": "n"}, "")):
        envelope = await api.ask(method, one, data=data, token=token, status=400)

        assert envelope["data"]["device_type"]["invalid"]["cause"] == cause
    await api.ask("POST", one, data={"name": "n", "device_type": "ata"})


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        pytest.param({"sip": {"realm": "MASTER.example"}}, ("sip", "realm", None), id="own-realm-is-removed"),
        pytest.param({"sip": {"realm": "a.example"}}, ("sip", "realm", "a.example"), id="other-realm-is-kept"),
        pytest.param({"outbound_flags": [" a ", "b"]}, (None, "outbound_flags", ["a", "b"]), id="flags-are-trimmed"),
        pytest.param({"outbound_flags": {"static": []}}, (None, "outbound_flags", []), id="flags-that-are-no-list"),
        pytest.param(
            {"caller_id": {"emergency": {"number": "(415) 555-0123"}}},
            ("caller_id", "emergency", {"number": "+14155550123"}),
            id="emergency-number",
        ),
        pytest.param(
            {"provision": {"feature_keys": {"1": None}}}, ("provision", "feature_keys", {}), id="key-that-is-null"
        ),
    ],
)
async def test_transformations(api: Api, sent: Any, kept: tuple[str | None, str, Any]) -> None:
    """What is changed on the way in (4.4)."""
    device = await api.put_device(**sent)
    holder = device if kept[0] is None else device[kept[0]]

    assert holder.get(kept[1]) == kept[2]


@pytest.mark.parametrize(
    ("number", "result"),
    [
        ("4155550123", "+14155550123"),
        ("14155550123", "+14155550123"),
        ("+44 20 7946 0000", "+442079460000"),
        ("1001", "1001"),
        ("", ""),
    ],
)
def test_e164(number: str, result: str) -> None:
    """Ten digits are North American."""
    assert to_e164(number) == result


@pytest.mark.parametrize(
    ("sent", "absent"),
    [
        pytest.param({"mwi_unsolicited_updates": False}, "mwi_unsolicitated_updates", id="mwi"),
        pytest.param({"sip": {"registration_expiration": 60}}, "expire_seconds", id="expiry"),
    ],
)
async def test_the_other_spelling_goes_before_our_default(api: Api, sent: Any, absent: str) -> None:
    """Both names of a key are taken and shown as sent, without a second, contrary value."""
    device = await api.put_device(**sent)

    assert absent not in device
    assert absent not in device["sip"]
