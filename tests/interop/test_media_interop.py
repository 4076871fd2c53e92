"""Quickcalls with their media here: real phones with no codec in common, workers that are killed, and the limits."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from roost_process import Roost, eventually
from rtp_peer import RtpPeer

from daemon.demo_phones import Baresip, PhoneAccount
from daemon.demo_tone import tone_share
from sip.flow import Address, Transport
from sip.io.endpoint import Endpoint
from sip.message import Response
from sip.sdp import CONTENT_TYPE, SessionDescription

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from roost_process import Device
    from sipp_phone import SippPhone

    from sip.flow import Flow
    from sip.io.transactions import ServerTransaction
    from sip.message import Request

pytest.importorskip("pjsua2", reason="pjsua2-pybind11 has no wheel for this Python")
pytestmark = pytest.mark.interop

TALK = 2.0
"""Seconds of talk before the tones are measured."""
HEARD = 0.8
"""Share of the recording's power that has to be the other's tone."""
TONES = (1000, 440)
KILLS = 12
"""Workers that are killed at random moments."""


@pytest.fixture
def few(tmp_path: Path) -> Iterator[Callable[..., Roost]]:
    """Start daemons with `[media]` settings of the test's own."""
    daemons: list[Roost] = []

    def start(**media: object) -> Roost:
        daemons.append(Roost(tmp_path / f"roost{len(daemons)}", {"media": media}).create().start())
        return daemons[-1]

    yield start
    for daemon in daemons:
        if daemon.running:
            assert daemon.stop() == 0


@pytest.fixture
def warm(few: Callable[..., Roost]) -> Roost:
    """Start a daemon as it is installed: with two workers warm."""
    return few(workers=2)


class Pair:
    """Two baresips, each with a device: the first one's quickcalls go to the second."""

    def __init__(self, roost: Roost, devices: tuple[Device, Device], phones: tuple[Baresip, Baresip]) -> None:
        self.roost = roost
        self.devices = devices
        self.phones = phones

    async def call(self, query: str = "", *, method: str = "GET") -> str:
        """Begin a quickcall; returns the Call-ID of the device's leg."""
        answer = await asyncio.to_thread(
            self.roost.quickcall, self.devices[0], self.devices[1].account.username, query, method=method
        )
        assert answer.status == 200, answer.body
        return answer.data["endpoints"][0]["outbound_call_id"]

    async def talk(self) -> None:
        for phone in self.phones:
            await phone.talks()

    async def over(self) -> None:
        for phone in self.phones:
            await phone.hung_up()

    async def switch_off(self) -> None:
        """End the phones without a word to a registrar that is gone."""
        for phone in self.phones:
            await phone.kill()

    async def kept(self, outcome: str, times: int = 1) -> None:
        """Wait until so many calls have ended so, and none otherwise."""
        await eventually(lambda: self.outcomes() == [outcome] * times, f"{outcome}: {times}, not {self.outcomes()}")

    def outcomes(self) -> list[str]:
        """Return how the calls ended, by the log."""
        events = self.roost.log_events()
        return [event["outcome"] for event in events if event["event"] == "quickcall.ended"]


@asynccontextmanager
async def pair(roost: Roost, folder: Path, codecs: tuple[str, str] = ("PCMU", "G722")) -> AsyncIterator[Pair]:
    """Make two devices and their phones, each with one codec."""
    async with AsyncExitStack() as stack:
        devices, phones = [], []
        for name, codec, tone in zip("ab", codecs, TONES, strict=True):
            device = roost.create_device(media={"audio": {"codecs": [codec]}})
            phone = await stack.enter_async_context(Baresip(folder / name, tone=tone))
            registrar = f"{roost.host}:{roost.sip_port}"
            account = device.account
            await phone.register(
                PhoneAccount(account.username, account.password, account.realm, registrar, codecs=(BARESIP[codec],))
            )
            devices.append(device)
            phones.append(phone)
        yield Pair(roost, (devices[0], devices[1]), (phones[0], phones[1]))


BARESIP = {"PCMU": "PCMU", "PCMA": "PCMA", "G722": "G722/16000/1"}
"""The codecs by baresip's names."""


def codecs(phone: Baresip) -> set[str]:
    """Return the audio codecs that the phone was offered or offered, as the SDP names them."""
    return {name.upper() for name in re.findall(r"a=rtpmap:\d+ ([\w/-]+)", phone.transcript())} - {
        "TELEPHONE-EVENT/8000"
    }


def heard(phone: Baresip, tone: int) -> float:
    return max((tone_share(path, tone) for path in phone.recordings()), default=0.0)


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
    few: Callable[..., Roost], peer: Callable[[str], None], sipp_phone: Callable[..., SippPhone], tmp_path: Path
) -> None:
    """440 and 480 Hz, the American ringing; what hangs up meanwhile stops the number."""
    peer("baresip")
    roost = few(workers=0)
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
    few: Callable[..., Roost], peer: Callable[[str], None], tmp_path: Path, query: str, tones: tuple[int, ...]
) -> None:
    """Kazoo's default is to ignore it, and then the device hears our ringing."""
    peer("baresip")
    roost = few(workers=0)
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


async def test_a_worker_that_is_killed_ends_its_call_at_both_ends(
    few: Callable[..., Roost], peer: Callable[[str], None], tmp_path: Path
) -> None:
    """Who has waited long for a phone hears it as well; the next call has another worker."""
    peer("baresip")
    roost = few(workers=0)
    async with pair(roost, tmp_path) as talk:
        await talk.call()
        await talk.talk()
        (worker,) = roost.workers()
        os.kill(worker, signal.SIGKILL)
        await talk.over()
        await talk.kept("worker_lost")
        assert {device.id for device in talk.devices} == roost.registered()
        await talk.call()
        await talk.talk()
        await talk.phones[0].hang_up()
        await talk.over()
    legs = [event for event in roost.log_events() if event["event"] == "quickcall.ended"]
    assert ["worker_lost", "answered"] == [event["outcome"] for event in legs]
    assert (503, 41, "us") == (legs[0]["status"], legs[0]["cause"], legs[0]["side"])


async def test_workers_killed_at_random_end_no_more_than_their_calls(
    few: Callable[..., Roost], peer: Callable[[str], None], sipp_phone: Callable[..., SippPhone], tmp_path: Path
) -> None:
    """Before, while and after phones answer: no call is left, and registrations and status never miss a beat."""
    peer("baresip")
    roost, chance = few(workers=1), random.Random(6)
    third = sipp_phone(roost, roost.create_device())
    async with pair(roost, tmp_path) as talk:
        for _ in range(KILLS):
            await talk.call()
            deadline = asyncio.get_running_loop().time() + chance.uniform(0, 0.4)
            while asyncio.get_running_loop().time() < deadline:
                assert {device.id for device in talk.devices} <= await asyncio.to_thread(roost.registered)
            for worker in roost.workers():
                os.kill(worker, signal.SIGKILL)
            answer = await asyncio.to_thread(third.register)
            assert answer.status == 200
            await eventually(lambda: not roost.on_account("GET", "/channels").data, "no leg is left")
        await talk.kept("worker_lost", KILLS)
        for phone in talk.phones:
            assert "Active calls (0)" in await phone.command("listcalls")
        await talk.call()
        await asyncio.sleep(TALK)
        assert 2 == len(roost.on_account("GET", "/channels").data)
        await talk.phones[0].hang_up()
        await eventually(lambda: talk.outcomes() == ["worker_lost"] * KILLS + ["answered"], "the last call is whole")
    await eventually(lambda: len(roost.workers()) == 1, "one is warm, as was asked for")


async def test_no_worker_outlives_the_daemon(warm: Roost, peer: Callable[[str], None], tmp_path: Path) -> None:
    """SIGKILL leaves no time to end them: those with a call and those without end by themselves."""
    peer("baresip")
    async with pair(warm, tmp_path) as talk:
        await talk.call()
        await talk.talk()
        await eventually(lambda: len(warm.workers()) == 3, "two are warm again")
        workers = warm.workers()
        warm.kill()
        await eventually(lambda: not any(map(is_there, workers)), "no worker is left", limit=2)
        await talk.switch_off()


async def test_a_stop_says_bye_to_every_phone(warm: Roost, peer: Callable[[str], None], tmp_path: Path) -> None:
    """And leaves no worker; the exit status is that of a stop in order."""
    peer("baresip")
    async with pair(warm, tmp_path) as talk:
        await talk.call()
        await talk.talk()
        workers = warm.workers()
        assert 0 == await asyncio.to_thread(warm.stop)
        await talk.over()
        assert not any(map(is_there, workers))
        await talk.switch_off()
    assert ["shutdown"] == talk.outcomes()
    assert "stop.timed_out" not in warm.log_text()


async def test_one_call_too_many_is_refused_until_another_ends(
    few: Callable[..., Roost], peer: Callable[[str], None], tmp_path: Path
) -> None:
    """503 with the setting that says so, and nothing rings; then there is room for the next."""
    peer("baresip")
    roost = few(workers=0, max_calls=1)
    async with pair(roost, tmp_path) as talk:
        await talk.call()
        await talk.talk()
        refused(roost, talk.devices[0], "media.max_calls")
        await talk.phones[0].hang_up()
        await talk.over()
        await talk.call()
        await talk.talk()


async def test_a_call_without_free_ports_is_refused(
    few: Callable[..., Roost], sipp_phone: Callable[..., SippPhone]
) -> None:
    """Another program has one of each call's ports: 503 with the setting, and the phone hears nothing."""
    roost = few(workers=0, max_calls=2, port_range="1900-1907")
    device = roost.create_device()
    phone = sipp_phone(roost, device)
    assert phone.register().status == 200
    with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as two:
        one.bind(("0.0.0.0", 1902))
        two.bind(("0.0.0.0", 1904))
        refused(roost, device, "media.port_range")
    assert roost.sync(device).status == 200
    assert phone.receive_any().method == "NOTIFY", "the first thing the phone hears is not an INVITE"


def refused(roost: Roost, device: Device, setting: str) -> None:
    """Ask for a call that there is no room for."""
    answer = roost.quickcall(device, "5551234", "")
    assert (503, "too_many_calls") == (answer.status, answer.body["message"])
    assert setting in answer.data["message"]


def is_there(pid: int) -> bool:
    """Return whether the process runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
