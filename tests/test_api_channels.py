"""Channels and CDRs: the legs of calls, while they last and after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from api.ports import GREGORIAN_EPOCH

if TYPE_CHECKING:
    from api_client import Api

BEGAN = 1_700_000_000.25
ENDED: dict[str, Any] = {
    "ended": BEGAN + 63.25,
    "outcome": "answered",
    "sip_status": 200,
    "q850_cause": 16,
    "hangup_side": "number",
}


async def test_a_leg_that_is_up_has_kazoos_shape(api: Api) -> None:
    """The keys of Kazoo's channels, and what Roost adds."""
    leg = api.channels.add(api.master.account_id, other_leg="ff-quickcall", owner_id="u" * 32)
    (row,) = (await api.ask("GET", "/channels"))["data"]
    elapsed = row.pop("elapsed_s")

    assert elapsed > 0
    assert {
        "answered": True,
        "authorizing_id": "d" * 32,
        "authorizing_type": "device",
        "caller_id_name": "Device QuickCall",
        "caller_id_number": "2600",
        "destination": "bob",
        "direction": "outbound",
        "interaction_id": "63867219200-0a1b2c3d",
        "media": "bypass",
        "other_leg": "ff-quickcall",
        "owner_id": "u" * 32,
        "presence_id": "bob@master.example",
        "ringing": False,
        "side": "device",
        "timestamp": 1_700_000_000 + GREGORIAN_EPOCH,
        "username": "bob",
        "uuid": leg.call_id,
    } == row
    assert row["uuid"] == (await api.ask("GET", f"/channels/{leg.call_id}"))["data"]["uuid"]


async def test_the_legs_of_a_device_and_of_a_user(api: Api) -> None:
    """Kazoo has channels below accounts, users and devices."""
    user = await api.put_user()
    device = await api.put_device(sip={"username": "bob", "password": "secret"})
    api.channels.add(api.master.account_id, call_id="mine", device_id=device["id"], owner_id=user["id"])
    api.channels.add(api.master.account_id, call_id="other")

    assert 2 == len((await api.ask("GET", "/channels"))["data"])
    for path in (f"/devices/{device['id']}/channels", f"/users/{user['id']}/channels"):
        assert ["mine"] == [row["uuid"] for row in (await api.ask("GET", path))["data"]]


async def test_hanging_up_and_transferring(api: Api) -> None:
    """Both are begun, and their outcome is told by events and the CDR (202)."""
    leg = api.channels.add(api.master.account_id)
    path = f"/channels/{leg.call_id}"
    await api.ask("POST", path, data={"action": "hangup"}, status=202)
    await api.ask("POST", path, data={"action": "transfer", "target": "2601"}, status=202)
    assert [leg.call_id] == api.channels.hung_up
    assert [(leg.call_id, "2601")] == api.channels.transferred

    api.channels.settled = False
    refusal = await api.ask("POST", path, data={"action": "transfer", "target": "2601"}, status=409)
    assert "cannot_transfer" == refusal["message"]


@pytest.mark.parametrize(
    ("data", "faults"),
    [
        ({}, {"action": "required"}),
        ({"action": "dance"}, {"action": "enum"}),
        ({"action": "transfer"}, {"target": "required"}),
        ({"action": "transfer", "target": ""}, {"target": "minLength"}),
        ({"action": "transfer", "target": 7}, {"target": "type"}),
    ],
)
async def test_actions_that_cannot_be(api: Api, data: Any, faults: dict[str, str]) -> None:
    leg = api.channels.add(api.master.account_id)
    refusal = await api.ask("POST", f"/channels/{leg.call_id}", data=data, status=400)

    assert faults == {key: next(iter(rules)) for key, rules in refusal["data"].items()}
    assert not api.channels.hung_up
    assert not api.channels.transferred


async def test_another_accounts_leg_is_not_there(api: Api) -> None:
    """Nor can it be ended."""
    child, token = await api.child()
    leg = api.channels.add(api.master.account_id)
    api.store.cdrs.keep([api.channels.add(api.master.account_id, **ENDED)])
    path = f"/v2/accounts/{child.account_id}"

    assert [] == (await api.ask("GET", f"{path}/channels", token=token))["data"]
    assert [] == (await api.ask("GET", f"{path}/cdrs", token=token))["data"]
    for method in ("GET", "POST"):
        await api.ask(method, f"{path}/channels/{leg.call_id}", data={"action": "hangup"}, token=token, status=404)
    await api.ask("GET", f"{path}/cdrs/202311-{leg.call_id}", token=token, status=404)
    await api.ask("GET", "/cdrs", token=token, status=403)
    assert not api.channels.hung_up


async def kept(api: Api, *legs: dict[str, Any]) -> None:
    for values in legs:
        api.store.cdrs.keep([api.channels.add(api.master.account_id, **{**ENDED, **values})])
    await api.store.cdrs.written()


async def test_a_leg_that_has_ended_has_kazoos_shape(api: Api) -> None:
    """Kazoo's durations and times are text; Roost adds how and by whom it ended, and when to the millisecond."""
    await kept(api, {})
    (row,) = (await api.ask("GET", "/cdrs"))["data"]

    assert {
        "id": "202311-0a1b-quickcall",
        "call_id": "0a1b-quickcall",
        "direction": "outbound",
        "authorizing_id": "d" * 32,
        "hangup_cause": "NORMAL_CLEARING",
        "hangup_code": "sip:200",
        "duration_seconds": "63",
        "billing_seconds": "60",
        "ringing_seconds": "2",
        "timestamp": str(1_700_000_000 + GREGORIAN_EPOCH),
        "unix_timestamp": "1700000000",
        "datetime": "2023-11-14 22:13:20",
        "iso_8601": "2023-11-14T22:13:20Z",
        "rfc_1036": "Tue, 14 Nov 2023 22:13:20 GMT",
        "outcome": "answered",
        "sip_status": 200,
        "q850_cause": 16,
        "hangup_side": "number",
        "answered_at": 1_700_000_003.5,
        "auto_answer": True,
    }.items() <= row.items()
    assert row == (await api.ask("GET", f"/cdrs/{row['id']}"))["data"]


@pytest.mark.parametrize(
    ("values", "cause"),
    [
        ({"outcome": "busy", "q850_cause": 17}, "USER_BUSY"),
        ({"outcome": "no_answer", "q850_cause": 19}, "NO_ANSWER"),
        ({"outcome": "cancelled", "q850_cause": 16, "answered": None}, "ORIGINATOR_CANCEL"),
        ({"outcome": "answered_elsewhere", "q850_cause": 26}, "LOSE_RACE"),
        ({"outcome": "failed", "q850_cause": 99}, "INTERWORKING"),
    ],
)
async def test_causes_have_kazoos_names(api: Api, values: dict[str, Any], cause: str) -> None:
    await kept(api, values)

    assert cause == (await api.ask("GET", "/cdrs"))["data"][0]["hangup_cause"]


async def test_pages_begin_with_the_latest(api: Api) -> None:
    await kept(api, *({"call_id": str(each), "began": BEGAN + each} for each in range(5)))
    first = await api.ask("GET", "/cdrs?page_size=2")
    second = await api.ask("GET", f"/cdrs?page_size=2&start_key={first['next_start_key']}")
    third = await api.ask("GET", f"/cdrs?page_size=2&start_key={second['next_start_key']}")

    assert ["4", "3", "2", "1", "0"] == [row["call_id"] for page in (first, second, third) for row in page["data"]]
    assert "next_start_key" not in third
    assert 5 == len((await api.ask("GET", "/cdrs?paginate=false"))["data"])


async def test_a_span_of_time_and_a_user(api: Api) -> None:
    """`created_from` and `created_to` are Gregorian seconds."""
    user = await api.put_user()
    await kept(api, {"call_id": "early"}, {"call_id": "late", "began": BEGAN + 100, "owner_id": user["id"]})
    border = int(BEGAN) + GREGORIAN_EPOCH + 50

    assert ["late"] == [row["call_id"] for row in (await api.ask("GET", f"/cdrs?created_from={border}"))["data"]]
    assert ["early"] == [row["call_id"] for row in (await api.ask("GET", f"/cdrs?created_to={border}"))["data"]]
    assert ["late"] == [row["call_id"] for row in (await api.ask("GET", f"/users/{user['id']}/cdrs"))["data"]]


@pytest.mark.parametrize("query", ["created_from=x", "created_to=-1", "start_key=1e9", "created_from=" + "9" * 30])
async def test_times_that_cannot_be(api: Api, query: str) -> None:
    refusal = await api.ask("GET", f"/cdrs?{query}", status=404)

    assert "is not a number" in refusal["data"]["message"]


async def test_what_cannot_be_there_is_404(api: Api) -> None:
    await api.ask("GET", "/channels/nothing", status=404)
    await api.ask("GET", "/cdrs/nothing", status=404)
