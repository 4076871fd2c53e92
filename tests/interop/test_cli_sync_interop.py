"""`roost sync` beside a daemon that runs, with phones that are not ours."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
from roost_process import REPOSITORY, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from roost_process import Device, Roost
    from sipp_phone import SippPhone

    Command = Callable[..., subprocess.Popen[str]]

pytestmark = pytest.mark.interop

LIMIT = 60


@pytest.fixture
def command(own_roost: Roost) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `roost sync` with these arguments."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        words = own_roost._command("sync", *arguments)
        started.append(
            subprocess.Popen(words, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
        return started[-1]

    yield start
    for process in started:
        with process:
            process.kill()


async def printed(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Return the exit status, and what was printed on standard output and standard error."""
    out, err = await asyncio.to_thread(process.communicate, None, LIMIT)
    return process.returncode, out, err


async def test_one_device_by_its_username(
    own_roost: Roost, sipp_phone: Callable[..., SippPhone], command: Command
) -> None:
    """What the phone said is printed, and is the exit status."""
    device = own_roost.create_device()
    phone = sipp_phone(own_roost, device)
    assert phone.register().status == 200
    process = command(device.account.username, "--mode", "reboot")
    notify = await asyncio.to_thread(phone.receive, "NOTIFY", timeout=20.0)
    assert notify.header("Event") == "check-sync;reboot=true"
    phone.answer(notify, "Answer: 481")
    status, out, err = await printed(process)

    assert (status, err) == (1, "")
    assert out.split()[:4] == [phone.contact, "unknown", "check-sync;reboot=true", "unsupported"]


async def test_all_devices(own_roost: Roost, sipp_phone: Callable[..., SippPhone], command: Command) -> None:
    """The job is watched to its end."""
    device = own_roost.create_device()
    own_roost.create_device()
    phone = sipp_phone(own_roost, device)
    assert phone.register().status == 200
    process = command("--all", "--json")
    phone.answer(await asyncio.to_thread(phone.receive, "NOTIFY", timeout=20.0), "Answer: 200")
    status, out, err = await printed(process)

    (job,) = json.loads(out)
    assert (status, err) == (0, "")
    assert (job["state"], job["total"], job["sent"]) == ("done", 2, 2)
    assert job["states"] == {"delivered": 1, "not_registered": 1}


async def test_interrupt_stops_the_job(
    own_roost: Roost, sipp_phone: Callable[..., SippPhone], command: Command
) -> None:
    """Nobody is sent to behind the back of who pressed Ctrl-C; and the token is ended."""
    devices = [own_roost.create_device() for _ in range(2)]
    phones = [sipp_phone(own_roost, device) for device in devices]
    for phone in phones:
        assert phone.register().status == 200
    process = command("--all", "--rate", "0.01")

    def sent() -> int:
        jobs = own_roost.on_account("GET", "/devices/sync").data
        return jobs[0]["sent"] if jobs else 0

    await eventually(lambda: sent() == 1, "the first NOTIFY", limit=20.0)
    process.send_signal(signal.SIGINT)
    status, _, err = await printed(process)

    assert status == 1
    assert "stopped, 1 of 2 sent" in err
    assert own_roost.on_account("GET", "/devices/sync").data[0]["state"] == "stopped"


async def test_unknown_device(command: Command) -> None:
    status, out, err = await printed(command("nobody"))

    assert (status, out) == (1, "")
    assert "no device has the id, SIP username or name nobody" in err


async def test_id_of_a_device_without_registration(own_roost: Roost, command: Command) -> None:
    device: Device = own_roost.create_device()
    status, out, _ = await printed(command(device.id))

    assert (status, out.split()) == (1, ["not", "registered"])
