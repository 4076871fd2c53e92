"""Where numbers lead, and where a device's calls are forwarded to (contract 6.3, 6.5)."""

from __future__ import annotations

from typing import Any

import pytest
from call_peers import flow, sdp
from quickcall_office import ACCOUNT, World, document, options, settle

from api.ports import Kind, MediaUnavailable, QuickcallFailed
from config.settings import QuickcallSettings

ROUTE = QuickcallSettings(route="sip:{number}@pbx.example:5080")
AT_ONCE = {"enabled": True, "number": "555", "require_keypress": False}


@pytest.fixture
async def world() -> World:
    made = World(ROUTE)
    made.sip.routes["pbx.example"] = flow(5080, "192.0.2.80")
    return made


def rung(world: World) -> list[str]:
    return [sent.request.uri for sent in world.sip.sent if sent.request.method == "INVITE"]


@pytest.mark.parametrize(
    ("forward", "port", "uris"),
    [
        pytest.param({}, 5001, ["sip:555@pbx.example:5080"], id="in-its-place"),
        pytest.param({}, None, ["sip:555@pbx.example:5080"], id="needs-no-registration"),
        pytest.param(
            {"substitute": False}, 5001, ["sip:1001@10.0.0.7:5001;ob", "sip:555@pbx.example:5080"], id="beside"
        ),
        pytest.param({"substitute": False}, None, ["sip:555@pbx.example:5080"], id="beside-nobody"),
        pytest.param({"number": "1002"}, 5001, ["sip:1002@10.0.0.7:5002;ob"], id="to-a-device"),
        pytest.param({"direct_calls_only": True}, 5001, ["sip:555@pbx.example:5080"], id="a-quickcall-is-direct"),
        pytest.param({"enabled": False}, 5001, ["sip:1001@10.0.0.7:5001;ob"], id="off"),
        pytest.param({"number": ""}, 5001, ["sip:1001@10.0.0.7:5001;ob"], id="no-number"),
        pytest.param(
            {"enabled": False, "failover": True}, 5001, ["sip:1001@10.0.0.7:5001;ob"], id="failover-of-a-live-phone"
        ),
        pytest.param({"enabled": False, "failover": True}, None, ["sip:555@pbx.example:5080"], id="failover"),
    ],
)
@pytest.mark.parametrize("side", ["device", "number"])
async def test_where_a_forwarded_device_is_rung(
    world: World, forward: dict[str, Any], port: int | None, uris: list[str], side: str
) -> None:
    """On both sides of a call (contract 6.5)."""
    world.device("1002", 5002)
    device = world.device("1001", port, call_forward={**AT_ONCE, **forward})
    if side == "device":
        await world.call(device)
    else:
        await world.call(world.device("1003", 5003), number="1001")
        world.sip.take("INVITE").answer(200, sdp(4003), tag="dev")
        await settle()

    assert uris == rung(world)


async def test_a_call_id_for_each_leg_that_is_rung(world: World) -> None:
    """The phone and the number that is called beside it have one each, and none answers by itself but the phone."""
    device = world.device("1001", 5001, call_forward={**AT_ONCE, "substitute": False})
    call_ids = await world.call(device)
    phone, number = world.sip.take("INVITE").request, world.sip.take("INVITE").request
    assert {"1001": phone.call_id, "1001:forward": number.call_id} == call_ids
    assert (True, None) == ("Call-Info" in phone.names(), number.first("Call-Info"))

    legs = {leg.call_id: leg for leg in next(iter(world.live.of_account("a" * 32))).record.legs}
    assert ("1001", "555") == (legs[phone.call_id].destination, legs[number.call_id].destination)
    assert "1001" == legs[number.call_id].device_id


@pytest.mark.parametrize(("keep", "shown"), [(True, "1002"), (False, "9")])
async def test_who_is_shown_to_the_number_that_a_call_is_forwarded_to(world: World, keep: bool, shown: str) -> None:
    """`keep_caller_id`: who calls, or else who forwards."""
    forward = {**AT_ONCE, "keep_caller_id": keep}
    await world.call(world.device("1001", 5001, call_forward=forward, caller_id={"internal": {"number": "9"}}))

    assert f"sip:{shown}@office.example" in world.sip.take("INVITE").request.one("From")


async def test_bypass_cannot_hear_a_key_and_says_so(world: World) -> None:
    """Nothing is rung that nobody could take; another phone of the user's is rung all the same."""
    forwarded = world.device("1001", 5001, call_forward={"enabled": True, "number": "555"})
    with pytest.raises(MediaUnavailable, match="require_keypress"):
        await world.call(forwarded)
    assert not world.sip.sent

    await world.call(forwarded, world.device("1003", 5003))
    assert ["sip:1003@10.0.0.7:5003;ob"] == rung(world)


async def test_a_number_forwarded_by_key_ends_the_call_with_the_reason(world: World) -> None:
    """The device that waits hears of it."""
    world.device("1001", 5001, call_forward={"enabled": True, "number": "555"})
    await world.call(world.device("1003", 5003), number="1001")
    world.sip.take("INVITE").answer(200, sdp(4003), tag="dev")
    await settle()

    assert "SIP;cause=302" in world.sip.take("BYE").request.one("Reason")


@pytest.mark.parametrize("numbers", [["1001"], ["1002", "1001"], ["1002", "1003", "1004", "1005", "1006", "555"]])
async def test_devices_that_forward_to_each_other_are_left(world: World, numbers: list[str]) -> None:
    """In a circle, or in too long a chain."""
    names = ["1001", *numbers[:-1]]
    devices = [
        world.device(name, 5001, call_forward={**AT_ONCE, "number": number})
        for name, number in zip(names, numbers, strict=True)
    ]
    with pytest.raises(QuickcallFailed, match="forwards"):
        await world.quickcalls.start(devices[0], [devices[0]], options(), wait=True)

    assert not world.sip.sent


async def test_a_users_number_rings_all_the_phones_that_are_the_users_now(world: World) -> None:
    """Kazoo's extensions are presence ids of users; a hotdesked phone is its guest's (contract 5.10, 6.6)."""
    world.put(document(Kind.USER, "ann", {"presence_id": "200@office.example"}))
    world.device("desk", 5001, owner_id="ann")
    world.device("mobile", 5002, owner_id="ann")
    world.device("lent", 5003, owner_id="ann", hotdesk={"users": {"bea": {}}})
    world.device("borrowed", 5004, owner_id="bea", hotdesk={"users": {"ann": {}}})
    world.device("off", 5005, owner_id="ann", enabled=False)
    await world.call(world.device("1003", 5006), number="200")
    world.sip.take("INVITE").answer(200, sdp(4003), tag="dev")
    await settle()

    assert ["sip:borrowed@10.0.0.7:5004;ob", "sip:desk@10.0.0.7:5001;ob", "sip:mobile@10.0.0.7:5002;ob"] == sorted(
        rung(world)
    )
    assert 3 == len({sent.request.call_id for sent in world.sip.sent})


@pytest.mark.parametrize(
    ("owned", "cause"),
    [
        pytest.param({"port": None}, "cause=480", id="not-registered"),
        pytest.param({"port": 5001, "enabled": False}, "cause=486", id="disabled"),
        pytest.param(None, "cause=486", id="no-phone"),
    ],
)
async def test_a_user_without_a_phone_that_can_ring(world: World, owned: dict[str, Any] | None, cause: str) -> None:
    """The number is the user's: the route does not get it."""
    world.put(document(Kind.USER, "ann", {"presence_id": "200"}))
    if owned is not None:
        world.device("desk", owner_id="ann", **owned)
    await world.call(world.device("1003", 5006), number="200")
    world.sip.take("INVITE").answer(200, sdp(4003), tag="dev")
    await settle()

    assert cause in world.sip.take("BYE").request.one("Reason")


async def test_a_user_that_is_gone_or_renumbered_is_not_found(world: World) -> None:
    """The number goes by the route then."""
    before = world.put(document(Kind.USER, "ann", {"presence_id": "200"}))
    world.extensions.changed(before, document(Kind.USER, "ann", {"presence_id": "201"}))
    assert (None, "ann") == (world.extensions.find(ACCOUNT, "200"), world.extensions.find(ACCOUNT, "201"))
    world.extensions.changed(document(Kind.USER, "ann", {"presence_id": "201"}), None)

    assert world.extensions.find(ACCOUNT, "201") is None


async def test_what_rang_nowhere_is_kept_too(world: World) -> None:
    """A CDR for a device that is not registered."""
    desk = world.device("1001")
    call_ids = await world.call(desk)

    assert [(call_ids["1001"], "not_registered", 480, "device")] == [
        (leg.call_id, leg.outcome, leg.sip_status, leg.hangup_side) for leg in world.kept
    ]
    assert ["quickcall.ended"] == [name for name, _ in world.events]
