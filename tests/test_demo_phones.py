"""The baresip driver, against a registrar and a peer that are not Roost."""

from __future__ import annotations

import asyncio
import importlib.util
import re
from typing import TYPE_CHECKING, cast

import pytest

from daemon.demo_phones import Baresip, PhoneAccount, PhoneFailed, baresip_path
from daemon.demo_pjsua import PjsuaPhone
from daemon.demo_tone import tone_share

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

needs_baresip = pytest.mark.skipif(baresip_path() is None, reason="baresip is not installed")
needs_pjsua2 = pytest.mark.skipif(
    importlib.util.find_spec("pjsua2") is None, reason="pjsua2-pybind11 has no wheel here"
)

NOTIFY = """\
NOTIFY sip:alice@127.0.0.1 SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKdemo;rport
From: <sip:roost@127.0.0.1>;tag=1
To: <sip:alice@127.0.0.1>
Call-ID: demo
CSeq: 1 NOTIFY
Event: check-sync
Subscription-State: active
Content-Length: 0

"""


class TinyRegistrar(asyncio.DatagramProtocol):
    """Answers every REGISTER with one status."""

    def __init__(self, status: str) -> None:
        self.status = status
        self.expiries: list[int] = []
        self.last_source = ("", 0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        text = data.decode()
        if not text.startswith("REGISTER "):
            return
        self.last_source = addr
        found = re.search(r"expires[=:] *(\d+)", text, re.IGNORECASE)
        self.expiries.append(int(found[1]) if found else -1)
        kept = re.findall(r"^(?:Via|From|To|Call-ID|CSeq|Contact):[^\r]*", text, re.MULTILINE)
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

    assert tone_share(a.recordings()[-1], 800) > 0.9
    assert tone_share(b.recordings()[-1], 400) > 0.9


@needs_baresip
async def test_unknown_command_is_refused(tmp_path: Path) -> None:
    """What baresip does not know comes back as PhoneFailed."""
    async with Baresip(tmp_path / "phone") as phone:
        with pytest.raises(PhoneFailed, match="command not found"):
            await phone.command("sing")


@needs_baresip
async def test_answer_to_a_notify_is_seen(tmp_path: Path, willing: tuple[TinyRegistrar, str]) -> None:
    """The phone's own answer to a check-sync is read from its transcript: baresip says 481 to an unsolicited one."""
    registrar, address = willing
    async with Baresip(tmp_path / "phone") as phone:
        await phone.register(PhoneAccount("alice", "secret", "example.test", address))
        registrar.transport.sendto(NOTIFY.replace("\n", "\r\n").encode(), ("127.0.0.1", phone.sip_port))

        assert "481" == (await phone.notify_answer())[:3]


@needs_pjsua2
async def test_pjsua2_phone_registers_and_answers_a_notify(tmp_path: Path, willing: tuple[TinyRegistrar, str]) -> None:
    """The phone for where baresip is not: it registers, says 200 to a check-sync, and unregisters when stopped."""
    registrar, address = willing
    async with PjsuaPhone(tmp_path / "phone") as phone:
        await phone.register(PhoneAccount("alice", "secret", "example.test", address))
        assert [60] == registrar.expiries

        registrar.transport.sendto(NOTIFY.replace("\n", "\r\n").encode(), registrar.last_source)
        assert "200 OK" == await phone.notify_answer()

    assert 0 == registrar.expiries[-1]


@needs_baresip
@needs_pjsua2
async def test_phones_of_two_makes_hear_each_other(tmp_path: Path, willing: tuple[TinyRegistrar, str]) -> None:
    """A call from baresip to the pjsua2 phone carries each one's tone to the other."""
    registrar, address = willing
    async with Baresip(tmp_path / "a", tone=400) as a, PjsuaPhone(tmp_path / "b", tone=800) as b:
        await b.register(PhoneAccount("b", "", "127.0.0.1", address))
        host, port = registrar.last_source
        await a.add_account(PhoneAccount("a", "", "127.0.0.1", f"{host}:{port}", expires=0))
        await a.command("dial", f"sip:b@{host}:{port}")
        await a.talks()
        await b.talks()
        await asyncio.sleep(1)
        await b.hang_up()
        await a.hung_up()

    assert tone_share(a.recordings()[-1], 800) > 0.9
    assert tone_share(b.recordings()[-1], 400) > 0.9
