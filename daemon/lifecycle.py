"""From start to stop: signals, systemd's notifications (sd_notify(3)), and a stop in stages."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import structlog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping

log = structlog.get_logger()

SIGNALS = (signal.SIGTERM, signal.SIGINT)


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

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Notifier:
        """Read the socket's address from $NOTIFY_SOCKET; a leading `@` is Linux's abstract namespace."""
        address = environ.get("NOTIFY_SOCKET", "")
        return cls(f"\0{address[1:]}" if address.startswith("@") else address)

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
                while await _unless(stop, again.wait()):
                    again.clear()
                    await _reload(service, notifier)
        finally:
            notifier.send(STOPPING=1, STATUS="stopping")
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
