"""The same phones over TLS and over IPv6."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from roost_process import Roost, eventually

from daemon.demo_phones import Baresip, PhoneAccount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sipp_phone import SippPhone

pytestmark = pytest.mark.interop


def has_ipv6() -> bool:
    """Return whether this machine has an IPv6 loopback address."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def tls_roost(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roost]:
    """Run a daemon that serves TLS too, with a certificate of its own making."""
    daemon = Roost(tmp_path_factory.mktemp("tls"), tls=True).create().start()
    yield daemon
    assert daemon.stop() == 0


@pytest.fixture(scope="module")
def ipv6_roost(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roost]:
    """Run a daemon that serves SIP on ::1."""
    if not has_ipv6():
        pytest.skip("no IPv6 on this machine")
    daemon = Roost(tmp_path_factory.mktemp("ipv6"), host="::1").create().start()
    yield daemon
    assert daemon.stop() == 0


async def test_baresip_registers_over_tls_and_is_reached_there(
    tls_roost: Roost, peer: Callable[[str], None], tmp_path: Path
) -> None:
    """REGISTER, check-sync and un-REGISTER on one TLS connection."""
    peer("baresip")
    device = tls_roost.create_device()
    account = device.account
    registrar = f"{tls_roost.host}:{tls_roost.tls_port}"
    async with Baresip(tmp_path / "baresip") as phone:
        line = PhoneAccount(account.username, account.password, account.realm, registrar, transport="tls")
        await phone.register(line)
        assert device.id in tls_roost.registered()
        assert tls_roost.sync(device).status == 200
        await eventually(lambda: "Event: check-sync" in phone.transcript(), "the NOTIFY at the phone")
        assert "TLS" in phone.transcript()
        await phone.unregister(line)
        await eventually(lambda: device.id not in tls_roost.registered(), "unregistered", limit=2)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_sipp_registers_over_ipv6_and_is_reached_there(
    ipv6_roost: Roost, sipp_phone: Callable[..., SippPhone], transport: str
) -> None:
    """Addresses in brackets everywhere: Via, Contact, request-URI (RFC 5118)."""
    device = ipv6_roost.create_device()
    phone = sipp_phone(ipv6_roost, device, transport=transport, host="::1")

    assert phone.register().status == 200
    assert device.id in ipv6_roost.registered()
    assert ipv6_roost.sync(device).status == 200
    phone.answer(phone.receive("NOTIFY"), "Answer: 200")
    assert phone.unregister().status == 200
    assert device.id not in ipv6_roost.registered()
