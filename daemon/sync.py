"""What can be done to a phone by NOTIFY: check-sync in its vendor's form, and any other event (contract 5.6, 5.9, 6.1).

Nobody waits here for a phone: a request is on its way when its call returns, and what the phone said is logged.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from daemon.presence import now
from sip.digest import Credentials
from sip.errors import ParseError, SipError
from sip.io.client import ask
from sip.io.endpoint import new_token
from sip.notify import NotifyOrigin, NotifyTarget, check_sync, notify
from sip.vendor import NotifyForm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from api.ports import Document
    from daemon.directory import Directory
    from daemon.presence import Presence
    from sip.io.endpoint import Endpoint
    from sip.location import Binding
    from sip.message import Request
    from sip.vendors import VendorTable

log = structlog.get_logger(__name__)

MAX_UNDER_WAY: Final = 20_000  # NOTIFYs that wait for their answer; each ends by itself within 32 seconds
PLAIN: Final = NotifyForm("check-sync")  # for a family that obeys none: asked for is asked for


class DeviceControl:
    """Implements `api.ports.Control` and `daemon.provisioning.Flusher`."""

    def __init__(self, endpoint: Endpoint, presence: Presence, directory: Directory, vendors: VendorTable) -> None:
        self._endpoint = endpoint
        self._presence = presence
        self._directory = directory
        self._vendors = vendors
        self._deliveries: set[asyncio.Task[None]] = set()

    async def check_sync(self, device: Document) -> None:
        """Send a check-sync to every contact of the device; one without any is no fault (contract 5.6)."""
        bindings = self._presence.bindings(device.account_id, device.id)
        log.info("sync.requested", device_id=device.id, contacts=len(bindings))
        self._check_sync(bindings)

    async def notify(self, device: Document, *, event: str, content_type: str, body: bytes) -> None:
        """Send a NOTIFY of any event, checked by `sip.notify.notify_faults`, to every contact of the device."""

        def build(target: NotifyTarget, origin: NotifyOrigin) -> Request:
            return notify(target, origin, event=event, content_type=content_type, body=body)

        self._deliver(self._presence.bindings(device.account_id, device.id), build)

    async def flush(self, account_id: str, username: str) -> bool:
        """Send check-sync to the username's contacts and remove its bindings.

        Returns False where no device of the account has the username. Raises StoreUnavailable.
        """
        found = [device for aor in self._directory.aors(account_id, username) if (device := self._directory.find(aor))]
        for device in found:
            await self.flush_device(account_id, device.device_id)
        return bool(found)

    async def flush_device(self, account_id: str, device_id: str) -> None:
        """Send check-sync to the contacts that the device has, or had when it was changed, and remove its bindings.

        Raises StoreUnavailable.
        """
        bindings = self._presence.bindings(account_id, device_id)
        self._check_sync(bindings)
        await self._presence.drop(bindings)

    async def close(self) -> None:
        """Give up what phones have not answered yet."""
        for task in self._deliveries:
            task.cancel()
        await asyncio.gather(*self._deliveries, return_exceptions=True)

    def _check_sync(self, bindings: Iterable[Binding]) -> None:
        def build(target: NotifyTarget, origin: NotifyOrigin) -> Request:
            return check_sync(target, self._vendors.match(target.user_agent).form() or PLAIN, origin)

        self._deliver(bindings, build)

    def _deliver(self, bindings: Iterable[Binding], build: Callable[[NotifyTarget, NotifyOrigin], Request]) -> None:
        for binding in bindings:
            if len(self._deliveries) >= MAX_UNDER_WAY:
                log.warning("notify.dropped", aor=binding.aor, reason="too many wait for an answer")
                continue
            task = asyncio.create_task(self._see_through(binding, build))
            self._deliveries.add(task)
            task.add_done_callback(self._deliveries.discard)

    async def _see_through(self, binding: Binding, build: Callable[[NotifyTarget, NotifyOrigin], Request]) -> None:
        """Send one NOTIFY and log what became of it."""
        facts = {"aor": binding.aor, "device_id": binding.device_id, "contact": binding.contact}
        origin = NotifyOrigin(new_token(), new_token(), f"<{self._endpoint.contact_uri(binding.flow)}>")
        try:
            request = build(self._target(binding), origin)
            facts |= {"event_package": request.one("Event"), "call_id": origin.call_id}
            asked = now()
            response = await ask(self._endpoint, request, binding.flow, credentials=self._credentials(binding))
            self._presence.heard(binding, now() - asked)
        except (SipError, ParseError) as failure:
            log.warning("notify.unanswered", reason=str(failure), **facts)
            return
        tell = log.info if response.success else log.warning
        tell("notify.answered", status=response.status, reason=response.reason, **facts)

    def _target(self, binding: Binding) -> NotifyTarget:
        return NotifyTarget(
            contact=binding.contact,
            aor=binding.aor,
            realm=binding.aor.domain,
            path=binding.path,
            user_agent=binding.user_agent,
            call_id=binding.call_id,
        )

    def _credentials(self, binding: Binding) -> Credentials | None:
        device = self._directory.device(binding.account_id, binding.device_id)
        return Credentials(device.username, device.password) if device is not None and device.password else None
