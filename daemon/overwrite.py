"""Tells the phones of a device that another one registered in their place, where it asks for that (contract 6.2)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from daemon.presence import Happening
from daemon.sync import notify_target
from sip.digest import Credentials
from sip.errors import ParseError, SipError
from sip.io.client import ask
from sip.io.endpoint import new_token
from sip.notify import NotifyOrigin, notify

if TYPE_CHECKING:
    from daemon.directory import Device, Directory
    from daemon.presence import Presence
    from sip.io.endpoint import Endpoint
    from sip.location import Binding

log = structlog.get_logger(__name__)

EVENT: Final = "registration-overwrite"
MAX_UNDER_WAY: Final = 1000  # NOTIFYs that wait for their answer; each ends by itself within 32 seconds


class OverwriteNotices:
    """Sends them. Subscribe it after the table is loaded."""

    def __init__(self, endpoint: Endpoint, presence: Presence, directory: Directory) -> None:
        self._endpoint = endpoint
        self._presence = presence
        self._directory = directory
        self._under_way: set[asyncio.Task[None]] = set()

    def happened(self, happening: Happening, binding: Binding) -> None:
        """Learn of a registration (a listener of `Presence`)."""
        if happening is not Happening.REGISTERED:
            return
        device = self._directory.device(binding.account_id, binding.device_id)
        if device is None or not device.tells_overwrite:
            return
        others = [each for each in self._presence.aor_bindings(binding.aor) if each.contact != binding.contact]
        if others:
            before = max(others, key=lambda each: each.registered_at)
            self._send(device, before, f"Replaced-By:<{binding.contact}>")
            self._send(device, binding, f"Overwrote:<{before.contact}>")

    async def close(self) -> None:
        """Give up what phones have not answered yet."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    def _send(self, device: Device, binding: Binding, text: str) -> None:
        if len(self._under_way) >= MAX_UNDER_WAY:
            log.warning(
                "notify.dropped", device_id=device.device_id, aor=binding.aor, reason="too many wait for an answer"
            )
            return
        task = asyncio.create_task(self._see_through(device, binding, text.encode("utf-8", "surrogateescape")))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _see_through(self, device: Device, binding: Binding, body: bytes) -> None:
        origin = NotifyOrigin(new_token(), new_token(), f"<{self._endpoint.contact_uri(binding.flow)}>")
        facts = {
            "aor": binding.aor,
            "device_id": device.device_id,
            "contact": binding.contact,
            "event_package": EVENT,
            "call_id": origin.call_id,
        }
        credentials = Credentials(device.username, device.password) if device.password else None
        try:
            request = notify(notify_target(binding), origin, event=EVENT, content_type="text/plain", body=body)
            response = await ask(self._endpoint, request, binding.flow, credentials=credentials)
        except (SipError, ParseError) as failure:
            log.warning("notify.unanswered", reason=str(failure), **facts)
            return
        log.info("notify.answered", status=response.status, reason=response.reason, **facts)
