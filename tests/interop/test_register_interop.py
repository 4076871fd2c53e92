"""Phones that nobody here wrote register, refresh and leave; the API tells it at once."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from roost_process import REALM, Roost, eventually
from sipp_phone import Account

from daemon.demo_phones import Baresip, PhoneAccount, PhoneFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from roost_process import Device
    from sipp_phone import SippPhone

pytestmark = pytest.mark.interop

both_transports = pytest.mark.parametrize("transport", ["udp", "tcp"])


@pytest.fixture(scope="module")
def strict_roost(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roost]:
    """Run a daemon with a longer shortest registration and few contacts."""
    settings = {"sip": {"min_expires": 30, "max_contacts": 2}}
    daemon = Roost(tmp_path_factory.mktemp("strict"), settings).create().start()
    yield daemon
    assert daemon.stop() == 0


def account_of(roost: Roost, device: Device, **options: object) -> PhoneAccount:
    """Return what to type into a baresip for this device."""
    account = device.account
    values = {"registrar": f"{roost.host}:{roost.sip_port}", **options}
    return PhoneAccount(account.username, account.password, account.realm, **values)


@both_transports
def test_sipp_registers_refreshes_and_unregisters(
    roost: Roost, sipp_phone: Callable[..., SippPhone], transport: str
) -> None:
    """The status follows each 200 at once (RFC 3261 10.2)."""
    device = roost.create_device()
    phone = sipp_phone(roost, device, transport=transport)

    assert phone.send_register(authorized=False).status == 401
    assert device.id not in roost.registered()
    assert phone.send_register(authorized=True).status == 200
    assert device.id in roost.registered()
    assert phone.send_register(authorized=True).status == 200, "the refresh uses the same nonce again"
    assert device.id in roost.registered()
    assert phone.unregister().status == 200
    assert device.id not in roost.registered()


@both_transports
async def test_a_registration_that_is_not_refreshed_expires(
    roost: Roost, sipp_phone: Callable[..., SippPhone], transport: str
) -> None:
    """The status forgets a phone when its time is over."""
    device = roost.create_device()
    phone = sipp_phone(roost, device, transport=transport)

    answer = phone.register(expires=2)

    assert answer.status == 200
    assert device.id in roost.registered()
    await eventually(lambda: device.id not in roost.registered(), "expiry", limit=4)


@both_transports
def test_a_wrong_password_never_registers(roost: Roost, sipp_phone: Callable[..., SippPhone], transport: str) -> None:
    """Each try is refused, and an unknown user looks the same as a wrong password."""
    device = roost.create_device()
    wrong = Account(device.account.username, "not-the-password", REALM)
    unknown = Account("nobody-at-all", "not-the-password", REALM)

    refused = sipp_phone(roost, device, account=wrong, transport=transport, host="127.0.0.31").register()
    stranger = sipp_phone(roost, device, account=unknown, transport=transport, host="127.0.0.32").register()

    assert refused.status in {401, 403}
    assert refused.start_line == stranger.start_line
    assert device.id not in roost.registered()


def test_the_200_lists_every_contact_and_star_removes_them_all(
    roost: Roost, sipp_phone: Callable[..., SippPhone]
) -> None:
    """Several contacts of one AOR are kept, each with its own expiry (RFC 3261 10.3)."""
    device = roost.create_device()
    phone = sipp_phone(roost, device)
    desk, soft = f"<sip:desk@{phone.host}:{phone.port}>", f"<sip:soft@{phone.host}:{phone.port}>"

    both = phone.register(contact=f"{desk};expires=40, {soft};expires=50").header("Contact")
    query = phone.register(contact="").header("Contact")
    left = phone.register(contact=f"{desk};expires=0").header("Contact")

    assert "sip:desk@" in both
    assert "sip:soft@" in both
    assert "sip:desk@" in query
    assert "sip:soft@" in query
    assert "sip:desk@" not in left
    assert "sip:soft@" in left
    assert device.id in roost.registered()
    assert phone.register(contact="*", expires=0).header("Contact") == ""
    assert device.id not in roost.registered()


def test_too_short_a_registration_is_told_the_shortest(
    strict_roost: Roost, sipp_phone: Callable[..., SippPhone]
) -> None:
    """423 names Min-Expires, and the phone that obeys is let in (RFC 3261 10.3 step 7)."""
    device = strict_roost.create_device()
    phone = sipp_phone(strict_roost, device)

    refused = phone.register(expires=5)

    assert refused.status == 423
    assert device.id not in strict_roost.registered()
    assert phone.register(expires=int(refused.header("Min-Expires"))).status == 200
    assert device.id in strict_roost.registered()


def test_a_device_cannot_have_contacts_without_end(strict_roost: Roost, sipp_phone: Callable[..., SippPhone]) -> None:
    """However many contacts a phone asks for, no more than `max_contacts` are kept."""
    device = strict_roost.create_device()
    phone = sipp_phone(strict_roost, device)

    answers = [phone.register(contact=f"<sip:c{number}@{phone.host}:{phone.port}>") for number in range(4)]

    assert {answer.status for answer in answers} <= {200, 403}
    assert phone.register(contact="").header("Contact").count("sip:c") == 2


@both_transports
async def test_baresip_registers_refreshes_and_unregisters(
    roost: Roost, peer: Callable[[str], None], tmp_path: Path, transport: str
) -> None:
    """A packaged softphone stays registered past its expiry by refreshing, and leaves."""
    peer("baresip")
    device = roost.create_device()
    account = account_of(roost, device, transport=transport, expires=3)
    async with Baresip(tmp_path / "baresip") as phone:
        await phone.register(account)
        assert device.id in roost.registered()
        for _ in range(2):
            await phone.expect("REGISTER_OK")
            assert device.id in roost.registered()
        await phone.unregister(account)
        await eventually(lambda: device.id not in roost.registered(), "unregistered", limit=1.5)


async def test_baresip_with_a_wrong_password_never_registers(
    roost: Roost, peer: Callable[[str], None], tmp_path: Path
) -> None:
    """The phone is told no, and stops."""
    peer("baresip")
    device = roost.create_device()
    account = device.account
    async with Baresip(tmp_path / "baresip") as phone:
        registrar = f"{roost.host}:{roost.sip_port}"
        with pytest.raises(PhoneFailed, match="was not registered"):
            await phone.register(PhoneAccount(account.username, "not-the-password", REALM, registrar))
        assert device.id not in roost.registered()


@both_transports
def test_sipsak_registers(roost: Roost, peer: Callable[[str], None], transport: str) -> None:
    """A phone that knows the address but not the realm is of the default account.

    sipsak writes the address with its port cut to four digits: the host alone tells whose it is.
    """
    peer("sipsak")
    device = roost.create_device()
    account = device.account
    address = f"sip:{account.username}@{roost.host}:{roost.sip_port}"
    command = [
        "sipsak",
        "-U",
        "-i",
        "-H",
        roost.host,
        "-s",
        address,
        "-C",
        f"sip:{account.username}@127.0.0.1:9",
        "-x",
        "60",
    ]
    command += ["-u", account.username, "-a", account.password, "-E", transport]

    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert device.id in roost.registered()


def test_sipsak_is_answered_when_it_asks_for_options(roost: Roost, peer: Callable[[str], None]) -> None:
    """OPTIONS to the daemon itself is answered (RFC 3261 11.2)."""
    peer("sipsak")

    done = subprocess.run(
        ["sipsak", "-s", f"sip:{roost.host}:{roost.sip_port}"], capture_output=True, text=True, timeout=10, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
