"""The worker of one call, as the core has it: two SIP calls to it, what it says beside them, and its loss."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from sip.audio import audio_of
from sip.flow import Address
from sip.media.bridge import LOOPBACK, PORTS_PER_CALL, Begin, Hear, Pressed, Ready
from sip.media.link import Link
from sip.media.process import WorkerFailed
from sip.mediaplan import Source
from sip.outcome import Side

if TYPE_CHECKING:
    from collections.abc import Callable

    from sip.io.endpoint import Endpoint
    from sip.media.bridge import Message
    from sip.media.process import WorkerProcess
    from sip.sdp import SessionDescription

log = structlog.get_logger(__name__)


class LiveBridge:
    """Implements `sip.anchor.Bridge`. `open` it once; `close` it when the call is over."""

    def __init__(
        self, endpoint: Endpoint, local: Address, worker: WorkerProcess, port: int, on_closed: Callable[[], None]
    ) -> None:
        loop = asyncio.get_running_loop()
        self.call_ids: tuple[str, ...] = ()
        """Of our calls to the worker."""
        self._endpoint = endpoint
        self._local = local
        self._worker = worker
        self._port = port
        self._on_closed = on_closed
        self._links: dict[Side, Link] = {}
        self._offers: dict[Side, SessionDescription] = {}
        self._heard = dict.fromkeys(Side, Source.SILENCE)
        self._sip_port: asyncio.Future[int] = loop.create_future()
        self._lost: asyncio.Future[str] = loop.create_future()
        self._on_lost: Callable[[], None] = lambda: None
        self._on_pressed: Callable[[Side, str], None] = lambda _side, _digit: None
        self._closed = False

    async def open(self, token: str) -> None:
        """Let the worker make its two offers. Raises WorkerFailed, TransportFailed, TransactionTimeout, ParseError."""
        self._worker.on_event, self._worker.on_end = self._take, lambda: self.fail(self._worker.reason)
        opening = asyncio.ensure_future(self._open(token))
        try:
            await asyncio.wait((opening, self._lost), return_when=asyncio.FIRST_COMPLETED)
            self._check(opening)
        except BaseException:
            self._let_go()
            raise
        finally:
            opening.cancel()

    @property
    def pid(self) -> int:
        """Of the worker's process."""
        return self._worker.pid

    @property
    def lost(self) -> bool:
        """Whether the worker could not go on."""
        return self._lost.done()

    def listen(self, on_lost: Callable[[], None], on_pressed: Callable[[Side, str], None]) -> None:
        """Say who is to hear that the worker is lost, once, and which keys are pressed."""
        self._on_lost, self._on_pressed = on_lost, on_pressed
        if self._lost.done():
            asyncio.get_running_loop().call_soon(on_lost)

    def offer(self, side: Side) -> SessionDescription:
        """Return what the worker offers on a side."""
        return self._offers[side]

    def point(self, side: Side, said: SessionDescription) -> None:
        """Tell the worker where a side's media is; the last word holds."""
        if not self._closed:
            self._links[side].point(said)

    def hear(self, side: Side, source: Source) -> None:
        """Tell the worker what a side hears."""
        if source is not self._heard[side] and not self._closed:
            self._heard[side] = source
            self._worker.send(Hear(side, source))

    def fail(self, reason: str) -> None:
        """Learn that the worker cannot go on."""
        if self._closed or self._lost.done():
            return
        self._lost.set_result(reason)
        log.warning("media.worker_lost", pid=self._worker.pid, reason=reason)
        self._on_lost()

    def close(self) -> None:
        """Let go of the worker."""
        if not self._closed:
            self._on_closed()
            self._let_go()

    def _let_go(self) -> None:
        """Hear nothing more, and leave no cycle of references to the collector, which runs a few times a day."""
        self._closed = True
        self._worker.on_event, self._worker.on_end = _ignore, _ignore
        self._on_lost, self._on_pressed, self._on_closed = _ignore, _ignore, _ignore
        self._links = {}

    def _check(self, opening: asyncio.Task[None]) -> None:
        if not opening.done():
            raise WorkerFailed(self._lost.result())
        opening.result()
        for offer in self._offers.values():
            if not self._port <= audio_of(offer).port < self._port + PORTS_PER_CALL:
                raise WorkerFailed("it does not keep to its RTP ports")

    async def _open(self, token: str) -> None:
        self._worker.send(Begin(token, self._port))
        address = Address(LOOPBACK, await self._sip_port)
        self._links = {side: Link(self._endpoint, self._local, address, side, self.fail) for side in Side}
        self.call_ids = tuple(link.call_id for link in self._links.values())
        for side, link in self._links.items():
            self._offers[side] = await link.open(token)

    def _take(self, event: Message) -> None:
        if isinstance(event, Ready) and not self._sip_port.done():
            self._sip_port.set_result(event.sip_port)
        elif isinstance(event, Pressed) and not self._closed:
            self._on_pressed(event.side, event.digit)


def _ignore(*_facts: object) -> None:
    """Take no notice."""
