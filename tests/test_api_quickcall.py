"""Quickcall: parameters, whom it rings, what it answers (contract 5.10, 6.3-6.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from api_client import Api

from api.errors import ValidationFailed
from api.number_filter import filter_number
from api.policy import Policy
from api.ports import MediaUnavailable, NoEndpoint, QuickcallFailed

if TYPE_CHECKING:
    from pytest_aiohttp.plugin import AiohttpClient

    from api.ports import QuickcallOptions
    from daemon.store import Store

SIP = {"username": "bob", "password": "secret"}


async def ring(api: Api, path: str, method: str = "GET", **options: Any) -> tuple[Any, QuickcallOptions]:
    """Place a quickcall; returns its data, and the options that the daemon got."""
    data = (await api.ask(method, path, **options))["data"]
    return data, api.quickcalls.started[-1][2]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_get_does_not_wait_and_post_does(api: Api, method: str) -> None:
    """A GET answers at once, a POST when the device has answered."""
    device = await api.put_device(sip=SIP)
    await ring(api, f"/devices/{device['id']}/quickcall/2600", method)
    owner, devices, _, wait = api.quickcalls.started[0]

    assert (owner, devices, wait) == (device["id"], [device["id"]], method == "POST")


@pytest.mark.parametrize(
    ("query", "field", "value"),
    [
        ({}, "auto_answer", True),
        ({"auto_answer": "false"}, "auto_answer", False),
        ({"cid-name": "Ann%20Lee"}, "callee_name", "Ann Lee"),
        ({"cid-name": "a\r\nb"}, "callee_name", "ab"),
        ({"cid-number": "+1415"}, "callee_number", "+1415"),
        ({}, "ignore_early_media", True),
        ({"ignore-early-media": "false"}, "ignore_early_media", False),
        ({"ignore-early-media": "false", "media": "bypass"}, "ignore_early_media", True),
        ({}, "bypass", False),
        ({"media": "bypass"}, "bypass", True),
        ({"media": "other"}, "bypass", False),
        ({}, "timeout", 30),
        ({"timeout": "20"}, "timeout", 20),
        ({"timeout": "3"}, "timeout", 30),
        ({"timeout": "x"}, "timeout", 30),
        ({"timeout": "-20"}, "timeout", 30),
        ({"timeout": "9" * 30}, "timeout", 30),
        ({}, "filtered_number", "4155550123"),
        ({"number_filter": "false"}, "filtered_number", "(415) 555-0123"),
        ({"number_filter": r"(\d+)-"}, "filtered_number", "555"),
        ({"number_filter": "x(y)"}, "filtered_number", "(415) 555-0123"),
        ({"number_filter": r"\d+"}, "filtered_number", "(415) 555-0123"),
    ],
    ids=str,
)
async def test_parameters(api: Api, query: dict[str, str], field: str, value: Any) -> None:
    """Each parameter of the query string; the number dialled is always the one of the URL."""
    device = await api.put_device(sip=SIP)
    data, options = await ring(api, f"/devices/{device['id']}/quickcall/(415)%20555-0123", params=query)

    assert getattr(options, field) == value
    assert options.number == "(415) 555-0123"
    assert data["application_data"] == {"route": "(415) 555-0123"}
    assert data["outbound_caller_id_number"] == options.filtered_number


async def test_parameters_of_a_body(api: Api) -> None:
    """All but two may stand in the body, before the query string; those two are the query string's (9, 12)."""
    device = await api.put_device(sip=SIP)
    body = {
        "timeout": 20,
        "media": "bypass",
        "cid-name": "Ann",
        "auto_answer": False,
        "number_filter": "false",
        "target_call_id": "abc",
        "custom_application_vars": {"a": "b"},
    }
    path = f"/devices/{device['id']}/quickcall/1-2"
    data, options = await ring(api, path, "POST", data=body, params={"timeout": "10"})

    assert (options.timeout, options.bypass, options.callee_name) == (20, True, "Ann")
    assert (options.auto_answer, options.filtered_number) == (True, "12")
    assert data["existing_call_id"] == "abc"
    assert data["custom_application_vars"] == {"a": "b"}


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param("(", id="broken"),
        pytest.param("x" * 129, id="long"),
        pytest.param("((a{99}){99}){99}", id="unrolled"),
        pytest.param("(a|aa|aaa|aaaa)+$", id="never-ending"),
    ],
)
async def test_dear_expressions_are_refused(rule: str) -> None:
    """A client's expression can neither fill memory nor stop the daemon."""
    with pytest.raises(ValidationFailed) as refusal:
        await filter_number("a" * 200 + "!", rule)

    assert isinstance(refusal.value.data, dict)
    assert "number_filter" in refusal.value.data


@pytest.mark.parametrize(
    ("caller_id", "number", "name", "shown"),
    [
        pytest.param({"external": {"name": "X", "number": "+1"}}, "4155550123", "X", "+1", id="external"),
        pytest.param({"internal": {"name": "I", "number": "9"}}, "2600", "I", "9", id="internal"),
        pytest.param({"internal": {"name": "I", "number": "9"}}, "4155550123", "", "", id="no-external"),
        pytest.param({}, "2600", "", "bob", id="internal-falls-back-to-presence"),
    ],
)
async def test_identity_shown_to_the_number(api: Api, caller_id: Any, number: str, name: str, shown: str) -> None:
    """External caller id for routable numbers, else internal (5.10)."""
    device = await api.put_device(sip=SIP, caller_id=caller_id)
    data, options = await ring(api, f"/devices/{device['id']}/quickcall/{number}")

    assert (options.callee_name, options.callee_number) == (name, shown)
    assert (data["outbound_callee_id_name"], data["outbound_callee_id_number"]) == (name, shown)


async def test_owner_goes_before_device_before_account(api: Api) -> None:
    """Caller id and ringtones are merged, and empty values override nothing (6.3)."""
    await api.ask("PATCH", "", data={"caller_id": {"internal": {"name": "Account", "number": "1"}}})
    owner = await api.put_user(
        presence_id="1001", ringtones={"internal": "owner"}, caller_id={"internal": {"name": "Owner", "number": ""}}
    )
    device = await api.put_device(
        sip=SIP,
        owner_id=owner["id"],
        ringtones={"internal": "device"},
        caller_id={"internal": {"name": "Device", "number": "2"}},
    )
    data, _ = await ring(api, f"/devices/{device['id']}/quickcall/2600")
    endpoint = data["endpoints"][0]

    assert (data["outbound_callee_id_name"], data["outbound_callee_id_number"]) == ("Owner", "2")
    assert endpoint["presence_id"] == "1001@master.example"
    assert endpoint["custom_sip_headers"]["alert_info"] == "owner"
    assert endpoint["custom_channel_vars"]["owner_id"] == owner["id"]


async def test_endpoint_fields(api: Api) -> None:
    """What is configured is told, what is empty is left out (5.10)."""
    sip = {
        **SIP,
        "realm": "other.example",
        "static_invite": "desk",
        "number": "1234",
        "transport": "tcp",
        "route": "sip:x",
        "proxy": "192.0.2.1",
        "forward": "f",
        "custom_sip_interface": "i",
        "ignore_completed_elsewhere": False,
        "custom_sip_headers": {"in": {"X-In": "1"}, "out": {"X-Out": "2"}},
    }
    media = {
        "audio": {"codecs": ["G722", "PCMU"]},
        "video": {"codecs": ["H264"]},
        "bypass_media": True,
        "ignore_early_media": True,
        "progress_timeout": 7,
        "encryption": {"enforce_security": True},
    }
    device = await api.put_device(
        sip=sip,
        media=media,
        outbound_flags=["f"],
        music_on_hold={"media_id": "m"},
        call_forward={"number": "555", "failover": True},
    )
    data, _ = await ring(api, f"/devices/{device['id']}/quickcall/2600")
    endpoint = data["endpoints"][0]

    assert {
        "to_realm": "other.example",
        "to_user": "desk",
        "to_username": "bob",
        "to_did": "1234",
        "sip_transport": "tcp",
        "route": "sip:x",
        "proxy_ip": "192.0.2.1",
        "forward_ip": "f",
        "sip_interface": "i",
        "codecs": ["G722", "PCMU", "H264"],
        "bypass_media": "true",
        "ignore_early_media": "true",
        "endpoint_progress_timeout": "7",
        "flags": ["f"],
        "hold_media": "m",
    }.items() <= endpoint.items()
    assert "ignore_completed_elsewhere" not in endpoint
    assert "to_ip" not in endpoint
    assert endpoint["failover"]["to_did"] == "555"
    assert endpoint["custom_sip_headers"] == {
        "x_in": "1",
        "x_out": "2",
        "x_kazoo_aor": "sip:bob@master.example",
    }
    assert endpoint["custom_channel_vars"]["media_encryption_enforce_security"] is True


@pytest.mark.parametrize("substitute", [True, False])
async def test_call_forward_is_an_endpoint(api: Api, substitute: bool) -> None:
    """In the phone's place or beside it (6.5); two endpoints never answer by themselves."""
    forward = {"enabled": True, "number": "555", "substitute": substitute, "keep_caller_id": False}
    device = await api.put_device(sip=SIP, call_forward=forward)
    data, options = await ring(api, f"/devices/{device['id']}/quickcall/2600")
    endpoint = data["endpoints"][-1]

    assert options.auto_answer is substitute
    assert len(data["endpoints"]) == (1 if substitute else 2)
    assert (endpoint["to_did"], endpoint["route"], endpoint["ignore_early_media"]) == ("555", "loopback/555", "true")
    assert {"confirm_key": "1", "retain_cid": "false"}.items() <= endpoint["custom_channel_vars"].items()
    assert "auto_answer" not in endpoint["custom_channel_vars"]


@pytest.mark.parametrize(
    ("device", "owner", "number"),
    [
        pytest.param({"enabled": True, "number": "1"}, {"enabled": True, "number": "2"}, "1", id="the-devices-own"),
        pytest.param({"enabled": False, "number": "1"}, {"enabled": True, "number": "2"}, "2", id="the-owners"),
        pytest.param({"enabled": False, "number": "1"}, {}, None, id="none"),
    ],
)
async def test_whose_call_forward_holds(api: Api, device: Any, owner: Any, number: str | None) -> None:
    """The device's alone where it is on, else the owner's over the device's over the account's (6.3)."""
    user = await api.put_user(call_forward=owner)
    made = await api.put_device(sip=SIP, owner_id=user["id"], call_forward=device)
    data, _ = await ring(api, f"/devices/{made['id']}/quickcall/2600")
    forwards = [each["to_did"] for each in data["endpoints"] if each.get("endpoint_type") == "call_forward"]

    assert forwards == ([] if number is None else [number])


async def test_all_devices_of_a_user(api: Api) -> None:
    """Those that are the user's now: hotdesked ones are their guests' alone; several never answer by themselves."""
    ann, bea = (await api.put_user())["id"], (await api.put_user())["id"]
    own = await api.put_device(owner_id=ann, sip={**SIP, "username": "own"})
    guest = await api.put_device(owner_id=bea, hotdesk={"users": {ann: {}}}, sip={**SIP, "username": "guest"})
    await api.put_device(owner_id=ann, hotdesk={"users": {bea: {}}}, sip={**SIP, "username": "lent"})
    await api.put_device(owner_id=ann, enabled=False, sip={**SIP, "username": "off"})
    data, options = await ring(api, f"/users/{ann}/quickcall/2600")

    assert sorted(api.quickcalls.started[0][1]) == sorted([own["id"], guest["id"]])
    assert api.quickcalls.started[0][0] == ann
    assert options.auto_answer is False
    assert data["custom_channel_vars"]["authorizing_type"] == "user"
    assert len({endpoint["outbound_call_id"] for endpoint in data["endpoints"]}) == 2
    assert all("auto_answer" not in endpoint["custom_channel_vars"] for endpoint in data["endpoints"])


@pytest.mark.parametrize("where", ["disabled", "device-dnd", "owner-dnd", "account-dnd", "no-devices"])
async def test_nothing_to_ring(api: Api, where: str) -> None:
    """Disabled, do-not-disturb anywhere, or no device at all: 500 `unspecified_fault` (5.10, 6.3)."""
    dnd = {"do_not_disturb": {"enabled": True}}
    owner = await api.put_user(**(dnd if where == "owner-dnd" else {}))
    extra: dict[str, Any] = {"disabled": {"enabled": False}, "device-dnd": dnd}.get(where, {})
    if where == "account-dnd":
        await api.ask("PATCH", "", data=dnd)
    path = f"/users/{owner['id']}"
    if where != "no-devices":
        path = f"/devices/{(await api.put_device(owner_id=owner['id'], **extra))['id']}"
    envelope = await api.ask("GET", f"{path}/quickcall/2600", status=500)

    assert (envelope["message"], envelope["data"]) == ("unspecified_fault", {"message": "unspecified fault"})
    assert api.quickcalls.started == []


@pytest.mark.parametrize(
    ("failure", "status", "message", "data"),
    [
        pytest.param(NoEndpoint(), 500, "unspecified_fault", {"message": "unspecified fault"}, id="no-endpoint"),
        pytest.param(
            MediaUnavailable("no media worker"), 503, "media_unavailable", {"message": "no media worker"}, id="media"
        ),
        pytest.param(
            QuickcallFailed("busy"), 500, "quickcall initiation failed", {"error_message": "busy"}, id="failed"
        ),
    ],
)
async def test_failures(api: Api, failure: Exception, status: int, message: str, data: Any) -> None:
    """What the daemon refuses is told with its reason (5.10)."""
    device = await api.put_device(sip=SIP)
    api.quickcalls.failure = failure
    envelope = await api.ask("POST", f"/devices/{device['id']}/quickcall/2600", status=status)

    assert envelope["message"] == message
    assert data.items() <= envelope["data"].items()


@pytest.mark.parametrize("number", ["%0a", "1%00", "9" * 300])
async def test_numbers_that_cannot_be_called(api: Api, number: str) -> None:
    """Control characters never get near a request line."""
    device = await api.put_device(sip=SIP)
    await api.ask("GET", f"/devices/{device['id']}/quickcall/{number}", status=400)


@pytest.mark.parametrize(
    ("allowed", "device", "status"),
    [
        pytest.param(False, {}, 401, id="not-allowed"),
        pytest.param(True, {}, 200, id="allowed"),
        pytest.param(True, {"allow_anonymous_quickcalls": True}, 200, id="allowed-by-the-device-too"),
        pytest.param(True, {"allow_anonymous_quickcalls": False}, 401, id="not-by-the-device"),
    ],
)
async def test_anonymous_quickcall(
    aiohttp_client: AiohttpClient, store: Store, allowed: bool, device: dict[str, Any], status: int
) -> None:
    """Nobody in particular may call only where a setting says so, and the device does not deny it (3.5)."""
    api = await Api.start(aiohttp_client, store, Policy(anonymous_quickcall=allowed))
    made = await api.put_device(sip=SIP, **device)
    await api.ask("GET", f"/devices/{made['id']}/quickcall/2600", token=None, status=status)
    await api.ask("GET", f"/devices/{made['id']}", token=None, status=401)
