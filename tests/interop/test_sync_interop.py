"""check-sync reaches the phone by the flow it registered on, and its answer is seen."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from roost_process import eventually
from sipp_phone import SippFailed

from daemon.demo_phones import Baresip, PhoneAccount

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from roost_process import Device, Roost
    from sipp_phone import SippPhone

pytestmark = pytest.mark.interop

both_transports = pytest.mark.parametrize("transport", ["udp", "tcp"])


def answers_seen(roost: Roost, device: Device) -> list[int]:
    """Return the final answers to check-syncs of the device that the daemon logged."""

    def is_ours(event: dict[str, Any]) -> bool:
        return event["event"] == "notify.answered" and device.account.username in str(event.get("aor"))

    return [event["status"] for event in roost.log_events() if is_ours(event)]


@both_transports
@pytest.mark.parametrize("status", [200, 481])
async def test_the_answer_to_a_check_sync_is_logged(
    roost: Roost, sipp_phone: Callable[..., SippPhone], transport: str, status: int
) -> None:
    """A NOTIFY with Event: check-sync arrives on the phone's own socket or connection."""
    device = roost.create_device()
    phone = sipp_phone(roost, device, transport=transport)
    assert phone.register().status == 200

    answer = roost.sync(device)
    notify = phone.receive("NOTIFY")
    assert answers_seen(roost, device) == []
    phone.answer(notify, f"Answer: {status}")

    assert answer.status == 200
    assert answer.body["status"] == "success"
    assert notify.header("Event").startswith("check-sync")
    assert notify.header("Subscription-State").startswith("terminated")
    assert f"sip:{device.account.username}@" in notify.header("To")
    await eventually(lambda: answers_seen(roost, device) == [status], "the answer in the log")


def test_a_contact_that_lies_is_reached_by_its_flow(roost: Roost, sipp_phone: Callable[..., SippPhone]) -> None:
    """A phone behind NAT names an address of its own; the NOTIFY goes where the REGISTER came from."""
    device = roost.create_device()
    phone = sipp_phone(roost, device)
    assert phone.register(contact="<sip:phone@192.0.2.77:5062>").status == 200

    roost.sync(device)
    notify = phone.receive("NOTIFY")
    phone.answer(notify, "Answer: 200")

    assert notify.start_line == "NOTIFY sip:phone@192.0.2.77:5062 SIP/2.0"


def test_the_api_does_not_wait_for_a_phone_that_never_answers(
    roost: Roost, sipp_phone: Callable[..., SippPhone]
) -> None:
    """The HTTP answer comes at once, whatever the phone does."""
    device = roost.create_device()
    phone = sipp_phone(roost, device)
    assert phone.register().status == 200

    started = time.monotonic()
    answer = roost.sync(device)
    took = time.monotonic() - started
    phone.receive("NOTIFY")

    assert answer.status == 200
    assert took < 1.0


async def test_who_waits_is_told_of_the_restart(roost: Roost, sipp_phone: Callable[..., SippPhone]) -> None:
    """A phone that accepts, un-registers, and registers with another Call-ID has restarted."""
    device = roost.create_device()
    before = sipp_phone(roost, device)
    assert before.register().status == 200
    waiting = asyncio.create_task(
        asyncio.to_thread(roost.on_account, "POST", f"/devices/{device.id}/sync", {"mode": "reboot", "wait": 8})
    )
    before.answer(await asyncio.to_thread(before.receive, "NOTIFY"), "Answer: 200")
    assert (await asyncio.to_thread(before.unregister)).status == 200
    after = await asyncio.to_thread(sipp_phone, roost, device)
    assert (await asyncio.to_thread(after.register)).status == 200

    answer = await waiting
    (delivery,) = answer.body["deliveries"]
    assert answer.body["data"] == "sync request sent"
    assert (delivery["contact"], delivery["state"], delivery["final"]) == (before.contact, "rebooted", True)
    assert (delivery["sip_status"], delivery["event"]) == (200, "check-sync;reboot=true")
    assert roost.on_account("GET", f"/devices/{device.id}/sync").data == [delivery]


def test_sync_of_a_device_that_is_not_registered_is_no_error(roost: Roost) -> None:
    """Nothing is sent, and the client is told success, as Kazoo does."""
    answer = roost.sync(roost.create_device())

    assert answer.status == 200
    assert answer.body["status"] == "success"


@both_transports
async def test_baresip_is_reached_and_its_481_is_no_error(
    roost: Roost, peer: Callable[[str], None], tmp_path: Path, transport: str
) -> None:
    """Baresip knows no subscription and says so; the daemon logs that."""
    peer("baresip")
    device = roost.create_device()
    account = device.account
    registrar = f"{roost.host}:{roost.sip_port}"
    async with Baresip(tmp_path / "baresip") as phone:
        await phone.register(
            PhoneAccount(account.username, account.password, account.realm, registrar, transport=transport)
        )

        assert roost.sync(device).status == 200

        await eventually(lambda: answers_seen(roost, device) == [481], "baresip's 481 in the log")
        (delivery,) = roost.on_account("GET", f"/devices/{device.id}/sync").data
        assert (delivery["vendor"], delivery["state"]) == ("baresip", "unsupported")
        assert "Event: check-sync" in phone.transcript()


def test_a_killed_daemon_goes_on_with_a_sync_of_all(own_roost: Roost, sipp_phone: Callable[..., SippPhone]) -> None:
    """Nobody is told twice, and nobody is left out, however the process ended."""
    devices = [own_roost.create_device() for _ in range(3)]
    phones = [sipp_phone(own_roost, device) for device in devices]
    for phone in phones:
        assert phone.register().status == 200
    job = own_roost.on_account("POST", "/devices/sync", {"rate": 1}).data
    path = f"/devices/sync/{job['id']}"
    deadline = time.monotonic() + 10
    while own_roost.on_account("GET", path).data["sent"] == 0:
        assert time.monotonic() < deadline
    own_roost.kill()
    own_roost.start()
    for phone in phones:
        phone.answer(phone.receive("NOTIFY", timeout=10), "Answer: 200")

    while own_roost.on_account("GET", path).data["state"] == "running":
        assert time.monotonic() < deadline + 20
        time.sleep(0.1)
    for phone in phones:
        with pytest.raises(SippFailed, match="no NOTIFY"):
            phone.receive("NOTIFY", timeout=0.2)
    assert own_roost.on_account("GET", path).data["sent"] == 3
