"""Media workers that are killed, and calls for which there is no room."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from media_pair import pair
from roost_process import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from roost_process import Device, Roost
    from sipp_phone import SippPhone

pytest.importorskip("pjsua2", reason="pjsua2-pybind11 has no wheel for this Python")
pytestmark = pytest.mark.interop

TALK = 2.0
"""Seconds of talk before a call is looked at."""
KILLS = 12
"""Workers that are killed at random moments."""


@pytest.fixture
def warm(media_roost: Callable[..., Roost]) -> Roost:
    """Start a daemon as it is installed: with two workers warm."""
    return media_roost(workers=2)


async def test_a_worker_that_is_killed_ends_its_call_at_both_ends(
    media_roost: Callable[..., Roost], peer: Callable[[str], None], tmp_path: Path
) -> None:
    """Who has waited long for a phone hears it as well; the next call has another worker."""
    peer("baresip")
    roost = media_roost(workers=0)
    async with pair(roost, tmp_path) as talk:
        await talk.call()
        await talk.talk()
        (worker,) = roost.workers()
        os.kill(worker, signal.SIGKILL)
        await talk.over()
        await talk.kept("worker_lost")
        assert {device.id for device in talk.devices} == roost.registered()
        await talk.call()
        await talk.talk()
        await talk.phones[0].hang_up()
        await talk.over()
    legs = [event for event in roost.log_events() if event["event"] == "quickcall.ended"]
    assert ["worker_lost", "answered"] == [event["outcome"] for event in legs]
    assert (503, 41, "us") == (legs[0]["status"], legs[0]["cause"], legs[0]["side"])


async def test_workers_killed_at_random_end_no_more_than_their_calls(
    media_roost: Callable[..., Roost], peer: Callable[[str], None], sipp_phone: Callable[..., SippPhone], tmp_path: Path
) -> None:
    """Before, while and after phones answer: no call is left, and registrations and status never miss a beat."""
    peer("baresip")
    roost, chance = media_roost(workers=1), random.Random(6)
    third = sipp_phone(roost, roost.create_device())
    async with pair(roost, tmp_path) as talk:
        for _ in range(KILLS):
            await talk.call()
            deadline = asyncio.get_running_loop().time() + chance.uniform(0, 0.4)
            while asyncio.get_running_loop().time() < deadline:
                assert {device.id for device in talk.devices} <= await asyncio.to_thread(roost.registered)
            for worker in roost.workers():
                os.kill(worker, signal.SIGKILL)
            answer = await asyncio.to_thread(third.register)
            assert answer.status == 200
            await eventually(lambda: not roost.on_account("GET", "/channels").data, "no leg is left")
        await talk.kept("worker_lost", KILLS)
        for phone in talk.phones:
            assert "Active calls (0)" in await phone.command("listcalls")
        await talk.call()
        await asyncio.sleep(TALK)
        assert 2 == len(roost.on_account("GET", "/channels").data)
        await talk.phones[0].hang_up()
        await eventually(lambda: talk.outcomes() == ["worker_lost"] * KILLS + ["answered"], "the last call is whole")
    await eventually(lambda: len(roost.workers()) == 1, "one is warm, as was asked for")


async def test_no_worker_outlives_the_daemon(warm: Roost, peer: Callable[[str], None], tmp_path: Path) -> None:
    """SIGKILL leaves no time to end them: those with a call and those without end by themselves."""
    peer("baresip")
    async with pair(warm, tmp_path) as talk:
        await talk.call()
        await talk.talk()
        await eventually(lambda: len(warm.workers()) == 3, "two are warm again")
        workers = warm.workers()
        warm.kill()
        await eventually(lambda: not any(map(is_there, workers)), "no worker is left", limit=2)
        await talk.switch_off()


async def test_a_stop_says_bye_to_every_phone(warm: Roost, peer: Callable[[str], None], tmp_path: Path) -> None:
    """And leaves no worker; the exit status is that of a stop in order."""
    peer("baresip")
    async with pair(warm, tmp_path) as talk:
        await talk.call()
        await talk.talk()
        workers = warm.workers()
        assert 0 == await asyncio.to_thread(warm.stop)
        await talk.over()
        assert not any(map(is_there, workers))
        await talk.switch_off()
    assert ["shutdown"] == talk.outcomes()
    assert "stop.timed_out" not in warm.log_text()


async def test_one_call_too_many_is_refused_until_another_ends(
    media_roost: Callable[..., Roost], peer: Callable[[str], None], tmp_path: Path
) -> None:
    """503 with the setting that says so, and nothing rings; then there is room for the next."""
    peer("baresip")
    roost = media_roost(workers=0, max_calls=1)
    async with pair(roost, tmp_path) as talk:
        await talk.call()
        await talk.talk()
        refused(roost, talk.devices[0], "media.max_calls")
        await talk.phones[0].hang_up()
        await talk.over()
        await talk.call()
        await talk.talk()


async def test_a_call_without_free_ports_is_refused(
    media_roost: Callable[..., Roost], sipp_phone: Callable[..., SippPhone]
) -> None:
    """Another program has one of each call's ports: 503 with the setting, and the phone hears nothing."""
    roost = media_roost(workers=0, max_calls=2, port_range="1900-1907")
    device = roost.create_device()
    phone = sipp_phone(roost, device)
    assert phone.register().status == 200
    with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as two:
        one.bind(("0.0.0.0", 1902))
        two.bind(("0.0.0.0", 1904))
        refused(roost, device, "media.port_range")
    assert roost.sync(device).status == 200
    assert phone.receive_any().method == "NOTIFY", "the first thing the phone hears is not an INVITE"


def refused(roost: Roost, device: Device, setting: str) -> None:
    """Ask for a call that there is no room for."""
    answer = roost.quickcall(device, "5551234", "")
    assert (503, "too_many_calls") == (answer.status, answer.body["message"])
    assert setting in answer.data["message"]


def is_there(pid: int) -> bool:
    """Return whether the process runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
