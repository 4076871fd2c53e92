"""Click-to-call over an endpoint that a test answers for: what is sent, to whom, and how each call ends."""

# ruff: noqa: E501 - the tables are read by their columns

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from call_peers import FakeTransaction, Sent, flow, sdp
from quickcall_office import YEALINK, World, options, settle

from api.ports import (
    NoEndpoint,
    QuickcallFailed,
    TooManyCalls,
)
from config.settings import QuickcallSettings
from sip.calllimits import CallLimits
from sip.errors import TransactionTimeout, TransportFailed
from sip.sdp import SessionDescription

if TYPE_CHECKING:
    from collections.abc import Mapping


@pytest.fixture
async def world() -> World:
    return World()


async def test_the_phone_is_rung_then_the_number_then_both_talk(world: World) -> None:
    """The whole way of bypass mode: INVITE, INVITE, re-INVITE, each with its ACK (RFC 3725)."""
    desk = world.device("1001", 5001)
    world.device("1002", 5002)
    call_ids = await world.call(desk)
    device = world.sip.take("INVITE")
    assert device.flow == flow(5001)
    assert "sip:1001@10.0.0.7:5001;ob" == device.request.uri
    assert '"Device QuickCall" <sip:1002@office.example>' == str(device.request.first("From")).partition(";")[0]
    assert "<sip:1001@office.example>" == device.request.first("To")
    assert "<sip:roost@192.0.2.1:5060>" == device.request.first("Contact")
    assert "sip:1001@office.example" == device.request.first("X-KAZOO-AOR")
    assert {"1001": device.request.call_id} == call_ids
    assert b"a=inactive" in device.request.body

    device.answer(180, tag="dev").answer(200, sdp(4001, "a=inactive"), tag="dev")
    assert "1 ACK" == world.sip.take_ack().first("CSeq")
    await settle()
    number = world.sip.take("INVITE")
    assert "sip:1002@10.0.0.7:5002;ob" == number.request.uri
    assert '"Reception" <sip:100@office.example>' == str(number.request.first("From")).partition(";")[0]
    assert b"m=audio 4001 " in number.request.body
    assert b"a=sendrecv" in number.request.body

    number.answer(180, tag="num").answer(200, sdp(4002), tag="num")
    assert "sip:phone@10.0.0.7:5002" == world.sip.take_ack().uri
    joined = world.sip.take("INVITE")
    assert ("sip:phone@10.0.0.7:5001", "2 INVITE") == (joined.request.uri, joined.request.first("CSeq"))
    assert b"m=audio 4002 " in joined.request.body
    joined.answer(200, sdp(4001))
    assert "2 ACK" == world.sip.take_ack().first("CSeq")
    assert not world.sip.sent


@pytest.mark.parametrize("who", ["device", "number"])
async def test_hanging_up_either_side_ends_the_other(world: World, who: str) -> None:
    """A BYE is answered at once, and the other leg gets one with the cause."""
    device, number = await world.connect()
    bye = world.ask(device if who == "device" else number, "BYE", 1)
    ours = world.sip.take("BYE")
    assert 200 == bye.status
    assert (5002 if who == "device" else 5001) == ours.flow.remote.port
    assert 'Q.850;cause=16;text="Normal call clearing"' == ours.request.first("Reason")

    ours.answer(200)
    assert world.nothing_left()


async def test_call_ids_are_kazoos_and_the_wires(world: World) -> None:
    """36 hexadecimal digits and a suffix, one for each device (contract 5.10)."""
    one, two = world.device("1001", 5001), world.device("1003", 5003)
    call_ids = await world.call(one, two, auto_answer=False)

    assert [call_ids["1001"], call_ids["1003"]] == [sent.request.call_id for sent in world.sip.sent]
    for call_id in call_ids.values():
        digits, _, suffix = call_id.partition("-")
        assert (36, "quickcall") == (len(bytes.fromhex(digits)) * 2, suffix)


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


async def test_who_waits_hears_of_the_answer(world: World) -> None:
    """POST returns once the device has answered, before the number does."""
    task = await world.waited(world.device("1001", 5001))
    assert not task.done()
    world.sip.take("INVITE").answer(200, sdp(4001), tag="dev")

    assert ["1001"] == list(await task)


@pytest.mark.parametrize(
    ("status", "text"),
    [(486, "busy"), (603, "declined"), (480, "did not answer"), (488, "none of the offered media"), (503, "reached")],
)
async def test_who_waits_hears_why_not(world: World, status: int, text: str) -> None:
    """The cause in words, with both numbers."""
    task = await world.waited(world.device("1001", 5001))
    world.sip.take("INVITE").answer(status)

    with pytest.raises(QuickcallFailed, match=rf"{text}.*SIP {status}"):
        await task
    assert world.nothing_left()


@pytest.mark.parametrize(("failure", "text"), [(TransactionTimeout, "no sign"), (TransportFailed, "cannot be reached")])
async def test_silence_and_a_dead_flow_are_told_apart(world: World, failure: type[Exception], text: str) -> None:
    """RFC 3261 8.1.3.1 has one as 408 and the other as 503."""
    task = await world.waited(world.device("1001", 5001))
    world.sip.take("INVITE").on_failure(failure("x"))

    with pytest.raises(QuickcallFailed, match=text):
        await task


async def test_a_client_that_goes_away_does_not_end_the_call(world: World) -> None:
    """The phone rings on; the call ends by its own limits."""
    task = await world.waited(world.device("1001", 5001))
    task.cancel()
    await settle()
    world.sip.take("INVITE").answer(200, sdp(4001), tag="dev")

    assert 1 == len(world.live)


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


async def test_a_device_that_hangs_up_early_cancels_the_number(world: World) -> None:
    """What rings is cancelled, and the 487 ends it."""
    await world.call(world.device("1001", 5001))
    world.device("1002", 5002)
    device = world.sip.take("INVITE").answer(200, sdp(4001), tag="dev")
    await settle()
    number = world.sip.take("INVITE").answer(180, tag="num")
    world.ask(device, "BYE", 1)
    assert number.cancelled is not None

    number.answer(487)
    assert world.nothing_left()


async def test_a_repeated_2xx_gets_its_ack_again(world: World) -> None:
    """The first ACK was lost (RFC 3261 13.2.2.4)."""
    await world.call(world.device("1001", 5001))
    invite = world.sip.take("INVITE").answer(200, sdp(4001), tag="dev")
    invite.answer(200, sdp(4001), tag="dev")

    first, second = world.sip.take_ack(), world.sip.take_ack()
    assert first is second


async def test_a_fork_that_answers_too_is_ended(world: World) -> None:
    """Behind one contact may be a proxy with several phones."""
    await world.call(world.device("1001", 5001))
    invite = world.sip.take("INVITE").answer(200, sdp(4001), tag="dev")
    invite.answer(200, sdp(4009), tag="fork")

    assert ["<sip:1001@office.example>;tag=dev", "<sip:1001@office.example>;tag=fork"] == [
        ack.first("To") for ack, _ in world.sip.acks
    ]
    assert "<sip:1001@office.example>;tag=fork" == world.sip.take("BYE").request.first("To")


async def test_hold_and_dtmf_of_one_phone_reach_the_other(world: World) -> None:
    """re-INVITE, UPDATE and INFO pass through, body and all, with the answer back."""
    device, number = await world.connect()
    hold = world.ask(number, "INVITE", 5, sdp(4002, "a=sendonly"), Content_Type="application/sdp")
    assert [100] == [response.status for response in hold.responses]
    passed = world.sip.take("INVITE")
    assert (5001, True) == (passed.flow.remote.port, b"a=sendonly" in passed.request.body)
    passed.answer(200, sdp(4001, "a=recvonly"))
    assert (200, True) == (hold.status, b"a=recvonly" in hold.responses[-1].body)
    assert "<sip:roost@192.0.2.1:5060>" == hold.responses[-1].first("Contact")
    world.live.on_dialog_ack(world.of_phone(number, "ACK", 5), flow(5002))
    assert 1 == hold.acknowledgements

    info = world.ask(device, "INFO", 6, b"Signal=5\r\n", Content_Type="application/dtmf-relay")
    relayed = world.sip.take("INFO")
    assert (5002, b"Signal=5\r\n", "application/dtmf-relay") == (
        relayed.flow.remote.port,
        relayed.request.body,
        relayed.request.first("Content-Type"),
    )
    relayed.answer(200)
    assert 200 == info.status


async def test_what_waits_for_the_other_phone_is_answered_at_the_end(world: World) -> None:
    """An INFO whose phone never answers it is not left open."""
    device, number = await world.connect()
    info = world.ask(device, "INFO", 6)
    world.ask(number, "BYE", 1)
    world.sip.take("BYE").answer(200)

    assert world.nothing_left()
    assert 481 == info.status


async def test_glare_and_disorder_are_refused(world: World) -> None:
    """491 for an offer that crosses another, 500 for a lower CSeq (RFC 3261 14.2, 12.2.2)."""
    device, number = await world.connect()
    world.ask(number, "INVITE", 5, sdp(4002))

    assert 491 == world.ask(device, "INVITE", 5, sdp(4001)).status
    assert 500 == world.ask(number, "INFO", 4).status
    assert 200 == world.ask(device, "OPTIONS", 6).status
    assert 489 == world.ask(device, "NOTIFY", 7).status


async def test_an_unknown_dialog_is_not_ours(world: World) -> None:
    """The dispatcher answers 481."""
    device, _ = await world.connect()
    request = world.of_phone(device, "BYE", 9)
    request.set("Call-ID", "another")

    assert not world.live.on_dialog_request(request, FakeTransaction(request, flow(5001)))


async def test_a_phone_that_registered_anew_is_followed(world: World) -> None:
    """The BYE goes along the flow of now."""
    _, number = await world.connect()
    world.bindings.live["1001"][0].flow = flow(5999)
    world.ask(number, "BYE", 1)

    assert flow(5999) == world.sip.take("BYE").flow


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


@pytest.mark.parametrize(("status", "ended"), [(481, True), (405, False)], ids=["dialog-unknown", "method-unknown"])
async def test_a_phone_that_forgot_its_call_ends_it(status: int, ended: bool) -> None:
    """Both legs are asked by OPTIONS while they talk; 481 means that the dialog is over (RFC 3261 12.2.1.2)."""
    world = World(limits=CallLimits(probe=0.001))
    await world.connect()
    while not world.sip.sent:
        await asyncio.sleep(0)
    probe = world.sip.take("OPTIONS").answer(status)
    assert 5001 == probe.flow.remote.port

    assert ended is any(sent.request.method == "BYE" for sent in world.sip.sent)


async def test_stopping_ends_every_call_within_its_limit(world: World) -> None:
    """CANCEL for what rings, BYE for what talks; close returns when they were answered, and no call begins any more."""
    await world.connect()
    await world.call(world.device("1005", 5005))
    ringing = world.sip.take("INVITE").answer(180)
    closing = asyncio.ensure_future(world.live.close())
    await settle()
    assert ringing.cancelled is not None
    ringing.answer(487)
    for _ in range(2):
        world.sip.take("BYE").answer(200)
    await asyncio.wait_for(closing, 1)

    assert world.nothing_left()
    with pytest.raises(TooManyCalls):
        await world.call(world.device("1006", 5006))
