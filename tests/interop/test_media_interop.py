"""Quickcalls with their media here: real phones with no codec in common, workers that are killed, and the limits."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from roost_process import Roost, eventually

from daemon.demo_phones import Baresip, PhoneAccount
from daemon.demo_tone import tone_share

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from roost_process import Device

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
