"""Where the number of a quickcall leads: to another device, or by the route (RFC 3261 22.3)."""

from __future__ import annotations

from typing import Any

import pytest
from call_peers import flow, sdp
from quickcall_office import World, settle

from config.settings import QuickcallSettings


@pytest.fixture
async def world() -> World:
    return World()


ROUTE = QuickcallSettings(route="sip:{number}@pbx.example:5080", username="roost", password="hush")
CHALLENGE = 'Digest realm="pbx", nonce="n1", algorithm=MD5, qop="auth"'


async def test_another_number_goes_by_the_route_with_its_password() -> None:
    """407, then the same INVITE with credentials and a higher CSeq; the ACK carries them too (RFC 3261 22.3)."""
    world = World(ROUTE)
    world.sip.routes["pbx.example"] = flow(5080, "192.0.2.80")
    await world.call(world.device("1001", 5001), number="+49 30 1234", filtered_number="+49301234")
    world.sip.take("INVITE").answer(200, sdp(4001), tag="dev")
    await settle()
    world.sip.acks.clear()
    invite = world.sip.take("INVITE")
    assert "sip:+49%2030%201234@pbx.example:5080" == invite.request.uri
    invite.answer(407, Proxy_Authenticate=CHALLENGE)
    again = world.sip.take("INVITE")
    assert "2 INVITE" == again.request.first("CSeq")
    assert 'Digest username="roost"' in str(again.request.first("Proxy-Authorization"))
    assert b"m=audio 4001 " in again.request.body

    again.answer(200, sdp(4002), tag="pbx", Contact="<sip:gw@192.0.2.80:5080>")
    await settle()
    ack = world.sip.take_ack()
    assert again.request.first("Proxy-Authorization") == ack.first("Proxy-Authorization")
    assert "2 ACK" == ack.first("CSeq")


async def test_a_wrong_password_of_the_route_ends_the_call() -> None:
    """It is not tried for ever."""
    world = World(ROUTE)
    world.sip.routes["pbx.example"] = flow(5080, "192.0.2.80")
    await world.call(world.device("1001", 5001), number="30")
    world.sip.take("INVITE").answer(200, sdp(4001), tag="dev")
    await settle()
    for _ in range(3):
        world.sip.take("INVITE").answer(407, Proxy_Authenticate=CHALLENGE)
    await settle()

    assert str(world.sip.take("BYE").request.first("Reason")).startswith("SIP;cause=407;")


async def test_a_dialog_of_the_route_follows_its_contact() -> None:
    """The PBX may want its dialogs elsewhere (RFC 3261 12.2.1.1)."""
    world = World(ROUTE)
    world.sip.routes |= {"pbx.example": flow(5080, "192.0.2.80"), "192.0.2.81": flow(5081, "192.0.2.81")}
    await world.call(world.device("1001", 5001), number="30")
    world.sip.take("INVITE").answer(200, sdp(4001), tag="dev")
    await settle()
    world.sip.acks.clear()
    world.sip.take("INVITE").answer(200, sdp(4002), Contact="<sip:gw@192.0.2.81:5081>")
    await settle()

    assert flow(5081, "192.0.2.81") == world.sip.acks[0][1]


@pytest.mark.parametrize(
    ("number", "prepare", "reason"),
    [
        pytest.param("30", {}, "cause=404", id="no-route"),
        pytest.param("1002", {"port": None}, "cause=480", id="not-registered"),
        pytest.param("1002", {"port": 5002, "enabled": False}, "cause=486", id="disabled"),
        pytest.param("1002", {"port": 5002, "sip": {"ip": "nowhere.example"}}, "cause=503", id="no-way-there"),
    ],
)
async def test_a_number_that_cannot_be_called_frees_the_phone(
    world: World, number: str, prepare: dict[str, Any], reason: str
) -> None:
    """The device is held already: it gets a BYE that says why."""
    if prepare:
        world.device("1002", **prepare)
    await world.call(world.device("1001", 5001), number=number)
    world.sip.take("INVITE").answer(200, sdp(4001), tag="dev")
    await settle()
    bye = world.sip.take("BYE")
    assert reason in str(bye.request.first("Reason"))

    bye.answer(200)
    assert world.nothing_left()


async def test_the_number_is_found_by_presence_id(world: World) -> None:
    """Kazoo's short numbers are presence ids mostly."""
    world.device("lobby", 5002, presence_id="42")
    await world.call(world.device("1001", 5001), number="42")
    world.sip.take("INVITE").answer(200, sdp(4001), tag="dev")
    await settle()

    assert "sip:lobby@10.0.0.7:5002;ob" == world.sip.take("INVITE").request.uri


async def test_early_media_is_not_possible_and_is_reported(world: World) -> None:
    """An announcement before the answer reaches nobody with media=bypass: who looks for it finds why."""
    await world.call(world.device("1001", 5001))
    world.device("1002", 5002)
    world.sip.take("INVITE").answer(200, sdp(4001), tag="dev")
    await settle()
    number = world.sip.take("INVITE").answer(183, sdp(4002), tag="num").answer(183, sdp(4002), tag="num")
    assert [False] == [facts["heard"] for name, facts in world.events if name == "quickcall.early_media"]
    number.answer(486, tag="num")
    await settle()
    world.sip.take("BYE").answer(200)

    assert ["", "sent early media, which media=bypass does not pass on"] == [leg.remark for leg in world.kept]
