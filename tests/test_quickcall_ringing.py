"""How a quickcall rings the device: which of its contacts, at which URI, with what in the INVITE."""

# ruff: noqa: E501 - the tables are read by their columns

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from call_peers import Sent, flow, sdp
from quickcall_office import YEALINK, World, options, settle

from api.ports import (
    NoEndpoint,
    QuickcallFailed,
)
from sip.sdp import SessionDescription

if TYPE_CHECKING:
    from collections.abc import Mapping


@pytest.fixture
async def world() -> World:
    return World()


async def test_every_contact_is_rung_and_the_first_answer_wins(world: World) -> None:
    """One Call-ID and From tag for a device's contacts, as a fork of RFC 3261 16.7 would; the others hear who won."""
    desk = world.device("1001", 5001)
    world.register("1001", 5011)
    await world.call(desk)
    first, second = world.sip.take("INVITE"), world.sip.take("INVITE")
    assert (first.request.call_id, first.request.first("From")) == (
        second.request.call_id,
        second.request.first("From"),
    )

    second.answer(180)
    first.answer(200, sdp(4001), tag="dev")
    assert [("Reason", 'SIP;cause=200;text="Call completed elsewhere"')] == second.cancelled
    assert first.cancelled is None


async def test_a_phone_may_want_to_count_missed_calls(world: World) -> None:
    """sip.ignore_completed_elsewhere false (contract 6.7)."""
    desk = world.device("1001", 5001, sip={"ignore_completed_elsewhere": False})
    world.register("1001", 5011)
    await world.call(desk)
    first, second = world.sip.take("INVITE"), world.sip.take("INVITE")
    first.answer(200, sdp(4001), tag="dev")

    assert [] == second.cancelled


async def test_auto_answer_asks_the_phone_in_its_own_way(world: World) -> None:
    """By the vendor of the binding's User-Agent (vendors 3)."""
    await world.call(world.device("1001", 5001, user_agent=YEALINK))
    invite = world.sip.take("INVITE").request

    assert "sip:1001@10.0.0.7:5001;ob;intercom=true" == invite.uri
    assert "<sip:office.example>;answer-after=0" == invite.first("Call-Info")


async def test_without_auto_answer_nothing_asks_for_it(world: World) -> None:
    """The phone rings."""
    await world.call(world.device("1001", 5001, user_agent=YEALINK), auto_answer=False)
    invite = world.sip.take("INVITE").request

    assert "sip:1001@10.0.0.7:5001;ob" == invite.uri
    assert {"Call-Info", "Alert-Info", "Answer-Mode", "P-Auto-Answer"}.isdisjoint(invite.names())


async def test_the_number_is_never_asked_to_answer_by_itself(world: World) -> None:
    """Not by the vendor's headers, nor by those that the calling device puts on its calls."""
    headers = {"out": {"Call-Info": "<sip:x>;answer-after=0", "X-Cost": "7"}, "in": {"X-In": "1"}}
    desk = world.device("1001", 5001, sip={"custom_sip_headers": headers})
    world.device("1002", 5002, user_agent=YEALINK)
    await world.call(desk)
    device = world.sip.take("INVITE").answer(200, sdp(4001), tag="dev")
    await settle()
    number = world.sip.take("INVITE").request

    assert ("1", "7") == (device.request.first("X-In"), device.request.first("X-Cost"))
    assert (None, "7") == (number.first("X-In"), number.first("X-Cost"))
    assert {"Call-Info", "Alert-Info", "Answer-Mode", "P-Auto-Answer"}.isdisjoint(number.names())
    assert "intercom" not in number.uri


@pytest.mark.parametrize(
    ("sip", "uri"),
    [
        pytest.param({}, "sip:1001@10.0.0.7:5001;ob", id="default-is-username"),
        pytest.param({"invite_format": "username", "static_invite": "desk"}, "sip:desk@10.0.0.7:5001;ob", id="static"),
        pytest.param({"invite_format": "contact"}, "sip:x-1001@10.0.0.7:5001;ob", id="contact"),
        pytest.param({"invite_format": "e164"}, "sip:+14158867900@10.0.0.7:5001;ob", id="e164"),
        pytest.param({"invite_format": "npan"}, "sip:4158867900@10.0.0.7:5001;ob", id="npan"),
        pytest.param({"invite_format": "1npan"}, "sip:14158867900@10.0.0.7:5001;ob", id="1npan"),
        pytest.param({"invite_format": "1npan", "number": "2125550100"}, "sip:12125550100@10.0.0.7:5001;ob", id="own-number"),
    ],
)  # fmt: skip
async def test_the_request_uri_follows_invite_format(world: World, sip: dict[str, str], uri: str) -> None:
    """Contract 6.5."""
    desk = world.device("1001", 5001, sip=sip)
    await world.call(desk, number="(415) 886-7900", filtered_number="4158867900")

    assert uri == world.sip.take("INVITE").request.uri


@pytest.mark.parametrize(
    ("sip", "uri", "route"),
    [
        pytest.param({"invite_format": "route", "route": "sip:desk@pbx.example:5070"}, "sip:desk@pbx.example:5070", None, id="route"),
        pytest.param({"ip": "192.0.2.50"}, "sip:1001@192.0.2.50", None, id="ip"),
        pytest.param({"ip": "192.0.2.50", "proxy": "edge.example"}, "sip:1001@192.0.2.50", "<sip:edge.example;lr>", id="proxy"),
        pytest.param({"ip": "192.0.2.50", "transport": "tcp"}, "sip:1001@192.0.2.50;transport=tcp", None, id="transport"),
    ],
)  # fmt: skip
async def test_a_fixed_address_needs_no_registration(
    world: World, sip: dict[str, str], uri: str, route: str | None
) -> None:
    """sip.ip, sip.route and sip.proxy (contract 6.5)."""
    world.sip.routes = {host: flow(5070, host) for host in ("pbx.example", "192.0.2.50", "edge.example")}
    await world.call(world.device("1001", sip=sip))
    invite = world.sip.take("INVITE")

    assert (uri, route) == (invite.request.uri, invite.request.first("Route"))


async def test_a_path_is_gone_along(world: World) -> None:
    """A phone behind an edge proxy is reached through it (RFC 3327)."""
    desk = world.device("1001")
    world.register("1001", 5001, path=("<sip:edge.example;lr>",))
    await world.call(desk)

    assert ["<sip:edge.example;lr>"] == world.sip.take("INVITE").request.lines("Route")


async def test_ringtone_and_codecs_are_the_devices(world: World) -> None:
    """Alert-Info of ringtones.internal (contract 6.4), the codec list in its order (6.7)."""
    media = {"audio": {"codecs": ["G722", "PCMA"]}, "encryption": {"methods": ["srtp"]}}
    desk = world.device("1001", 5001, ringtones={"internal": "<http://x/ring.wav>"}, media=media)
    await world.call(desk)
    invite = world.sip.take("INVITE").request
    audio = SessionDescription.parse(invite.body).media[0]

    assert "<http://x/ring.wav>" == invite.first("Alert-Info")
    assert ("9", "8", "101") == audio.formats
    assert "RTP/SAVP" == audio.protocol
    assert audio.attributes("crypto")[0].startswith("1 AES_CM_128_HMAC_SHA1_80 inline:")


async def test_an_unregistered_device_rings_nothing_and_is_no_error(world: World) -> None:
    """Registration is not checked by the API (contract 5.10); who waits hears of it."""
    desk = world.device("1001")
    call_ids = await world.call(desk)
    assert ["1001"] == list(call_ids)
    assert not world.sip.sent

    with pytest.raises(QuickcallFailed, match="not registered"):
        await world.quickcalls.start(desk, [desk], options(), wait=True)
    assert world.nothing_left()


@pytest.mark.parametrize("data", [{"enabled": False}, {"do_not_disturb": {"enabled": True}}], ids=["disabled", "dnd"])
async def test_a_device_that_may_not_be_rung_is_no_endpoint(world: World, data: dict[str, Any]) -> None:
    """500 in the API (contract 5.10)."""
    with pytest.raises(NoEndpoint):
        await world.call(world.device("1001", 5001, **data))


async def test_the_phone_that_rings_too_long_is_cancelled(world: World) -> None:
    """The option `timeout`; a 200 that crosses the CANCEL is acknowledged and ended."""
    task = await world.waited(world.device("1001", 5001), timeout=0)
    invite = world.sip.take("INVITE").answer(180, tag="dev")
    with pytest.raises(QuickcallFailed):
        await asyncio.wait_for(_after_cancel(invite, task, world), 1)

    assert world.nothing_left()


async def _after_cancel(invite: Sent, task: asyncio.Task[Mapping[str, str]], world: World) -> None:
    while invite.cancelled is None:
        await asyncio.sleep(0)
    invite.answer(200, sdp(4001), tag="dev")
    world.sip.take_ack()
    world.sip.take("BYE").answer(200)
    await task


async def test_a_ringing_phone_that_knows_talk_is_told_to(world: World) -> None:
    """In-dialog NOTIFY as the fallback for auto-answer (vendors 3); the 2xx then keeps the dialog's CSeq."""
    await world.call(world.device("1001", 5001))
    invite = world.sip.take("INVITE").answer(180, tag="dev", Allow_Events="talk, hold")
    invite.answer(180, tag="dev", Allow_Events="talk, hold")
    notify = world.sip.take("NOTIFY")
    assert ("talk", "2 NOTIFY") == (notify.request.first("Event"), notify.request.first("CSeq"))
    assert not world.sip.sent

    invite.answer(200, sdp(4001), tag="dev")
    await settle()
    assert "3 BYE" == world.sip.take("BYE").request.first("CSeq")
