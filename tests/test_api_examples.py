"""The documented examples of Kazoo 4.0's devices: each request, and its answer up to ids, revisions and extra keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from api_client import Api

CREATED: dict[str, Any] = {
    "call_restriction": {},
    "caller_id": {},
    "contact_list": {},
    "dial_plan": {},
    "enabled": True,
    "exclude_from_queues": False,
    "media": {
        "audio": {"codecs": ["PCMU"]},
        "encryption": {"enforce_security": False, "methods": []},
        "video": {"codecs": []},
    },
    "music_on_hold": {},
    "mwi_unsolicitated_updates": True,
    "name": "New Device",
    "register_overwrite_notify": False,
    "ringtones": {},
    "sip": {"expire_seconds": 300, "invite_format": "username", "method": "password"},
    "suppress_unregister_notifications": False,
}


def documented(envelope: dict[str, Any], data: Any, *, revision: bool = True) -> None:
    """Hold an answer to a documented one."""
    assert data == envelope["data"]
    assert envelope["status"] == "success"
    assert envelope["auth_token"]
    assert envelope["request_id"]
    assert ("revision" in envelope) is revision


@pytest.fixture
async def device_id(api: Api) -> str:
    return str((await api.put_device(name="New Device"))["id"])


async def test_list(api: Api) -> None:
    """A row for each device."""
    device = await api.put_device(
        name="MyPolycom", mac_address="00:04:f2:ab:7e:fd", enabled=False, sip={"username": "bob", "password": "secret"}
    )
    envelope = await api.ask("GET", "/devices")
    row = {
        "device_type": "sip_device",
        "enabled": False,
        "flags": [],
        "id": device["id"],
        "mac_address": "00:04:f2:ab:7e:fd",
        "name": "MyPolycom",
        "username": "bob",
    }

    documented(envelope, [row])
    assert envelope["page_size"] == 1


async def test_create(api: Api) -> None:
    """A name is enough; everything else has its default."""
    envelope = await api.ask("PUT", "/devices", data={"name": "New Device"}, status=201)

    documented(envelope, {**CREATED, "id": envelope["data"]["id"]})
    assert len(envelope["data"]["id"]) == 32


async def test_delete(api: Api, device_id: str) -> None:
    """The answer is what was deleted."""
    envelope = await api.ask("DELETE", f"/devices/{device_id}")

    documented(envelope, {**CREATED, "id": device_id, "_read_only": {"deleted": True}})
    await api.ask("GET", f"/devices/{device_id}", status=404)


async def test_read(api: Api, device_id: str) -> None:
    """The whole document."""
    documented(await api.ask("GET", f"/devices/{device_id}"), {**CREATED, "id": device_id})


async def test_change(api: Api, device_id: str) -> None:
    """A POST with the whole document, under the names of the documentation's example."""
    sip = {"invite_format": "username", "method": "password", "registration_expiration": 300}
    body = {**CREATED, "name": "new device", "sip": sip, "id": "4f3330e78e664bb57f8fb23fbaac2429"}
    body["mwi_unsolicited_updates"] = body.pop("mwi_unsolicitated_updates")
    envelope = await api.ask("POST", f"/devices/{device_id}", data=body)

    documented(envelope, {**body, "id": device_id})


async def test_patch(api: Api, device_id: str) -> None:
    """One key is added."""
    envelope = await api.ask("PATCH", f"/devices/{device_id}", data={"presence_id": "dis_my_device"})

    documented(envelope, {**CREATED, "id": device_id, "presence_id": "dis_my_device"})


async def test_status(api: Api, device_id: str) -> None:
    """Registered devices alone, each once."""
    await api.put_device(name="another")
    for contact in ("sip:bob@192.0.2.7", "sip:bob@192.0.2.8"):
        api.presence.register(api.master.account_id, device_id, contact=contact)
    envelope = await api.ask("GET", "/devices/status", params={"_": "1700000000000"})

    documented(envelope, [{"device_id": device_id, "registered": True}], revision=False)
    assert "page_size" not in envelope


async def test_status_without_registrations(api: Api, device_id: str) -> None:
    """Nobody registered is an empty list."""
    documented(await api.ask("GET", "/devices/status"), [], revision=False)


@pytest.mark.parametrize("options", [{}, {"json": {"data": {}}}, {"body": b""}], ids=["bare", "data", "empty"])
async def test_sync(api: Api, device_id: str, options: dict[str, Any]) -> None:
    """One check-sync, with or without a body."""
    envelope = await api.ask("POST", f"/devices/{device_id}/sync", **options)

    documented(envelope, "sync request sent", revision=False)
    assert api.control.synced == [device_id]


async def test_quickcall(api: Api) -> None:
    """The request that rings the device, field by field."""
    device = await api.put_device(
        name="New Device",
        sip={"username": "bob", "password": "secret", "custom_sip_headers": {"X-Ours": "yes"}},
        caller_id={"internal": {"name": "Bob", "number": "1001"}},
        ringtones={"internal": "ring-1"},
    )
    device_id, account_id = device["id"], api.master.account_id
    envelope = await api.ask("GET", f"/devices/{device_id}/quickcall/2600")

    documented(
        envelope,
        {
            "application_name": "transfer",
            "application_data": {"route": "2600"},
            "continue_on_fail": False,
            "dial_endpoint_method": "simultaneous",
            "timeout": 30,
            "ignore_early_media": True,
            "media": "process",
            "outbound_caller_id_name": "Device QuickCall",
            "outbound_caller_id_number": "2600",
            "outbound_callee_id_name": "Bob",
            "outbound_callee_id_number": "1001",
            "custom_channel_vars": {
                "account_id": account_id,
                "authorizing_id": device_id,
                "authorizing_type": "device",
                "inherit_codec": "false",
                "retain_cid": "true",
            },
            "export_custom_channel_vars": [
                "Account-ID",
                "Retain-CID",
                "Authorizing-ID",
                "Authorizing-Type",
                "Outbound-Callee-ID-Number",
                "Outbound-Callee-ID-Name",
            ],
            "endpoints": [
                {
                    "outbound_call_id": "0" * 36 + "-quickcall",
                    "invite_format": "username",
                    "to_user": "bob",
                    "to_username": "bob",
                    "to_realm": "master.example",
                    "to_did": "2600",
                    "endpoint_id": device_id,
                    "codecs": ["PCMU"],
                    "presence_id": "bob@master.example",
                    "ignore_completed_elsewhere": True,
                    "custom_sip_headers": {
                        "x_ours": "yes",
                        "alert_info": "ring-1",
                        "x_kazoo_aor": "sip:bob@master.example",
                    },
                    "custom_channel_vars": {
                        "auto_answer": True,
                        "account_id": account_id,
                        "authorizing_id": device_id,
                        "authorizing_type": "device",
                        "media_encryption_enforce_security": False,
                        "sip_invite_domain": "master.example",
                    },
                }
            ],
        },
        revision=False,
    )


async def test_ringtones(api: Api, device_id: str) -> None:
    """Both ringtones are kept as they are sent."""
    body = {
        "name": "Device with custom ringtones",
        "ringtones": {"internal": "alert info SIP header", "external": "alert info SIP header"},
    }
    envelope = await api.ask("POST", f"/devices/{device_id}", data=body)

    documented(envelope, {**CREATED, **body, "id": device_id})


async def test_devices_of_a_user(api: Api) -> None:
    """The devices that the user owns, and that the user is logged in on."""
    ann, bea = (await api.put_user())["id"], (await api.put_user())["id"]
    own = await api.put_device(name="USER_ID_DEVICE", owner_id=ann)
    guest = await api.put_device(name="OWNER_ID_DEVICE", owner_id=bea, hotdesk={"users": {ann: {}}})
    await api.put_device(name="another", owner_id=bea)
    envelope = await api.ask("GET", f"/users/{ann}/devices")
    rows = sorted(envelope["data"], key=lambda row: row["hotdesked"])
    common = {"device_type": "sip_device", "enabled": True, "mac_address": ""}

    documented(
        {**envelope, "data": rows},
        [
            {**common, "hotdesked": False, "id": own["id"], "name": "USER_ID_DEVICE", "owner_id": ann},
            {**common, "hotdesked": True, "id": guest["id"], "name": "OWNER_ID_DEVICE", "owner_id": bea},
        ],
    )


async def test_authentication_by_address(api: Api) -> None:
    """A device that is known by its address needs no credentials."""
    sip = {"invite_format": "e164", "ip": "192.0.2.99", "method": "ip"}
    body = {"enabled": True, "name": "authn_by_ip", "sip": sip}
    envelope = await api.ask("PUT", "/devices", data=body, status=201)

    documented(envelope, {**CREATED, **body, "sip": {**sip, "expire_seconds": 300}, "id": envelope["data"]["id"]})


async def test_notify_as_documented(api: Api, device_id: str) -> None:
    """The action stands beside `data` in the documentation, and inside it in the schema; both work (5.9)."""
    beside = {"action": "notify", "data": {"event": "talk"}}
    inside = {
        "data": {"action": "notify", "data": {"event": "talk", "body": {"data": "x", "content_type": "text/plain"}}}
    }
    documented(await api.ask("PUT", f"/devices/{device_id}", json=beside, status=201), "NOTIFY sent", revision=False)
    await api.ask("PUT", f"/devices/{device_id}", json=inside, status=201)

    assert api.control.notified == [(device_id, "talk", "", b""), (device_id, "talk", "text/plain", b"x")]
