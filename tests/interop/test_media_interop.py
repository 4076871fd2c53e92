"""Quickcalls with their media here, between real phones that have no codec in common: what is heard at each end."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
from media_pair import BARESIP, TONES, codecs, heard, pair
from roost_process import eventually
from rtp_peer import RtpPeer

from daemon.demo_phones import Baresip, PhoneAccount
from sip.flow import Address, Transport
from sip.io.endpoint import Endpoint
from sip.message import Response
from sip.sdp import CONTENT_TYPE, SessionDescription

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from roost_process import Roost
    from sipp_phone import SippPhone

    from sip.flow import Flow
    from sip.io.exchange import ServerTransaction
    from sip.message import Request

pytest.importorskip("pjsua2", reason="pjsua2-pybind11 has no wheel for this Python")
pytestmark = pytest.mark.interop

TALK = 2.0
"""Seconds of talk before the tones are measured."""
HEARD = 0.8
"""Share of the recording's power that has to be the other's tone."""


@pytest.fixture
def warm(media_roost: Callable[..., Roost]) -> Roost:
    """Start a daemon as it is installed: with two workers warm."""
    return media_roost(workers=2)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_phones_without_a_common_codec_hear_each_other(
    warm: Roost, peer: Callable[[str], None], tmp_path: Path, method: str
) -> None:
    """PCMU at one end, G.722 at the other, and no `media` asked for: this is the mode that a quickcall has."""
    peer("baresip")
    async with pair(warm, tmp_path) as talk:
        call_id = await talk.call(method=method)
        await talk.talk()
        channels = warm.on_account("GET", "/channels").data
        assert call_id in {channel["uuid"] for channel in channels}
        await asyncio.sleep(TALK)
        await talk.phones[1].hang_up()
        await talk.over()
        await eventually(lambda: talk.outcomes() == ["answered"], "the outcome")

    one, two = talk.phones
    assert {"PCMU/8000"} == codecs(one)
    assert {"G722/8000"} == codecs(two)
    assert heard(one, TONES[1]) > HEARD
    assert heard(two, TONES[0]) > HEARD


async def test_the_device_hears_ringing_while_the_number_rings(
    media_roost: Callable[..., Roost], peer: Callable[[str], None], sipp_phone: Callable[..., SippPhone], tmp_path: Path
) -> None:
    """440 and 480 Hz, the American ringing; what hangs up meanwhile stops the number."""
    peer("baresip")
    roost = media_roost(workers=0)
    far_end = sipp_phone(roost, roost.create_device(), port=roost.route_port, incoming="callee")
    async with pair(roost, tmp_path) as talk:
        answer = await asyncio.to_thread(roost.quickcall, talk.devices[0], "5551234", "", method="POST")
        assert answer.status == 200
        invite = await asyncio.to_thread(far_end.receive, "INVITE")
        far_end.answer(invite, "Answer: none")
        await asyncio.sleep(TALK)
        await talk.phones[0].hang_up()
        await talk.phones[0].hung_up()
        await talk.kept("cancelled")

    assert heard(talk.phones[0], 440) + heard(talk.phones[0], 480) > HEARD


class FarEnd:
    """What the route leads to: it plays before it answers. Implements `sip.io.endpoint.TransactionUser`."""

    def __init__(self, media: RtpPeer) -> None:
        self._media = media
        self._endpoint = Endpoint(self)

    async def listen(self, port: int) -> None:
        await self._endpoint.listen(Transport.UDP, Address("127.0.0.1", port))

    async def close(self) -> None:
        await self._endpoint.close()

    def is_welcome(self, _request: Request, _flow: Flow) -> bool:
        return True

    def on_request(self, request: Request, transaction: ServerTransaction) -> None:
        if request.method == "INVITE":
            self._media.play(SessionDescription.parse(request.body).media[0].port)
        self._respond(request, transaction, 183 if request.method == "INVITE" else 200)

    def on_ack(self, request: Request, flow: Flow) -> None:
        """Take no notice."""

    def on_flow_lost(self, flow: Flow) -> None:
        """Take no notice."""

    def _respond(self, request: Request, transaction: ServerTransaction, status: int) -> None:
        response = Response.to_request(request, status, to_tag="far")
        if request.method == "INVITE":
            response.set("Contact", "<sip:far@127.0.0.1>")
            response.set("Content-Type", CONTENT_TYPE)
            response.body = self._media.description()
        transaction.respond(response)


@pytest.mark.parametrize(
    ("query", "tones"),
    [pytest.param("", (440, 480), id="ignored"), pytest.param("?ignore-early-media=false", (1000,), id="wanted")],
)
async def test_what_a_number_plays_before_it_answers_is_heard_where_that_is_wanted(
    media_roost: Callable[..., Roost], peer: Callable[[str], None], tmp_path: Path, query: str, tones: tuple[int, ...]
) -> None:
    """Kazoo's default is to ignore it, and then the device hears our ringing."""
    peer("baresip")
    roost = media_roost(workers=0)
    async with AsyncExitStack() as stack:
        far_end = FarEnd(await stack.enter_async_context(RtpPeer(1000)))
        await far_end.listen(roost.route_port)
        stack.push_async_callback(far_end.close)
        talk = await stack.enter_async_context(pair(roost, tmp_path))
        answer = await asyncio.to_thread(roost.quickcall, talk.devices[0], "5551234", query)
        assert answer.status == 200
        await talk.phones[0].talks()
        await asyncio.sleep(TALK)
        assert "quickcall.connected" not in roost.log_text()
        await talk.phones[0].hang_up()
        await talk.phones[0].hung_up()

    assert sum(heard(talk.phones[0], tone) for tone in tones) > HEARD


async def test_a_phone_that_holds_the_other_is_not_heard_until_it_comes_back(
    warm: Roost, peer: Callable[[str], None], tmp_path: Path
) -> None:
    """Its re-INVITEs end here: the other phone gets none, and its call goes on."""
    peer("baresip")
    async with pair(warm, tmp_path) as talk:
        await talk.call()
        await talk.talk()
        await talk.phones[0].command("hold")
        await asyncio.sleep(0.5)
        await talk.phones[0].command("resume")
        await asyncio.sleep(TALK)
        await talk.phones[0].hang_up()
        await talk.over()
        await talk.kept("answered")

    one, two = talk.phones
    assert ["recvonly", "sendrecv"] == re.findall(r"a=(\w+)\r?\n\x1b", one.transcript())[-2:], "as RFC 3264 8.4 has it"
    assert 1 == len(re.findall(r"^INVITE ", two.transcript(), re.MULTILINE))
    assert heard(two, TONES[0]) > HEARD, "silence has no share in it"


async def test_a_key_takes_a_call_that_was_forwarded(warm: Roost, peer: Callable[[str], None], tmp_path: Path) -> None:
    """Who has answered hears short tones until `1` is pressed (RFC 4733); only then do the two hear each other."""
    peer("baresip")
    async with pair(warm, tmp_path) as talk:
        forward = {"enabled": True, "number": talk.devices[1].account.username, "require_keypress": True}
        away = warm.create_device(call_forward=forward)
        assert warm.quickcall(talk.devices[0], away.account.username, "").status == 200
        await talk.talk()
        await asyncio.sleep(0.5)
        assert not any(event["event"] == "quickcall.connected" for event in warm.log_events())
        await talk.phones[1].command("sndcode", "1")
        await eventually(lambda: "quickcall.connected" in warm.log_text(), "they are joined")
        await asyncio.sleep(TALK)
        await talk.phones[0].hang_up()
        await talk.over()
        await talk.kept("answered")

    assert heard(talk.phones[0], TONES[1]) > 0.5, "ringing came first"
    assert heard(talk.phones[1], TONES[0]) > HEARD


async def test_a_transferred_call_keeps_its_worker(
    media_roost: Callable[..., Roost], peer: Callable[[str], None], tmp_path: Path
) -> None:
    """The device hears nothing of it but another voice: no re-INVITE, and the new number has a codec of its own."""
    peer("baresip")
    roost = media_roost(workers=0)
    async with pair(roost, tmp_path) as talk, Baresip(tmp_path / "c", tone=TONES[1]) as third:
        device = roost.create_device(media={"audio": {"codecs": ["PCMA"]}})
        registrar, account = f"{roost.host}:{roost.sip_port}", device.account
        await third.register(
            PhoneAccount(account.username, account.password, account.realm, registrar, codecs=(BARESIP["PCMA"],))
        )
        call_id = await talk.call()
        await talk.talk()
        workers = roost.workers()
        moved = roost.on_account("POST", f"/channels/{call_id}", {"action": "transfer", "target": account.username})
        assert moved.status == 202, moved.body
        await talk.phones[1].hung_up()
        await third.talks()
        assert workers == roost.workers()
        await asyncio.sleep(TALK)
        await third.hang_up()
        await talk.phones[0].hung_up()
        await talk.kept("answered")

    assert {"PCMA/8000"} == codecs(third)
    assert 1 == len(re.findall(r"^INVITE ", talk.phones[0].transcript(), re.MULTILINE))
    assert heard(third, TONES[0]) > HEARD
