"""Quickcalls whose media flows through a worker: what each phone is told, what it hears, and why a call is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from call_peers import WORKER_PORTS, FakeSip, Sent, flow, sdp
from quickcall_office import World, settle

from api.ports import MediaUnavailable, QuickcallFailed, TooManyCalls
from config.settings import QuickcallSettings
from daemon.invitation import Target
from daemon.media import LocalAddresses
from sip.headers import NameAddr
from sip.invite import Invitee
from sip.media.supervisor import NoMedia, NoRoom
from sip.mediaplan import Source
from sip.outcome import Side
from sip.sdp import SessionDescription

if TYPE_CHECKING:
    from call_peers import FakeWorker

    from api.ports import Document

ENFORCED = {"media": {"encryption": {"enforce_security": True, "methods": ["srtp"]}}}


@pytest.fixture
async def world() -> World:
    return World(QuickcallSettings(route="sip:{number}@pbx.example"))


def with_codecs(*names: str) -> dict[str, object]:
    return {"media": {"audio": {"codecs": list(names)}}}


def offered(sent: Sent) -> SessionDescription:
    return SessionDescription.parse(sent.request.body)


async def talk(world: World, *devices: Document, number: str = "1002") -> tuple[Sent, Sent, FakeWorker]:
    """Let the first device and a number come to talk; returns their INVITEs."""
    await world.call(*devices, bypass=False, number=number)
    device = world.sip.take("INVITE").answer(200, sdp(4001), tag="dev")
    await settle()
    number_leg = world.sip.take("INVITE").answer(200, sdp(4002), tag="num")
    await settle()
    return device, number_leg, world.workers.given[-1]


async def test_each_phone_is_offered_the_worker_in_its_device_s_codecs(world: World) -> None:
    """One leg PCMU, the other G722: they need no codec in common, and no re-INVITE."""
    one = world.device("1001", 5001, **with_codecs("PCMU"))
    world.device("1002", 5002, **with_codecs("G722", "PCMA"))

    device, number, worker = await talk(world, one)

    assert ("0", "101") == offered(device).media[0].formats
    assert ("9", "8", "101") == offered(number).media[0].formats
    assert (WORKER_PORTS[Side.A], WORKER_PORTS[Side.B]) == (
        offered(device).media[0].port,
        offered(number).media[0].port,
    )
    assert b"c=IN IP4 192.0.2.1" in device.request.body
    assert {Side.A: 4001, Side.B: 4002} == {side: said.media[0].port for side, said in worker.said.items()}
    assert {Side.A: Source.OTHER, Side.B: Source.OTHER} == worker.hears
    assert not world.sip.sent


async def test_a_number_beyond_the_route_is_offered_the_caller_s_codecs_and_g711(world: World) -> None:
    """It has no device document, and every PBX knows G.711."""
    world.sip.routes["pbx.example"] = flow(5070)

    _, number, _ = await talk(world, world.device("1001", 5001, **with_codecs("G722")), number="5551234")

    assert ("9", "0", "8", "101") == offered(number).media[0].formats


@pytest.mark.parametrize(("ignored", "heard"), [(True, Source.RINGBACK), (False, Source.OTHER)])
async def test_ringing_is_ours_unless_early_media_is_wanted(world: World, ignored: bool, heard: Source) -> None:
    """`ignore-early-media=false` lets the device hear the far network before the answer."""
    one, _ = world.device("1001", 5001), world.device("1002", 5002)
    await world.call(one, bypass=False, ignore_early_media=ignored)
    world.sip.take("INVITE").answer(200, sdp(4001), tag="dev")
    await settle()
    world.sip.take("INVITE").answer(183, sdp(4002), tag="num")

    worker = world.workers.given[-1]
    assert heard is worker.hears[Side.A]
    assert (Side.B in worker.said) is not ignored


async def test_a_lost_worker_ends_both_legs(world: World) -> None:
    """BYE to each with a Reason, and an outcome of its own."""
    one, _ = world.device("1001", 5001), world.device("1002", 5002)
    device, number, worker = await talk(world, one)

    worker.lose()
    byes = [world.sip.take("BYE") for _ in range(2)]
    for bye in byes:
        bye.answer(200)
    await settle()

    assert {device.request.call_id, number.request.call_id} == {bye.request.call_id for bye in byes}
    assert all("cause=41" in str(bye.request.first("Reason")) for bye in byes)
    assert {"worker_lost": 1} == world.live.ended
    assert 1 == worker.closed
    assert world.nothing_left()


async def test_who_waits_hears_that_the_worker_was_lost(world: World) -> None:
    """While the device still rings: a POST says so."""
    waiter = await world.waited(world.device("1001", 5001), bypass=False)
    invite = world.sip.take("INVITE").answer(180, tag="dev")
    world.workers.given[-1].lose()
    invite.answer(487)

    with pytest.raises(QuickcallFailed, match="worker lost"):
        await waiter
    assert invite.cancelled is not None


async def test_a_key_takes_a_call_that_was_forwarded(world: World) -> None:
    """Whoever answers hears that a key is waited for; other keys, and those of the caller, are not it."""
    one = world.device("1001", 5001)
    world.device("1002", call_forward={"enabled": True, "number": "1003", "require_keypress": True})
    world.device("1003", 5003)
    _, _, worker = await talk(world, one)

    for side, key in ((Side.B, "5"), (Side.A, "1")):
        worker.press(side, key)
        assert Source.ASKING is worker.hears[Side.B]
    worker.press(Side.B, "1")

    assert {Side.A: Source.OTHER, Side.B: Source.OTHER} == worker.hears


async def test_the_worker_is_let_go_when_the_call_ends(world: World) -> None:
    """Once, whoever hung up."""
    one, _ = world.device("1001", 5001), world.device("1002", 5002)
    device, _, worker = await talk(world, one)
    assert not worker.closed

    world.ask(device, "BYE", 2)
    world.sip.take("BYE").answer(200)
    await settle()

    assert 1 == worker.closed


async def test_of_a_user_s_phones_the_first_that_answers_has_the_worker(world: World) -> None:
    """All are offered the same end of it, each in its own codecs; those that were slower are cancelled."""
    slow = world.device("1001", 5001, **with_codecs("PCMA"))
    fast = world.device("1003", 5003, **with_codecs("G722"))
    world.device("1002", 5002)
    await world.call(slow, fast, bypass=False)
    one, two = world.sip.take("INVITE"), world.sip.take("INVITE").answer(200, sdp(4003), tag="fast")
    await settle()

    assert WORKER_PORTS[Side.A] == offered(one).media[0].port == offered(two).media[0].port
    assert (("8", "101"), ("9", "101")) == (offered(one).media[0].formats, offered(two).media[0].formats)
    assert one.cancelled is not None
    assert 4003 == world.workers.given[-1].said[Side.A].media[0].port
    assert 1 == len(world.workers.given)


async def test_a_device_that_enforces_security_is_refused_with_the_reason(world: World) -> None:
    """The worker has no SRTP, and nothing goes in clear (contract 6.7)."""
    with pytest.raises(MediaUnavailable, match="enforce_security"):
        await world.call(world.device("1001", 5001, **ENFORCED), bypass=False)

    assert not world.sip.sent
    assert not world.workers.given


async def test_of_a_user_s_devices_those_that_enforce_security_are_left_out(world: World) -> None:
    """The others ring."""
    clear, secure = world.device("1001", 5001), world.device("1003", 5003, **ENFORCED)

    await world.call(clear, secure, bypass=False)

    assert [5001] == [sent.flow.port for sent in world.sip.sent]


async def test_a_number_that_enforces_security_is_not_rung(world: World) -> None:
    """The call ends with the outcome of media that cannot be agreed on."""
    one, _ = world.device("1001", 5001), world.device("1002", 5002, **ENFORCED)
    await world.call(one, bypass=False)
    world.sip.take("INVITE").answer(200, sdp(4001), tag="dev")
    await settle()
    world.sip.take("BYE").answer(200)

    assert not world.sip.sent
    assert {"rejected_codec": 1} == world.live.ended


@pytest.mark.parametrize(("refusal", "answer"), [(NoRoom("full"), TooManyCalls), (NoMedia("none"), MediaUnavailable)])
async def test_a_call_without_a_worker_is_refused_and_rings_nothing(
    world: World, refusal: NoMedia, answer: type[Exception]
) -> None:
    """No room passes, and the API says when to come again; a worker that cannot be had does not."""
    world.workers.refusal = refusal
    with pytest.raises(answer, match=str(refusal)):
        await world.call(world.device("1001", 5001), bypass=False)

    assert not world.sip.sent
    assert world.nothing_left()


async def test_a_phone_over_ipv6_is_refused_with_the_reason(world: World) -> None:
    """The worker has no IPv6 media."""
    device = world.device("1001")
    world.register("1001", 5001, flow=flow(5001, "2001:db8::7", local="2001:db8::1"))
    with pytest.raises(MediaUnavailable, match="IPv6"):
        await world.call(device, bypass=False)

    assert not world.sip.sent


@pytest.mark.parametrize(
    ("remote", "local", "address", "seen"),
    [
        pytest.param("10.0.0.7", "192.0.2.1", "", "192.0.2.1", id="as-for-sip"),
        pytest.param("10.0.0.7", "192.0.2.1", "203.0.113.7", "203.0.113.7", id="beyond-a-nat"),
        pytest.param("127.0.0.1", "127.0.0.1", "203.0.113.7", "127.0.0.1", id="on-this-host"),
        pytest.param("2001:db8::7", "2001:db8::1", "", "", id="ipv6"),
        pytest.param("2001:db8::7", "2001:db8::1", "203.0.113.7", "203.0.113.7", id="ipv6-and-an-address-for-all"),
    ],
)
def test_our_address_is_the_one_that_the_phone_sees(remote: str, local: str, address: str, seen: str) -> None:
    """That of its SIP, unless `media.address` is set; a PBX on this host is spoken to on loopback all the same."""
    nobody = NameAddr("", "")
    target = Target(Invitee("", "c", nobody, nobody), lambda: flow(5001, remote, local=local))

    assert ([seen] if seen else []) == [found for _, found in LocalAddresses(FakeSip(), address).usable([target])]
