"""Gives each call a media worker of its own, within limits, and sees to it that none is left."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from collections import Counter
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import structlog

from sip.errors import SipError
from sip.flow import Address, Transport
from sip.io.endpoint import Endpoint, new_token
from sip.media.bridge import LOOPBACK
from sip.media.live import LiveBridge
from sip.media.pool import StartsBusy, WorkerPool
from sip.media.ports import PortRange
from sip.media.process import WorkerFailed
from sip.message import Response
from sip.sounds import asking_wav, ringback_wav

if TYPE_CHECKING:
    from sip.flow import Flow
    from sip.io.exchange import ServerTransaction
    from sip.media.process import WorkerProcess
    from sip.message import Request

log = structlog.get_logger(__name__)

ATTEMPTS: Final = 3  # workers that are tried for a call before it is refused
SETUP_LIMIT: Final = 5.0  # seconds that a worker may take to make its two offers; some milliseconds are usual
MISSING: Final = (
    "media=process needs pjsua2-pybind11, which is not installed; it has wheels for Python 3.10 to 3.12 on x86-64 Linux"
    " alone. Ask for media=bypass"
)
TOO_MANY: Final = "as many calls as media.max_calls allows have their media here; try again later"
NO_PORTS: Final = "all ports of media.port_range are in use; try again later"


class NoMedia(Exception):
    """A call cannot have its media here, and why."""


class NoRoom(NoMedia):
    """Others have all that there is; it passes."""


@dataclass(frozen=True, slots=True)
class MediaPolicy:
    """What the operator chose; the defaults are those of the settings."""

    workers: int = 2
    """How many are kept warm."""
    max_calls: int = 50
    ports: tuple[int, int] = (9000, 9399)
    """The first and the last."""
    ringback: str = "us"


class MediaSupervisor:
    """All workers. Make it and `start` it within one event loop; `close` leaves none behind."""

    def __init__(self, policy: MediaPolicy) -> None:
        self._policy = policy
        self.max_calls = policy.max_calls
        """How many calls may have a worker; changing it ends none."""
        self._loop = asyncio.get_running_loop()
        self._ports = PortRange(*policy.ports, secrets.randbelow)
        self._sounds: list[int] = []
        self.faults: Counter[str] = Counter()
        """How many workers did not start, and how many were lost while they were warm or had a call."""
        self._pool = WorkerPool(policy.workers, self._sounds, random.random, self.faults)
        self._bridges: dict[str, LiveBridge] = {}
        """By the Call-IDs of our calls to the workers."""
        self._calls = 0
        self._endpoint: Endpoint | None = None
        self._local = Address(LOOPBACK, 0)

    @property
    def calls(self) -> int:
        """How many calls have a worker."""
        return self._calls

    @property
    def room(self) -> int:
        """How many calls more there are ports for."""
        return len(self._ports)

    @property
    def warm(self) -> int:
        """How many workers wait for a call."""
        return len(self._pool)

    async def start(self) -> None:
        """Listen to workers. Raises OSError."""
        if find_spec("pjsua2") is None:
            log.warning("media.unavailable", reason=MISSING)
            return
        self._endpoint = Endpoint(self)
        self._local = await self._endpoint.listen(Transport.UDP, self._local)
        self._sounds += (_in_memory(wav) for wav in (ringback_wav(self._policy.ringback), asking_wav()))

    def warm_up(self) -> None:
        """Begin to start workers, so that calls wait for none: each takes a core for a tenth of a second."""
        if self._endpoint is not None:
            self._pool.fill()

    async def open(self) -> LiveBridge:
        """Give a call its worker. Raises NoMedia."""
        if self._endpoint is None:
            raise NoMedia(MISSING)
        if self._calls >= self.max_calls:
            raise NoRoom(TOO_MANY)
        self._calls += 1
        try:
            return await self._try_workers(self._endpoint)
        except BaseException:
            self._calls -= 1
            raise
        finally:
            self._pool.fill()

    async def close(self) -> None:
        """End every worker and its call."""
        for bridge in set(self._bridges.values()):
            bridge.close()
        await self._pool.close()
        if self._endpoint is not None:
            await self._endpoint.close()
        while self._sounds:
            os.close(self._sounds.pop())

    # What a worker asks of us: implements `sip.io.endpoint.TransactionUser`

    def is_welcome(self, request: Request, flow: Flow) -> bool:  # noqa: ARG002 - the protocol names them
        """Look at all that comes: it is from this host."""
        return True

    def on_request(self, request: Request, transaction: ServerTransaction) -> None:
        """Answer at once, for a worker's unanswered request holds its call; a BYE means that it cannot go on."""
        bridge = self._bridges.get(request.call_id)
        if bridge is None:
            transaction.respond(Response.to_request(request, 481))
        elif request.method == "BYE":
            transaction.respond(Response.to_request(request, 200))
            bridge.fail("it hung up")
        else:
            transaction.respond(Response.to_request(request, 488 if request.method == "INVITE" else 405))

    def on_ack(self, request: Request, flow: Flow) -> None:
        """Take no notice: no INVITE of a worker's gets a 2xx."""

    def on_flow_lost(self, flow: Flow) -> None:
        """Take no notice: UDP has no connections."""

    async def _try_workers(self, endpoint: Endpoint) -> LiveBridge:
        reason = ""
        for _ in range(ATTEMPTS):
            try:
                return await self._try_worker(endpoint)
            except StartsBusy as busy:
                raise NoRoom(str(busy)) from busy
            except (WorkerFailed, SipError, TimeoutError, asyncio.TimeoutError) as failure:
                reason = str(failure) or f"it did not answer within {SETUP_LIMIT:g} s"
                self.faults["start"] += 1
                log.warning("media.worker_failed", reason=reason)
        raise NoMedia(f"no media worker can be had: {reason}")

    async def _try_worker(self, endpoint: Endpoint) -> LiveBridge:
        """Let one worker make its offers, or let go of it."""
        port = self._ports.take(self._loop.time())
        if port is None:
            raise NoRoom(NO_PORTS)
        try:
            worker = await self._pool.take()
        except BaseException:
            self._ports.give_back(port)
            raise
        bridge = LiveBridge(endpoint, self._local, worker, port, lambda: self._let_go(bridge, worker, port))
        try:
            await asyncio.wait_for(bridge.open(new_token()), SETUP_LIMIT)
        except BaseException as failure:
            # A worker that cannot have its ports fails in more ways than one.
            tainted = isinstance(failure, Exception)
            self._pool.dismiss(worker, lambda: self._return(port, tainted=tainted))
            raise
        self._bridges.update(dict.fromkeys(bridge.call_ids, bridge))
        return bridge

    def _let_go(self, bridge: LiveBridge, worker: WorkerProcess, port: int) -> None:
        """Take back what a call used; its ports are free when its worker has ended."""
        self._calls -= 1
        self.faults["call"] += bridge.lost
        for call_id in bridge.call_ids:
            self._bridges.pop(call_id, None)
        self._pool.dismiss(worker, lambda: self._return(port, tainted=False))

    def _return(self, port: int, *, tainted: bool) -> None:
        if tainted:
            self._ports.rest(port, self._loop.time())
        else:
            self._ports.give_back(port)


def _in_memory(data: bytes) -> int:
    """Return a descriptor of a file that has no name, so that none is ever left behind."""
    descriptor = os.memfd_create("roost-sound")
    os.write(descriptor, data)
    return descriptor
