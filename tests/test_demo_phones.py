"""The baresip driver, against a registrar and a peer that are not Roost."""

from __future__ import annotations

import asyncio
import math
import re
import wave
from array import array
from typing import TYPE_CHECKING, cast

import pytest

from daemon.demo_phones import Baresip, PhoneAccount, PhoneFailed, baresip_path, tone_level

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

needs_baresip = pytest.mark.skipif(baresip_path() is None, reason="baresip is not installed")


class TinyRegistrar(asyncio.DatagramProtocol):
    """Answers every REGISTER with one status."""

    def __init__(self, status: str) -> None:
        self.status = status
        self.expiries: list[int] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        text = data.decode()
        if not text.startswith("REGISTER "):
            return
        found = re.search(r"expires[=:] *(\d+)", text, re.IGNORECASE)
        self.expiries.append(int(found[1]) if found else -1)
        kept = re.findall(r"^(?:Via|From|To|Call-ID|CSeq|Contact):.*$", text, re.MULTILINE)
        self.transport.sendto(
            "\r\n".join([f"SIP/2.0 {self.status}", *kept, "Content-Length: 0", "", ""]).encode(), addr
        )


async def start_registrar(status: str) -> tuple[TinyRegistrar, str, asyncio.DatagramTransport]:
    loop = asyncio.get_running_loop()
    transport, registrar = await loop.create_datagram_endpoint(
        lambda: TinyRegistrar(status), local_addr=("127.0.0.1", 0)
    )
    return registrar, f"127.0.0.1:{transport.get_extra_info('sockname')[1]}", transport


@pytest.fixture
async def willing() -> AsyncIterator[tuple[TinyRegistrar, str]]:
    registrar, address, transport = await start_registrar("200 OK")
    yield registrar, address
    transport.close()


@pytest.fixture
async def refusing() -> AsyncIterator[str]:
    _registrar, address, transport = await start_registrar("403 Forbidden")
    yield address
    transport.close()


@needs_baresip
async def test_phone_registers_and_unregisters(tmp_path: Path, willing: tuple[TinyRegistrar, str]) -> None:
    """Adding an account registers it, and stopping the phone takes the registration back."""
    registrar, address = willing
    account = PhoneAccount("alice", "secret", "example.test", address)
    async with Baresip(tmp_path / "phone") as phone:
        await phone.register(account)
        assert [60] == registrar.expiries

        await phone.unregister(account)
        await phone.expect("UNREGISTERING")

    assert 0 == registrar.expiries[-1]


@needs_baresip
async def test_refused_registration_is_told(tmp_path: Path, refusing: str) -> None:
    """A 403 comes back as PhoneFailed with the phone's own words."""
    async with Baresip(tmp_path / "phone") as phone:
        with pytest.raises(PhoneFailed, match="403"):
            await phone.register(PhoneAccount("alice", "secret", "example.test", refusing))


@needs_baresip
async def test_two_phones_hear_each_other(tmp_path: Path) -> None:
    """A direct call carries each phone's tone to the other."""
    async with Baresip(tmp_path / "a", tone=400) as a, Baresip(tmp_path / "b", tone=800) as b:
        for phone, name, other in ((a, "a", b), (b, "b", a)):
            await phone.add_account(PhoneAccount(name, "", "127.0.0.1", f"127.0.0.1:{other.sip_port}", expires=0))
        await a.command("dial", f"sip:b@127.0.0.1:{b.sip_port}")
        await b.expect("CALL_ESTABLISHED")
        await asyncio.sleep(1)
        await a.command("hangup")
        await b.expect("CALL_CLOSED")

    assert tone_level(a.recordings()[-1], 800) > 0.9
    assert tone_level(b.recordings()[-1], 400) > 0.9


@needs_baresip
async def test_unknown_command_is_refused(tmp_path: Path) -> None:
    """What baresip does not know comes back as PhoneFailed."""
    async with Baresip(tmp_path / "phone") as phone:
        with pytest.raises(PhoneFailed, match="command not found"):
            await phone.command("sing")


@pytest.mark.parametrize(
    ("frequency", "least", "most"),
    [pytest.param(400, 0.99, 1.0, id="its-own"), pytest.param(800, 0.0, 0.01, id="other")],
)
def test_tone_level_is_the_share_of_power(tmp_path: Path, frequency: int, least: float, most: float) -> None:
    """A pure tone has all its power at its own frequency."""
    path = tmp_path / "tone.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        samples = array("h", (int(9000 * math.sin(2 * math.pi * 400 * i / 8000)) for i in range(8000)))
        file.writeframes(samples.tobytes())

    assert least <= tone_level(path, frequency) <= most
