"""Start and stop of a service: signals, systemd's notifications, stages."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import structlog

from daemon.lifecycle import Notifier, Stage, run_stages, serve, watch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Recorder:
    """A service that notes what was asked of it."""

    def __init__(
        self, *, start_blocks: bool = False, stop_blocks: bool = False, start_fails: bool = False, fails: bool = False
    ) -> None:
        self.calls: list[str] = []
        self.started = asyncio.Event()
        self.stopping = asyncio.Event()
        self.reloaded = asyncio.Event()
        self.faults: dict[str, str] = {}
        self._start_blocks, self._stop_blocks = start_blocks, stop_blocks
        self._start_fails, self._fails = start_fails, fails

    async def start(self) -> None:
        self.calls.append("start")
        self.started.set()
        if self._start_fails:
            raise OSError("address in use")
        if self._start_blocks:
            await asyncio.Event().wait()

    async def stop(self) -> None:
        self.calls.append("stop")
        self.stopping.set()
        if self._stop_blocks:
            await asyncio.Event().wait()
        self.calls.append("stopped")

    async def reload(self) -> None:
        self.calls.append("reload")
        self.reloaded.set()
        if self._fails:
            raise ValueError("broken")

    async def check(self) -> dict[str, str]:
        return self.faults

    def status(self) -> str:
        return "0 phones"


@contextmanager
def listening(name: str) -> Iterator[socket.socket]:
    """Listen as systemd's manager does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name.replace("@", "\0"))
        manager.settimeout(5)
        yield manager


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_stops_the_service(number: signal.Signals) -> None:
    """SIGTERM and SIGINT each lead to an orderly stop."""
    service = Recorder()
    task = asyncio.create_task(serve(service, Notifier()))
    await service.started.wait()
    os.kill(os.getpid(), number)
    await asyncio.wait_for(task, 5)

    assert ["start", "stop", "stopped"] == service.calls


async def test_signal_during_start_stops_what_was_started() -> None:
    """A start that hangs can be given up."""
    service = Recorder(start_blocks=True)
    task = asyncio.create_task(serve(service, Notifier()))
    await service.started.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(task, 5)

    assert ["start", "stop", "stopped"] == service.calls


@pytest.mark.parametrize("fails", [False, True])
async def test_hangup_reloads_and_the_service_goes_on(*, fails: bool) -> None:
    """SIGHUP reads the configuration anew; what goes wrong with that stops nothing."""
    service = Recorder(fails=fails)
    stop = asyncio.Event()
    task = asyncio.create_task(serve(service, Notifier(), stop=stop))
    await service.started.wait()
    for _ in range(2):
        service.reloaded.clear()
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.wait_for(service.reloaded.wait(), 5)
    stop.set()
    await asyncio.wait_for(task, 5)

    assert ["start", "reload", "reload", "stop", "stopped"] == service.calls


async def test_second_signal_cuts_the_stop_short() -> None:
    """Whoever presses Ctrl-C twice does not want to wait."""
    service = Recorder(stop_blocks=True)
    task = asyncio.create_task(serve(service, Notifier()))
    await service.started.wait()
    os.kill(os.getpid(), signal.SIGINT)
    await service.stopping.wait()
    os.kill(os.getpid(), signal.SIGINT)
    await asyncio.wait_for(task, 5)

    assert ["start", "stop"] == service.calls


async def test_failed_start_is_stopped_and_raised() -> None:
    """What a start raises comes out, after what had been started was stopped."""
    service = Recorder(start_fails=True)
    with pytest.raises(OSError, match="address in use"):
        await serve(service, Notifier())

    assert ["start", "stop", "stopped"] == service.calls


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
async def test_systemd_is_told(tmp_path: Path, *, abstract: bool) -> None:
    """READY comes after the start, the watchdog is fed while it runs, STOPPING comes before the stop."""
    name = f"@roost-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with listening(name) as manager:
        notifier = Notifier.from_environ({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "60000000"})
        later = asyncio.Event()
        task = asyncio.create_task(serve(Recorder(), notifier, stop=later))
        ready = await asyncio.to_thread(manager.recv, 4096)
        fed = await asyncio.to_thread(manager.recv, 4096)
        later.set()
        stopping = await asyncio.to_thread(manager.recv, 4096)
        await task

    assert b"READY=1\nSTATUS=0 phones" == ready
    assert b"WATCHDOG=1\nSTATUS=0 phones" == fed
    assert b"STOPPING=1\nSTATUS=stopping: 0 phones" == stopping


async def test_the_watchdog_starves_while_the_service_fails(tmp_path: Path) -> None:
    """A fault is told in the status line, and the manager's patience runs out meanwhile; a recovery feeds it again."""
    service = Recorder()
    service.faults = {"store": "disk full"}
    with listening(str(tmp_path / "notify")) as manager:
        watching = asyncio.create_task(watch(service, Notifier(str(tmp_path / "notify"), watchdog=0.04)))
        told = await asyncio.to_thread(manager.recv, 4096)
        service.faults = {}
        recovered = told
        while recovered == told:
            recovered = await asyncio.to_thread(manager.recv, 4096)
        watching.cancel()

    assert b"STATUS=failing: store: disk full" == told
    assert b"WATCHDOG=1\nSTATUS=0 phones" == recovered


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "60000000"}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
    ],
)
def test_the_watchdog_is_read_as_systemd_means_it(environ: dict[str, str], seconds: float) -> None:
    """A watchdog of another process is not ours to feed (sd_watchdog_enabled(3))."""
    assert Notifier.from_environ(environ).watchdog == seconds


def test_nobody_to_notify_is_no_fault(tmp_path: Path) -> None:
    """Without systemd, or with a socket that is gone, a notification goes nowhere."""
    Notifier.from_environ({}).send(READY=1)
    Notifier(str(tmp_path / "gone")).send(READY=1)


async def test_stages_run_in_order_whatever_each_does() -> None:
    """A stage that hangs or fails is logged, and the next one has its turn."""
    done: list[str] = []

    async def work(name: str) -> None:
        done.append(name)
        if name == "hangs":
            await asyncio.Event().wait()
        if name == "fails":
            raise ValueError("broken")

    names = ("hangs", "fails", "last")
    with structlog.testing.capture_logs() as events:
        await run_stages([Stage(name, 0.01, lambda name=name: work(name)) for name in names])  # type: ignore[misc]

    assert list(names) == done
    assert [("stop.timed_out", "hangs"), ("stop.failed", "fails")] == [(e["event"], e["stage"]) for e in events]
