"""Whatever a phone was told is still so after `kill -9`."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest
from roost_process import eventually

from daemon.demo_phones import Baresip, PhoneAccount

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from roost_process import Roost
    from sipp_phone import SippPhone

pytestmark = pytest.mark.interop


async def test_phones_are_registered_and_reachable_after_kill_9(
    own_roost: Roost, sipp_phone: Callable[..., SippPhone], peer: Callable[[str], None], tmp_path: Path
) -> None:
    """A new start finds every binding that was answered 200, and its phone, without a new REGISTER."""
    peer("baresip")
    desk, soft, left = (own_roost.create_device() for _ in range(3))
    phone = sipp_phone(own_roost, desk)
    gone = sipp_phone(own_roost, left)
    async with Baresip(tmp_path / "baresip") as baresip:
        account = soft.account
        registrar = f"{own_roost.host}:{own_roost.sip_port}"
        await baresip.register(PhoneAccount(account.username, account.password, account.realm, registrar))
        assert gone.register().status == 200
        assert gone.unregister().status == 200
        assert phone.register().status == 200
        own_roost.kill()
        own_roost.start()

        assert own_roost.registered() == {desk.id, soft.id}
        for device in (desk, soft):
            assert own_roost.sync(device).status == 200
        phone.answer(phone.receive("NOTIFY"), "Answer: 200")
        await eventually(lambda: "Event: check-sync" in baresip.transcript(), "the NOTIFY at baresip")
        assert phone.send_register(authorized=True).status == 200, "the nonce of before is still good"


async def test_a_tcp_phone_registers_again_after_kill_9(
    own_roost: Roost, sipp_phone: Callable[..., SippPhone], tmp_path: Path
) -> None:
    """Its connection is gone with the daemon, its binding is not; a new connection takes it over."""
    device = own_roost.create_device()
    assert sipp_phone(own_roost, device, transport="tcp").register().status == 200
    own_roost.kill()
    own_roost.start()

    assert own_roost.registered() == {device.id}
    phone = sipp_phone(own_roost, device, transport="tcp")
    assert phone.register().status == 200
    assert own_roost.sync(device).status == 200
    phone.answer(phone.receive("NOTIFY"), "Answer: 200")


def test_sigterm_keeps_the_registrations_too(own_roost: Roost, sipp_phone: Callable[..., SippPhone]) -> None:
    """A planned restart ends with status 0 and loses nobody."""
    device = own_roost.create_device()
    phone = sipp_phone(own_roost, device)
    assert phone.register().status == 200

    assert own_roost.stop() == 0
    own_roost.start()

    assert own_roost.registered() == {device.id}


def test_a_nonce_from_before_a_restart_is_good(own_roost: Roost, sipp_phone: Callable[..., SippPhone]) -> None:
    """Its key is in the database: a restart does not make all phones ask twice."""
    device = own_roost.create_device()
    phone = sipp_phone(own_roost, device)
    assert phone.register().status == 200
    assert own_roost.stop() == 0
    own_roost.start()

    assert phone.send_register(authorized=True).status == 200


def test_a_nonce_that_is_no_longer_known_is_called_stale(
    own_roost: Roost, sipp_phone: Callable[..., SippPhone]
) -> None:
    """The phone is told that only its nonce is old, and comes in with the new one (RFC 7616 3.3)."""
    device = own_roost.create_device()
    phone = sipp_phone(own_roost, device)
    assert phone.register().status == 200
    assert own_roost.stop() == 0
    with contextlib.closing(sqlite3.connect(own_roost.database)) as database, database:
        assert database.execute("DELETE FROM settings WHERE key = 'nonce-key'").rowcount == 1
    own_roost.start()

    refused = phone.send_register(authorized=True)

    assert refused.status == 401
    assert "stale=true" in refused.header("WWW-Authenticate").lower()
    assert phone.send_register(authorized=True).status == 200
