"""The log of a run: one grep follows one phone, and a reload changes what is told of which module."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
from roost_process import Roost, eventually

from daemon.demo_phones import Baresip, PhoneAccount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from roost_process import Device
    from sipp_phone import SippPhone

pytestmark = pytest.mark.interop


def grep(roost: Roost, text: str) -> list[dict[str, Any]]:
    """Return the lines of the log that have the text, as grep finds them."""
    return [event for event in roost.log_events() if text in str(event)]


async def test_one_grep_follows_one_phone(own_roost: Roost, peer: Callable[[str], None], tmp_path: Path) -> None:
    """From the device's making to its end; what the grep finds names the Call-IDs that find the rest."""
    peer("baresip")
    device, other = own_roost.create_device(), own_roost.create_device()
    async with Baresip(tmp_path / "one", tone=440) as one, Baresip(tmp_path / "two", tone=1000) as two:
        await one.register(account(own_roost, device))
        await two.register(account(own_roost, other))
        assert (await asyncio.to_thread(own_roost.sync, device)).status == 200
        await eventually(lambda: told(own_roost, device, "notify.answered"), "the answer to the NOTIFY")
        assert (await asyncio.to_thread(own_roost.quickcall, device, other.account.username)).status == 200
        await two.expect("CALL_ESTABLISHED")
        await eventually(lambda: told(own_roost, device, "quickcall.connected"), "the connection")
        await two.command("hangup")
        await eventually(lambda: told(own_roost, device, "quickcall.ended"), "the end of the call")
    own_roost.on_account("DELETE", f"/devices/{device.id}")
    lines = grep(own_roost, device.id)

    made, *_ = lines
    assert (made["event"], made["method"], made["created"]) == ("api.answered", "PUT", device.id)
    assert {line["event"] for line in lines} >= {
        *("registration.added", "sync.requested", "notify.answered", "delivery.changed", "registration.removed"),
        *("quickcall.started", "quickcall.ringing", "quickcall.answered", "quickcall.connected", "quickcall.ended"),
    }
    assert all(line["logger"] and "." in line["event"] for line in own_roost.log_events())
    assert [line["call_id"] for line in lines if line["event"] in ("registration.added", "notify.answered")]
    requests = {line["request_id"] for line in lines if line["event"] in ("sync.requested", "quickcall.started")}
    answered = {line["request_id"] for line in lines if line["event"] == "api.answered"}
    assert len(requests) == 2
    assert requests <= answered
    assert not [line for line in lines if line["event"] == "registration.added" and line["device_id"] == other.id]


def told(roost: Roost, device: Device, event: str) -> bool:
    """Return whether the log has such an event of the device."""
    return any(line["event"] == event for line in grep(roost, device.id))


def account(roost: Roost, device: Device) -> PhoneAccount:
    """Return what to type into a baresip."""
    given = device.account
    return PhoneAccount(given.username, given.password, given.realm, f"{roost.host}:{roost.sip_port}")


def test_wrong_password_is_found_by_the_device(own_roost: Roost, sipp_phone: Callable[..., SippPhone]) -> None:
    """Though nobody proved to be that device."""
    device = own_roost.create_device()
    wrong = type(device)(device.id, type(device.account)(device.account.username, "guess", device.account.realm))
    assert sipp_phone(own_roost, wrong).register().status == 401
    (line,) = (line for line in grep(own_roost, device.id) if line["event"] == "registration.refused")

    assert line["reason"] == "wrong"
    assert line["call_id"]


@pytest.fixture
def quiet_roost(tmp_path: Path) -> Iterator[Roost]:
    """Run a daemon that logs warnings only."""
    daemon = Roost(tmp_path / "roost", {"log": {"level": "warning"}}).create().start()
    yield daemon
    assert daemon.stop() == 0


async def test_reload_changes_the_level_of_one_module(quiet_roost: Roost, sipp_phone: Callable[..., SippPhone]) -> None:
    """On SIGHUP; the others stay as they are."""
    phone = sipp_phone(quiet_roost, quiet_roost.create_device())
    assert (await asyncio.to_thread(phone.register)).status == 200
    assert quiet_roost.log_events() == []

    file = quiet_roost.directory / "roost.toml"
    text = file.read_text()
    file.write_text(text.replace("[log]\n", '[log]\nlevels = ["daemon.presence=debug", "daemon.app=info"]\n'))
    os.kill(quiet_roost.pid, signal.SIGHUP)
    await eventually(lambda: grep(quiet_roost, "config.reloaded"), "the reload")
    assert (await asyncio.to_thread(phone.register)).status == 200
    await eventually(lambda: grep(quiet_roost, "registration.refreshed"), "the refresh")

    assert {line["logger"] for line in quiet_roost.log_events()} == {"daemon.presence", "daemon.app"}
