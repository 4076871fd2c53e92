"""Two real phones with a codec each and a tone each, and the quickcalls from one to the other."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from roost_process import eventually

from daemon.demo_phones import Baresip, PhoneAccount
from daemon.demo_tone import tone_share

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from roost_process import Device, Roost

TONES = (1000, 440)
BARESIP = {"PCMU": "PCMU", "PCMA": "PCMA", "G722": "G722/16000/1"}
"""The codecs by baresip's names."""


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


def codecs(phone: Baresip) -> set[str]:
    """Return the audio codecs that the phone was offered or offered, as the SDP names them."""
    return {name.upper() for name in re.findall(r"a=rtpmap:\d+ ([\w/-]+)", phone.transcript())} - {
        "TELEPHONE-EVENT/8000"
    }


def heard(phone: Baresip, tone: int) -> float:
    return max((tone_share(path, tone) for path in phone.recordings()), default=0.0)
