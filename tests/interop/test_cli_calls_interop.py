"""Calls by hand: `roost quickcall`, `roost calls` and `roost logs`, with phones that are not ours."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from cli_command import LIMIT, facts, lines_of, run
from roost_process import eventually

from daemon.demo_phones import Baresip, PhoneAccount

if TYPE_CHECKING:
    import subprocess
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from roost_process import Device, Roost
    from sipp_phone import SippPhone

pytestmark = pytest.mark.interop


class Call(NamedTuple):
    """A call by hand that is up."""

    one: Baresip
    two: Baresip
    process: subprocess.Popen[bytes]
    lines: list[str]

    async def status(self) -> int:
        """Return the exit status of the command, once it has ended."""
        return await asyncio.to_thread(self.process.wait, LIMIT)


def account(roost: Roost, device: Device) -> PhoneAccount:
    """Return what to type into a baresip."""
    given = device.account
    return PhoneAccount(given.username, given.password, given.realm, f"{roost.host}:{roost.sip_port}")


def events(lines: list[str]) -> list[str]:
    """Return the names of the events that were printed as JSON."""
    return [json.loads(line)["event"] for line in lines if line.startswith("{")]


@asynccontextmanager
async def connected(roost: Roost, folder: Path, device: Device, number: Device, *words: str) -> AsyncIterator[Call]:
    """Register two baresips, and have `roost quickcall` with these words connect them."""
    async with Baresip(folder / "one", tone=440) as one, Baresip(folder / "two", tone=1000) as two:
        await one.register(account(roost, device))
        await two.register(account(roost, number))
        with lines_of(roost, "quickcall", *words, "--json") as (process, lines):
            await eventually(lambda: "quickcall.connected" in events(lines), "the connection", limit=LIMIT)
            yield Call(one, two, process, lines)


async def test_quickcall_is_followed_until_the_number_hangs_up(
    own_roost: Roost, peer: Callable[[str], None], tmp_path: Path
) -> None:
    """Meanwhile `roost calls` shows it; afterwards `--ended` does."""
    peer("baresip")
    device, number = own_roost.create_device(), own_roost.create_device()
    async with Baresip(tmp_path / "one", tone=440) as one, Baresip(tmp_path / "two", tone=1000) as two:
        await one.register(account(own_roost, device))
        await two.register(account(own_roost, number))
        words = ("quickcall", device.account.username, number.account.username, "--media", "bypass")
        with lines_of(own_roost, *words) as (process, lines):
            await eventually(lambda: any("connected" in line for line in lines), "the connection", limit=LIMIT)
            shown = await asyncio.to_thread(run, own_roost, "calls")
            legs = await asyncio.to_thread(facts, own_roost, "calls")
            await two.command("hangup")
            status = await asyncio.to_thread(process.wait, LIMIT)
            await eventually(lambda: any("ended" in line for line in lines), "the end", limit=LIMIT)
    ended = await asyncio.to_thread(facts, own_roost, "calls", "--ended")
    table = await asyncio.to_thread(run, own_roost, "calls", "--ended")

    assert status == 0, lines
    assert "the number hung up after" in lines[-1]
    assert shown.stdout.splitlines()[1].split()[:3] == [device.account.username, number.account.username, "talking"]
    assert {leg["uuid"] for leg in legs} == {leg["call_id"] for leg in ended}
    assert {leg["outcome"] for leg in ended} == {"answered"}
    assert table.stdout.splitlines()[1].split()[2:5] == [device.account.username, number.account.username, "answered"]


@pytest.mark.parametrize("how", ["Ctrl-C", "roost calls hangup"])
async def test_quickcall_is_hung_up_from_here(
    own_roost: Roost, peer: Callable[[str], None], tmp_path: Path, how: str
) -> None:
    """By who placed it, or by who manages the calls; the phones go on hook, and the command tells the end."""
    peer("baresip")
    device, number = own_roost.create_device(), own_roost.create_device()
    words = (device.id, number.account.username, "--media", "bypass")
    async with connected(own_roost, tmp_path, device, number, *words) as call:
        if how == "Ctrl-C":
            call.process.send_signal(signal.SIGINT)
        else:
            (uuid,) = {leg["interaction_id"] for leg in await asyncio.to_thread(facts, own_roost, "calls")}
            assert (await asyncio.to_thread(facts, own_roost, "calls", "hangup", uuid))["interaction_id"] == uuid
        for phone in (call.one, call.two):
            await phone.expect("CALL_CLOSED")
        assert await call.status() == 0
        await eventually(lambda: events(call.lines)[-1] == "quickcall.ended", "the last line", limit=LIMIT)

    assert (await asyncio.to_thread(run, own_roost, "calls", "--json")).stdout == "[]\n"


async def test_quickcall_of_a_user(own_roost: Roost, peer: Callable[[str], None], tmp_path: Path) -> None:
    """By name; the user's phones ring, and the media goes the way that the API chooses."""
    peer("baresip")
    pytest.importorskip("pjsua2", reason="pjsua2-pybind11 has no wheel for this Python")
    user = own_roost.on_account("PUT", "/users", {"first_name": "Ann", "last_name": "Lee"}).data["id"]
    device, number = own_roost.create_device(owner_id=user), own_roost.create_device()
    words = ("Ann Lee", number.account.username, "--user")
    async with connected(own_roost, tmp_path, device, number, *words) as call:
        await call.one.command("hangup")
        assert await call.status() == 0
        await eventually(lambda: events(call.lines)[-1] == "quickcall.ended", "the last line", limit=LIMIT)

    assert json.loads(call.lines[-1])["side"] == "a"


def test_quickcall_to_nobody_fails_and_says_why(own_roost: Roost) -> None:
    device = own_roost.create_device()
    done = run(own_roost, "quickcall", device.account.username, "5551234", "--media", "bypass")

    assert done.returncode == 1
    assert "not registered" in done.stdout


def test_unknown_call_cannot_be_hung_up(own_roost: Roost) -> None:
    done = run(own_roost, "calls", "hangup", "nothing")

    assert (done.returncode, done.stdout) == (1, "")
    assert "no call that is up" in done.stderr


async def test_quickcall_ends_when_the_daemon_is_gone(
    own_roost: Roost, peer: Callable[[str], None], tmp_path: Path
) -> None:
    """With the status of a daemon that does not answer."""
    peer("baresip")
    device, number = own_roost.create_device(), own_roost.create_device()
    words = (device.id, number.account.username, "--media", "bypass")
    async with connected(own_roost, tmp_path, device, number, *words) as call:
        own_roost.kill()
        assert await call.status() == 3


async def test_logs_follow_one_phone(own_roost: Roost, sipp_phone: Callable[..., SippPhone], tmp_path: Path) -> None:
    """From a journal, by device id and by the Call-IDs beside it; and from the events. Other phones are left out."""
    device, other = own_roost.create_device(), own_roost.create_device()
    lines = [
        {"event": "registration.added", "device_id": device.id, "call_id": "first@phone"},
        {"event": "registration.refused", "device_id": other.id, "call_id": "second@phone"},
        {"event": "request.refused", "call_id": "first@phone"},
        {"event": "request.refused", "call_id": "second@phone"},
    ]
    path = journal_of(tmp_path, [json.dumps(line) for line in lines])
    with lines_of(own_roost, "logs", device.account.username, "--json", PATH=path) as (process, printed):
        await eventually(lambda: any("listening" in line for line in printed), "the events", limit=LIMIT)
        for each in (other, device):
            phone = sipp_phone(own_roost, each)
            assert (await asyncio.to_thread(phone.register)).status == 200
        await eventually(lambda: "device.registered" in events(printed), "the registration", limit=LIMIT)
        process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(process.wait, LIMIT) == 0

    told: list[dict[str, Any]] = [json.loads(line) for line in printed if line.startswith("{")]
    assert sorted((each["from"], each["event"]) for each in told) == [
        ("event", "device.registered"),
        ("log", "registration.added"),
        ("log", "request.refused"),
    ]
    assert {each.get("device_id", device.id) for each in told} == {device.id}


def journal_of(folder: Path, lines: list[str]) -> str:
    """Put a journalctl first in the path that prints these lines and, asked to follow, goes on; return the path."""
    program = folder / "bin" / "journalctl"
    program.parent.mkdir()
    text = "\n".join(lines)
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\ncase \"$*\" in *--follow*) exec sleep 60;; esac\n")
    program.chmod(0o755)
    return f"{program.parent}:{os.environ['PATH']}"


async def test_logs_say_that_there_is_no_journal(own_roost: Roost, tmp_path: Path) -> None:
    device = own_roost.create_device()
    with lines_of(own_roost, "logs", device.id, "--no-follow", PATH=str(tmp_path)) as (process, printed):
        assert await asyncio.to_thread(process.wait, LIMIT) == 1
        await eventually(lambda: any("there is no journalctl here" in line for line in printed), "the reason")
