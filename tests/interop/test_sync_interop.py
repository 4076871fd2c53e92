"""check-sync reaches the phone by the flow it registered on, and its answer is seen."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from roost_process import eventually

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
        assert "Event: check-sync" in phone.transcript()
