"""From start to stop: signals, systemd's notifications (sd_notify(3)), and a stop in stages."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import structlog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping

log = structlog.get_logger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)
STATUS_EVERY = 15.0  # seconds between two looks at the service, where no watchdog asks for more
WATCHDOG_SHARE = 4  # looks in the time that the watchdog waits, so that two may be late


class Service(Protocol):
    """What can be served."""

    async def start(self) -> None:
        """Begin to serve; returns when every listener is bound and what was stored is loaded."""
        ...

    async def stop(self) -> None:
        """End what was started, also after a start that failed half-way; `run_stages` bounds its time."""
        ...

    async def reload(self) -> None:
        """Read the configuration anew and take from it what can change meanwhile."""
        ...

    async def check(self) -> Mapping[str, str]:
        """Return what does not work, with a reason each; empty where all does."""
        ...

    def status(self) -> str:
        """Return one line for `systemctl status`."""
        ...


@dataclass(frozen=True, slots=True)
class Stage:
    """A step of a stop."""

    name: str
    limit: float
    """Seconds it may take before the next one begins."""
    run: Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Notifier:
    """Tells systemd how the service fares; tells nobody where the service was not started by it."""

    address: str = ""
    watchdog: float = 0.0
    """Seconds after which the manager takes a silent service for dead; 0 where it does not watch."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Notifier:
        """Read the socket's address from $NOTIFY_SOCKET; a leading `@` is Linux's abstract namespace."""
        address = environ.get("NOTIFY_SOCKET", "")
        return cls(f"\0{address[1:]}" if address.startswith("@") else address, _watchdog_of(environ))

    def send(self, **variables: str | int) -> None:
        """Send assignments such as `READY=1`. A manager that does not listen is no fault of ours."""
        if not self.address:
            return
        text = "\n".join(f"{name}={value}" for name, value in variables.items())
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.setblocking(False)
            manager.sendto(text.encode(), self.address)


async def serve(service: Service, notifier: Notifier, *, stop: asyncio.Event | None = None) -> None:
    """Run the service until SIGTERM, SIGINT or `stop`, and stop it in order; a second signal ends it at once.

    SIGHUP reloads it. What its start raises is raised on, after its stop.
    """
    stop = stop or asyncio.Event()
    hurry, again = asyncio.Event(), asyncio.Event()
    with _signals(stop, hurry, again):
        try:
            if await _unless(stop, service.start()):
                notifier.send(READY=1, STATUS=service.status())
                log.info("daemon.started", status=service.status())
                await _run(service, notifier, stop, again)
        finally:
            notifier.send(STOPPING=1, STATUS=f"stopping: {service.status()}")
            log.info("daemon.stopping")
            if await _unless(hurry, service.stop()):
                log.info("daemon.stopped")
            else:
                log.warning("daemon.stop_cut_short")


async def run_stages(stages: Iterable[Stage]) -> None:
    """Run the stages in order. One that fails or takes too long is logged, and the next one begins."""
    for stage in stages:
        try:
            await asyncio.wait_for(stage.run(), stage.limit)
        except (TimeoutError, asyncio.TimeoutError):
            log.warning("stop.timed_out", stage=stage.name, limit=stage.limit)
        except Exception:  # the task supervisor of the stop: the other stages must have their turn
            log.exception("stop.failed", stage=stage.name)


async def _run(service: Service, notifier: Notifier, stop: asyncio.Event, again: asyncio.Event) -> None:
    watching = asyncio.create_task(watch(service, notifier), name="watchdog")
    watching.add_done_callback(_tell_crash)
    try:
        while await _unless(stop, again.wait()):
            again.clear()
            await _reload(service, notifier)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def watch(service: Service, notifier: Notifier) -> None:
    """Look at the service now and then and tell the manager, whose watchdog is fed where the look finds no fault."""
    pause = min(STATUS_EVERY, notifier.watchdog / WATCHDOG_SHARE) if notifier.watchdog else STATUS_EVERY
    failing: Mapping[str, str] = {}
    while True:
        faults = await service.check()
        _tell_faults(failing, faults)
        failing = faults
        if faults:
            reasons = "; ".join(f"{part}: {reason}" for part, reason in faults.items())
            notifier.send(STATUS=f"failing: {reasons}")
        elif notifier.watchdog:
            notifier.send(WATCHDOG=1, STATUS=service.status())
        else:
            notifier.send(STATUS=service.status())
        await asyncio.sleep(pause)


def _tell_crash(watching: asyncio.Task[None]) -> None:
    if not watching.cancelled() and (error := watching.exception()) is not None:
        log.error("daemon.watch_crashed", exc_info=error)


def _tell_faults(before: Mapping[str, str], faults: Mapping[str, str]) -> None:
    for part, reason in faults.items():
        tell = log.debug if part in before else log.warning
        tell("daemon.failing", part=part, reason=reason)
    for part in before:
        if part not in faults:
            log.info("daemon.recovered", part=part)


def _watchdog_of(environ: Mapping[str, str]) -> float:
    """Return $WATCHDOG_USEC in seconds, where it is meant for this process (sd_watchdog_enabled(3))."""
    text, process = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not text.isdecimal() or (process and process != str(os.getpid())):
        return 0.0
    return int(text) / 1_000_000


async def _reload(service: Service, notifier: Notifier) -> None:
    notifier.send(RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1000)
    log.info("daemon.reloading")
    try:
        await service.reload()
    except Exception:  # the task supervisor of the reload: what runs shall go on
        log.exception("daemon.reload_failed")
    notifier.send(READY=1, STATUS=service.status())


async def _unless(event: asyncio.Event, work: Awaitable[object]) -> bool:
    """Do the work and return True, or give it up when the event comes first and return False."""
    task = asyncio.ensure_future(work)
    waiter = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait((task, waiter), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
            return True
        return False
    finally:
        for each in (task, waiter):
            each.cancel()
        await asyncio.gather(task, waiter, return_exceptions=True)


@contextlib.contextmanager
def _signals(stop: asyncio.Event, hurry: asyncio.Event, again: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()

    def told(number: signal.Signals) -> None:
        log.info("signal.received", signal=number.name)
        (hurry if stop.is_set() else stop).set()

    for number in SIGNALS:
        loop.add_signal_handler(number, told, number)
    loop.add_signal_handler(signal.SIGHUP, again.set)
    try:
        yield
    finally:
        for number in (*SIGNALS, signal.SIGHUP):
            loop.remove_signal_handler(number)
