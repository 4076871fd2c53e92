"""Click-to-call over an endpoint that a test answers for: what is sent, to whom, and how each call ends."""

from __future__ import annotations

import asyncio

import pytest
from call_peers import FakeTransaction, flow, sdp
from quickcall_office import World, settle

from api.ports import (
    QuickcallFailed,
    TooManyCalls,
)
from sip.calllimits import CallLimits
from sip.errors import TransactionTimeout, TransportFailed


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
    assert (5002 if who == "device" else 5001) == ours.flow.port
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
    assert (5001, True) == (passed.flow.port, b"a=sendonly" in passed.request.body)
    passed.answer(200, sdp(4001, "a=recvonly"))
    assert (200, True) == (hold.status, b"a=recvonly" in hold.responses[-1].body)
    assert "<sip:roost@192.0.2.1:5060>" == hold.responses[-1].first("Contact")
    world.live.on_dialog_ack(world.of_phone(number, "ACK", 5), flow(5002))
    assert 1 == hold.acknowledgements

    info = world.ask(device, "INFO", 6, b"Signal=5\r\n", Content_Type="application/dtmf-relay")
    relayed = world.sip.take("INFO")
    assert (5002, b"Signal=5\r\n", "application/dtmf-relay") == (
        relayed.flow.port,
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


@pytest.mark.parametrize(("status", "ended"), [(481, True), (405, False)], ids=["dialog-unknown", "method-unknown"])
async def test_a_phone_that_forgot_its_call_ends_it(status: int, ended: bool) -> None:
    """Both legs are asked by OPTIONS while they talk; 481 means that the dialog is over (RFC 3261 12.2.1.2)."""
    world = World(limits=CallLimits(probe=0.001))
    await world.connect()
    while not world.sip.sent:
        await asyncio.sleep(0)
    probe = world.sip.take("OPTIONS").answer(status)
    assert 5001 == probe.flow.port

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
