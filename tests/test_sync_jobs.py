"""Syncs of many devices: pace, progress, stop, and restarts that send to nobody twice."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from notify_rig import Rig, expire

from api.ports import SyncJob, TooManyJobs
from daemon.store.sync_jobs import KEPT_JOBS
from daemon.sync_jobs import MAX_RUNNING
from sip.delivery import DeliveryState
from sip.vendor import Mode

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from notify_rig import ScriptedPhone

    from api.ports import Document

FAST = 1000.0
SLOW = 0.01
WAIT = 5.0


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    rig = await Rig(tmp_path / "roost.db").start()
    yield rig
    await rig.end()


async def fleet(rig: Rig, count: int, *answers: int) -> list[ScriptedPhone]:
    """Make phones that are registered, each with this script."""
    devices = [await rig.device(f"d{number}") for number in range(count)]
    return [(await rig.phone(device)).answers(*answers) for device in devices]


def ids(phones: list[ScriptedPhone]) -> list[str]:
    return [phone.device.id for phone in phones]


async def until(rig: Rig, job: SyncJob, check: Callable[[SyncJob], bool]) -> SyncJob:
    """Return the job once it is as wanted."""
    deadline = time.monotonic() + WAIT
    while True:
        found = await rig.jobs.get(rig.account_id, job.id)
        assert found is not None
        if check(found):
            return found
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.01)


async def test_every_device_gets_one_notify_and_is_counted(rig: Rig) -> None:
    """What became of them is counted by state; an unregistered device is passed over, and counted."""
    phones = await fleet(rig, 3, 200)
    phones[1].script.clear()
    phones[1].answers(489)
    await rig.device("gone")
    started = await rig.jobs.start(rig.account_id, [*ids(phones), "gone"], mode=Mode.RESYNC, rate=FAST)
    assert (started.state, started.total, started.waiting, started.pending) == ("running", 4, 4, 0)

    job = await until(rig, started, lambda job: job.state == "done")

    assert (job.total, job.waiting, job.pending, job.mode, job.rate) == (4, 0, 0, Mode.RESYNC, FAST)
    assert job.states == {
        DeliveryState.DELIVERED: 2,
        DeliveryState.UNSUPPORTED: 1,
        DeliveryState.NOT_REGISTERED: 1,
    }
    assert job.ended is not None
    assert [len(phone.requests) for phone in phones] == [1, 1, 1]
    assert rig.events.names[-1] == "sync.ended"


async def test_counts_follow_what_phones_do_after_the_job(rig: Rig) -> None:
    """A job that is done has phones that are still restarting."""
    (phone,) = await fleet(rig, 1, 200)
    job = await rig.jobs.start(rig.account_id, ids([phone]), mode=Mode.REBOOT, rate=FAST)
    done = await until(rig, job, lambda job: job.state == "done")
    assert done.states == {DeliveryState.DELIVERED: 1}
    phone.unregister()
    assert (await until(rig, job, lambda _: True)).states == {DeliveryState.REBOOTING: 1}
    phone.register("reg-2")

    assert (await until(rig, job, lambda _: True)).states == {DeliveryState.REBOOTED: 1}
    assert (await rig.outcomes(phone.device)) == ["rebooted"]


async def test_a_job_is_done_when_the_last_phone_has_answered(rig: Rig) -> None:
    """Or when nobody can expect an answer any more."""
    (phone,) = await fleet(rig, 1)
    job = await rig.jobs.start(rig.account_id, ids([phone]), mode=None, rate=FAST)
    await phone.request()
    sent = await until(rig, job, lambda job: job.pending == 1)
    assert (sent.state, sent.waiting, sent.states) == ("running", 0, {})

    await phone.give_up()

    assert (await until(rig, job, lambda job: job.state == "done")).states == {DeliveryState.UNREACHABLE: 1}


async def test_the_pace_is_kept(rig: Rig) -> None:
    """The provisioning server lives: the second has to wait."""
    phones = await fleet(rig, 2, 200)
    await rig.jobs.start(rig.account_id, ids(phones), mode=None, rate=SLOW)
    await phones[0].request()
    await asyncio.sleep(0.05)

    assert phones[1].requests == []


async def test_unregistered_devices_hold_nobody_up(rig: Rig) -> None:
    """They cost no NOTIFY, so they cost no time."""
    devices: list[Document] = [await rig.device(f"a{number}") for number in range(150)]
    phone = (await rig.phone(await rig.device("z"))).answers(200)
    order = [*(device.id for device in devices), phone.device.id]
    job = await rig.jobs.start(rig.account_id, order, mode=None, rate=SLOW)
    await phone.request()

    assert (await until(rig, job, lambda job: job.waiting == 0)).states[DeliveryState.NOT_REGISTERED] == 150


async def test_stop_sends_to_no_more(rig: Rig) -> None:
    """What was sent stays told, and who was not reached stays counted."""
    phones = await fleet(rig, 3, 200)
    job = await rig.jobs.start(rig.account_id, ids(phones), mode=None, rate=SLOW)
    await until(rig, job, lambda job: job.states == {DeliveryState.DELIVERED: 1})
    stopped = await rig.jobs.stop(rig.account_id, job.id)

    assert stopped is not None
    assert (stopped.state, stopped.waiting, stopped.states) == ("stopped", 2, {DeliveryState.DELIVERED: 1})
    assert [len(phone.requests) for phone in phones] == [1, 0, 0]
    assert await rig.jobs.stop(rig.account_id, job.id) == stopped
    await rig.stop()
    await rig.start()
    assert (await until(rig, job, lambda _: True)).state == "stopped"


async def test_a_job_that_is_done_cannot_be_stopped(rig: Rig) -> None:
    phones = await fleet(rig, 1, 200)
    job = await rig.jobs.start(rig.account_id, ids(phones), mode=None, rate=FAST)
    done = await until(rig, job, lambda job: job.state == "done")

    assert await rig.jobs.stop(rig.account_id, job.id) == done
    assert await rig.jobs.stop(rig.account_id, "none") is None
    assert await rig.jobs.stop("another", job.id) is None


async def test_a_restart_goes_on_and_sends_to_nobody_twice(rig: Rig) -> None:
    """Whatever was under way when the process ended."""
    phones = await fleet(rig, 4, 200)
    job = await rig.jobs.start(rig.account_id, ids(phones), mode=None, rate=2.0)
    await phones[1].request()
    await rig.stop()
    waiting = [phone for phone in phones if not phone.requests]
    assert waiting
    await rig.start()

    done = await until(rig, job, lambda job: job.state == "done")

    assert [len(phone.requests) for phone in phones] == [1, 1, 1, 1]
    assert (done.waiting, sum(done.states.values())) == (0, 4)


async def test_a_turn_is_stored_before_its_notify_leaves(rig: Rig) -> None:
    """So a power cut right after the sending is no reason to send again."""
    (phone,) = await fleet(rig, 1)
    job = await rig.jobs.start(rig.account_id, ids([phone]), mode=None, rate=FAST)
    await phone.request()
    other = Rig(rig.path)
    other.store = await type(rig.store).open(rig.path)
    assert await other.store.sync_jobs.left(job.id) == []
    (record,) = await other.store.deliveries.load()
    await other.store.close()

    assert (record.device_id, record.phase, record.job_id) == ("d0", "sent", job.id)


async def test_nothing_is_sent_that_cannot_be_noted(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job is stuck while the store is, and goes on with it."""
    monkeypatch.setattr("daemon.sync_jobs.FIRST_PAUSE", 0.02)
    phones = await fleet(rig, 3, 200)
    database = rig.store.deliveries._database
    job = await rig.jobs.start(rig.account_id, ids(phones), mode=None, rate=20.0)
    await phones[0].request()
    await database.write(rename("sync_job_devices", "away"))
    before = [len(phone.requests) for phone in phones]
    await asyncio.sleep(0.2)
    assert [len(phone.requests) for phone in phones] == before
    assert sum(before) < 3
    await database.write(rename("away", "sync_job_devices"))

    done = await until(rig, job, lambda job: job.state == "done")

    assert done.states == {DeliveryState.DELIVERED: 3}
    assert [len(phone.requests) for phone in phones] == [1, 1, 1]


def rename(old: str, new: str) -> Callable[[sqlite3.Connection], object]:
    return lambda connection: connection.execute(f"ALTER TABLE {old} RENAME TO {new}")


async def test_only_so_many_run_at_once(rig: Rig) -> None:
    """Each account has its own."""
    phones = await fleet(rig, 2, 200)
    for _ in range(MAX_RUNNING):
        await rig.jobs.start(rig.account_id, ids(phones), mode=None, rate=SLOW)
    with pytest.raises(TooManyJobs):
        await rig.jobs.start(rig.account_id, ids(phones), mode=None, rate=SLOW)

    await rig.jobs.start("another", [], mode=None, rate=SLOW)


async def test_a_job_without_devices_is_done_at_once(rig: Rig) -> None:
    job = await rig.jobs.start(rig.account_id, [], mode=None, rate=SLOW)

    assert (await until(rig, job, lambda job: job.state == "done")).total == 0


async def test_old_jobs_are_forgotten_with_their_deliveries(rig: Rig) -> None:
    """The latest are kept, the latest first."""
    phones = await fleet(rig, 1, *[200] * (KEPT_JOBS + 3))
    started = []
    for _ in range(KEPT_JOBS + 3):
        job = await rig.jobs.start(rig.account_id, ids(phones), mode=None, rate=FAST)
        await until(rig, job, lambda job: job.state == "done")
        started.append(job.id)

    kept = [job.id for job in await rig.jobs.of_account(rig.account_id)]
    assert kept == started[::-1][:KEPT_JOBS]
    assert await rig.jobs.get(rig.account_id, started[0]) is None
    expire(rig, 300)
    assert await rig.store.deliveries.of_job(started[0]) == {}


async def test_jobs_belong_to_their_account(rig: Rig) -> None:
    job = await rig.jobs.start(rig.account_id, [], mode=None, rate=FAST, user_id="u1")

    assert await rig.jobs.get("another", job.id) is None
    assert await rig.jobs.of_account("another") == []
    assert [each.user_id for each in await rig.jobs.of_account(rig.account_id)] == ["u1"]
