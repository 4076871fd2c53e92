"""Click-to-call: the device is rung with auto-answer headers, then the number, and the two talk to each other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from roost_process import eventually

from daemon.demo_phones import Baresip, PhoneAccount
from daemon.demo_pjsua import PjsuaPhone
from daemon.demo_tone import tone_share

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from roost_process import Device, Roost
    from sipp_phone import SippPhone, SipText

pytestmark = pytest.mark.interop

both_transports = pytest.mark.parametrize("transport", ["udp", "tcp"])

TALK = 1.5
"""Seconds of talk before the tones are measured."""
HEARD = 0.8
"""Share of the recording's power that has to be the other's tone."""
AUTO_ANSWER = ("Call-Info", "Alert-Info", "Answer-Mode", "P-Auto-Answer")


@pytest.fixture
def far_end(roost: Roost, sipp_phone: Callable[..., SippPhone]) -> SippPhone:
    """Start what the configured route leads to: a SIPp that needs no registration."""
    device = roost.create_device()
    return sipp_phone(roost, device, port=roost.route_port, incoming="callee")


def baresip_account(roost: Roost, device: Device, **options: object) -> PhoneAccount:
    """Return what to type into a baresip for this device."""
    account = device.account
    registrar = f"{roost.host}:{roost.sip_port}"
    return PhoneAccount(account.username, account.password, account.realm, registrar, **options)


def auto_answer_headers(invite: SipText) -> list[str]:
    """Return which headers of the INVITE would make a phone answer by itself."""
    return [name for name in AUTO_ANSWER if invite.header(name)]


def outcomes(roost: Roost, device: Device) -> list[str]:
    """Return how the log says that quickcalls of the device ended."""
    ended = (event for event in roost.log_events() if event["event"] == "quickcall.ended")
    return [event["outcome"] for event in ended if device.id in event["call_ids"]]


@both_transports
def test_a_phone_that_answers_because_of_the_header_is_connected_to_the_route(
    roost: Roost, sipp_phone: Callable[..., SippPhone], far_end: SippPhone, transport: str
) -> None:
    """Third-party call control in bypass mode: each gets the other's media address (RFC 3725)."""
    device = roost.create_device()
    phone = sipp_phone(roost, device, transport=transport)
    assert phone.register().status == 200

    answer = roost.quickcall(device, "5551234")
    assert answer.status == 200, answer.body
    assert "answer-after=0" in phone.receive("INVITE").header("Call-Info")
    phone.receive("ACK")
    invite = far_end.receive("INVITE")
    far_end.answer(invite, "Answer: 200", "Then: hang up")
    reinvite = phone.receive("INVITE")
    phone.receive("ACK")
    far_end.receive("ACK")

    assert invite.start_line.startswith(f"INVITE sip:5551234@{roost.host}:{roost.route_port}")
    assert auto_answer_headers(invite) == [], "the far end must not answer by itself"
    assert invite.media_port() == phone.media_port
    assert reinvite.media_port() == far_end.media_port
    far_end.answer(invite, "Now")
    phone.receive("BYE")


def test_a_busy_number_frees_the_phone(roost: Roost, sipp_phone: Callable[..., SippPhone], far_end: SippPhone) -> None:
    """486 from the number ends the device's leg."""
    device = roost.create_device()
    phone = sipp_phone(roost, device)
    assert phone.register().status == 200

    roost.quickcall(device, "5551234")
    phone.receive("ACK")
    far_end.answer(far_end.receive("INVITE"), "Answer: 486")

    phone.receive("BYE")


async def test_hanging_up_while_the_number_rings_cancels_it(
    roost: Roost, peer: Callable[[str], None], far_end: SippPhone, tmp_path: Path
) -> None:
    """The number stops ringing when the device's user gives up."""
    peer("baresip")
    device = roost.create_device()
    async with Baresip(tmp_path / "phone") as phone:
        await phone.register(baresip_account(roost, device))
        roost.quickcall(device, "5551234")
        await phone.expect("CALL_ESTABLISHED")
        invite = await asyncio.to_thread(far_end.receive, "INVITE")
        far_end.answer(invite, "Answer: none")
        await phone.command("hangup")

        await asyncio.to_thread(far_end.receive, "CANCEL")


@both_transports
@pytest.mark.parametrize("who", ["device", "number"])
async def test_two_phones_hear_each_other_and_either_may_hang_up(
    roost: Roost, peer: Callable[[str], None], tmp_path: Path, transport: str, who: str
) -> None:
    """Two packaged softphones exchange RTP; one's BYE ends the other's leg."""
    peer("baresip")
    device, number = roost.create_device(), roost.create_device()
    async with Baresip(tmp_path / "one", tone=440) as one, Baresip(tmp_path / "two", tone=1000) as two:
        await one.register(baresip_account(roost, device, transport=transport))
        await two.register(baresip_account(roost, number, transport=transport))
        answer = roost.quickcall(device, number.account.username)
        assert answer.status == 200, answer.body
        for phone in (one, two):
            await phone.expect("CALL_ESTABLISHED")
        await asyncio.sleep(TALK)
        leaver, other = (one, two) if who == "device" else (two, one)
        await leaver.command("hangup")
        await other.expect("CALL_CLOSED", limit=3)

    assert max(tone_share(path, 1000) for path in one.recordings()) > HEARD
    assert max(tone_share(path, 440) for path in two.recordings()) > HEARD


async def test_a_pjsua2_phone_answers_because_of_the_header_and_is_heard(
    roost: Roost, peer: Callable[[str], None], tmp_path: Path
) -> None:
    """Another stack at the device's end: it follows the re-INVITE, and both hear the other's tone."""
    peer("baresip")
    pytest.importorskip("pjsua2", reason="pjsua2-pybind11 has no wheel for this Python")
    device, number = roost.create_device(), roost.create_device()
    async with Baresip(tmp_path / "two", tone=1000) as two, PjsuaPhone(tmp_path / "one", tone=700) as one:
        await two.register(baresip_account(roost, number))
        await one.register(baresip_account(roost, device, answers=False))
        roost.quickcall(device, number.account.username)
        assert await one.expect("call") is True, "the header alone makes it answer"
        await two.expect("CALL_ESTABLISHED")
        await one.talks()
        await asyncio.sleep(TALK)
        await two.command("hangup")
        await one.hung_up()

    assert max(tone_share(path, 1000) for path in one.recordings()) > HEARD
    assert max(tone_share(path, 700) for path in two.recordings()) > HEARD


def test_without_auto_answer_the_phone_only_rings(roost: Roost, sipp_phone: Callable[..., SippPhone]) -> None:
    """`auto_answer=false` sends no such header, and the phone waits for its user."""
    device = roost.create_device()
    phone = sipp_phone(roost, device)
    assert phone.register().status == 200

    roost.quickcall(device, "5551234", "?media=bypass&auto_answer=false&timeout=4")

    assert auto_answer_headers(phone.receive("INVITE")) == []
    phone.receive("CANCEL", timeout=6)


def test_media_that_the_worker_cannot_have_is_refused_and_says_why(
    roost: Roost, sipp_phone: Callable[..., SippPhone]
) -> None:
    """The mode is never swapped silently: 503, a text that names it, and no phone rings."""
    pytest.importorskip("pjsua2", reason="pjsua2-pybind11 has no wheel for this Python")
    device = roost.create_device(media={"encryption": {"enforce_security": True, "methods": ["srtp"]}})
    phone = sipp_phone(roost, device)
    assert phone.register().status == 200

    answer = roost.quickcall(device, "5551234", "")

    assert answer.status == 503
    assert answer.body["message"] == "media_unavailable"
    assert "enforce_security" in answer.data["message"]
    assert "media=bypass" in answer.data["message"]
    assert roost.sync(device).status == 200
    assert phone.receive_any().method == "NOTIFY", "the first thing the phone hears is not an INVITE"


async def test_a_device_that_is_not_registered_is_rung_nowhere(roost: Roost, far_end: SippPhone) -> None:
    """Kazoo answers 200 and no phone rings; the number is not rung either."""
    device = roost.create_device()

    answer = roost.quickcall(device, "5551234")

    assert answer.status == 200
    await eventually(lambda: outcomes(roost, device) == ["not_registered"], "the outcome in the log")
    with pytest.raises(AssertionError, match="no INVITE"):
        far_end.receive("INVITE", timeout=0.5)
