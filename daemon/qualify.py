"""Whether phones are there: an OPTIONS to each that was not heard of for a while, spread so that they make a stream.

Devices that are known by their address alone (`sip.method: ip`) never register; they count as registered while they
answer.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from typing import TYPE_CHECKING, Final

import structlog

from api.ports import Kind
from daemon.presence import Happening, now
from sip.agenda import Agenda
from sip.errors import ParseError, SipError
from sip.io.client import ask
from sip.io.endpoint import new_token
from sip.location import Binding
from sip.notify import NotifyOrigin
from sip.ping import build_ping
from sip.uri import SipUri, escape_user
from sip.vendor import Quirk

if TYPE_CHECKING:
    from api.ports import Document
    from daemon.directory import Device, Directory
    from daemon.presence import Presence
    from sip.aor import Aor
    from sip.io.endpoint import Endpoint
    from sip.vendors import VendorTable

log = structlog.get_logger(__name__)

TICK: Final = 0.25  # seconds: who comes due meanwhile is asked together, so that the loop is not woken for each phone
BATCH: Final = 32  # phones in one turn of the loop, at some 0.1 ms each: whoever came at once comes due at once
MAX_UNDER_WAY: Final = 10_000  # phones asked at once; a phone beyond it is asked a tick later
SILENT_FOR: Final = 33.0  # seconds that a phone which answers nothing is waited for: timer F and a little


class Qualifier:
    """Asks. `interval` is in seconds; 0 asks nobody."""

    def __init__(
        self, endpoint: Endpoint, presence: Presence, directory: Directory, vendors: VendorTable, interval: float
    ) -> None:
        self._endpoint = endpoint
        self._presence = presence
        self._directory = directory
        self._vendors = vendors
        self._interval = interval
        self._due: Agenda[Aor] = Agenda(TICK)
        self._ready: deque[Aor] = deque()
        """Those that are due now."""
        self._waiting: set[Aor] = set()
        self._asking: set[asyncio.Task[None]] = set()
        self._alarm: asyncio.Handle | None = None
        self._loop = asyncio.get_running_loop()

    def happened(self, happening: Happening, binding: Binding) -> None:
        """Learn of a binding, so that its phone is asked from now on (a listener of `Presence`)."""
        if happening is Happening.REGISTERED:
            self._plan(binding.aor, random.uniform(0.5, 1.0) * self._interval)  # noqa: S311 - spreads load

    def load(self) -> None:
        """Learn of the devices that are known by their address, from the directory."""
        for device in self._directory.ip_devices():
            self._plan_by_address(device)

    def changed(self, _old: Document | None, new: Document | None) -> None:
        """Learn of a device that is known by its address (`daemon.provisioning.DocumentListener`)."""
        if new is not None and new.kind is Kind.DEVICE:
            device = self._directory.device(new.account_id, new.id)
            if device is not None and device.ip:
                self._plan_by_address(device)

    async def close(self) -> None:
        """Stop asking."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._interval = 0.0
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)

    def _plan(self, aor: Aor, delay: float) -> None:
        if not self._interval or aor in self._waiting:
            return
        self._waiting.add(aor)
        self._due.add(now() + delay, aor)
        self._arm()

    def _plan_by_address(self, device: Device) -> None:
        self._plan(device.aor, random.uniform(0.0, 0.1) * self._interval)  # noqa: S311 - spreads load

    def _arm(self) -> None:
        if self._alarm is not None:
            return
        due = now() + TICK if self._ready else self._due.next()
        if due is not None:
            self._alarm = self._loop.call_later(max(0.0, due - now()), self._on_alarm)

    def _on_alarm(self) -> None:
        moment, looked = now(), 0
        while (page := self._due.take(moment)) is not None:
            self._ready.extend(page[1])
        while looked < BATCH and self._ready and len(self._asking) < MAX_UNDER_WAY:
            looked += 1
            aor = self._ready.popleft()
            self._waiting.discard(aor)
            if self._look_after(aor, moment):
                self._plan(aor, self._interval)
        self._alarm = self._loop.call_soon(self._on_alarm) if looked == BATCH else None
        self._arm()

    def _look_after(self, aor: Aor, moment: float) -> bool:
        """Ask the phones of an AOR that were silent; returns whether the AOR is to be looked after again."""
        device = self._directory.find(aor)
        if device is not None and device.ip:
            self._start(self._ask_by_address(device))
            return True
        bindings = self._presence.aor_bindings(aor)
        for binding in bindings:
            if moment - binding.last_seen >= self._interval / 2 and not self._dislikes_options(binding):
                self._start(self._ask(binding))
        return bool(bindings)

    def _dislikes_options(self, binding: Binding) -> bool:
        return Quirk.NO_OPTIONS in self._vendors.match(binding.user_agent).quirks

    def _start(self, work: object) -> None:
        task: asyncio.Task[None] = self._loop.create_task(work)  # type: ignore[arg-type] # the coroutines below
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _ask(self, binding: Binding) -> None:
        latency = await self._latency(binding)
        if latency is None:
            self._presence.lost(binding)
        else:
            self._presence.heard(binding, latency)

    async def _latency(self, binding: Binding) -> float | None:
        """Return the seconds until the phone answered, anything at all; None where it did not."""
        origin = NotifyOrigin(new_token(), new_token(), f"<{self._endpoint.contact_uri(binding.flow)}>")
        asked = now()
        try:
            await ask(self._endpoint, build_ping(binding, origin), binding.flow)
        except (SipError, ParseError) as failure:
            facts = {"device_id": binding.device_id, "contact": binding.contact, "call_id": origin.call_id}
            log.debug("qualify.unanswered", aor=binding.aor, reason=str(failure), **facts)
            return None
        return now() - asked

    async def _ask_by_address(self, device: Device) -> None:
        contact = f"sip:{escape_user(device.username)}@{device.ip}"
        try:
            flow = await self._endpoint.flow_to(SipUri.parse(contact))
        except SipError as failure:
            log.warning("qualify.impossible", aor=device.aor, device_id=device.device_id, reason=str(failure))
            return
        moment = now()
        standing = next(iter(self._presence.aor_bindings(device.aor)), None)
        binding = Binding(
            aor=device.aor,
            account_id=device.account_id,
            device_id=device.device_id,
            contact=contact,
            flow=flow,
            call_id="",
            cseq=0,
            expires_at=moment + 2 * self._interval + SILENT_FOR,
            granted=int(2 * self._interval),
            first_registered=standing.first_registered if standing else moment,
            registered_at=moment,
        )
        latency = await self._latency(binding)
        if latency is not None:
            binding.heard(now(), latency)
            self._presence.keep(binding)
        elif standing is not None:
            await self._presence.drop([standing])
