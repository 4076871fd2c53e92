"""What can be done to a phone by NOTIFY: check-sync in its vendor's form, and any other event (contract 5.6, 5.9, 6.1).

A request is on its way when its call returns; what becomes of it is followed by `daemon.deliveries`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

import structlog

from daemon.deliveries import Followed, Subject
from daemon.presence import now
from daemon.store.records import text_at
from sip.aor import domain_of
from sip.delivery import Phase, Watch
from sip.digest import Credentials
from sip.errors import ConnectionLost, ParseError, SipError, TransactionTimeout
from sip.io.client import ask
from sip.io.endpoint import new_token
from sip.message import Request
from sip.notify import NotifyOrigin, NotifyTarget, check_sync, notify
from sip.vendor import Mode, NotifyForm, Quirk

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from api.ports import DeliveryReport, Document
    from daemon.deliveries import Deliveries
    from daemon.directory import Directory
    from daemon.presence import Presence
    from sip.io.endpoint import Endpoint
    from sip.location import Binding
    from sip.vendor import Vendor
    from sip.vendors import VendorTable

log = structlog.get_logger(__name__)

MAX_UNDER_WAY: Final = 20_000  # NOTIFYs that wait for their answer; each ends by itself within 64 seconds
PLAIN: Final = NotifyForm("check-sync")  # for a family that obeys none: asked for is asked for

Build: TypeAlias = Callable[[NotifyTarget, NotifyOrigin], Request]


@dataclass(frozen=True, slots=True)
class Letter:
    """A NOTIFY that is ready to go, or the reason why there is none."""

    followed: Followed
    binding: Binding | None = None
    """None where nothing is sent."""
    build: Build | None = None
    credentials: Credentials | None = field(default=None, repr=False)


class DeviceControl:
    """Implements `api.ports.Control` and `daemon.provisioning.Flusher`."""

    def __init__(
        self,
        endpoint: Endpoint,
        presence: Presence,
        directory: Directory,
        vendors: VendorTable,
        deliveries: Deliveries,
    ) -> None:
        self._endpoint = endpoint
        self._presence = presence
        self._directory = directory
        self._vendors = vendors
        self._deliveries = deliveries
        self._under_way: set[asyncio.Task[None]] = set()

    async def check_sync(
        self, device: Document, *, mode: Mode | None = None, contact: str | None = None, wait: float = 0.0
    ) -> Sequence[DeliveryReport]:
        """Send a check-sync to every contact of the device; one without any is no fault (contract 5.6)."""
        letters = self.check_syncs(device.account_id, device.id, mode=mode, contact=contact)
        log.info("sync.requested", device_id=device.id, contacts=sum(each.binding is not None for each in letters))
        return await self._post(letters, wait)

    async def notify(
        self,
        device: Document,
        *,
        event: str,
        content_type: str,
        body: bytes,
        contact: str | None = None,
        wait: float = 0.0,
    ) -> Sequence[DeliveryReport]:
        """Send a NOTIFY of any event, checked by `sip.notify.notify_faults`, to every contact of the device."""

        def build(target: NotifyTarget, origin: NotifyOrigin) -> Request:
            return notify(target, origin, event=event, content_type=content_type, body=body)

        bindings = self._presence.bindings(device.account_id, device.id)
        credentials = self._credentials(device.account_id, device.id)
        letters: list[Letter] = []
        for binding in _chosen(bindings, contact):
            vendor = self._vendors.match(binding.user_agent)
            subject = _subject(binding, vendor, event, topic="notify")
            followed = self._deliveries.new(subject, watched=_restarts_by(event, vendor))
            followed.watch = _watch(binding, bindings)
            letters.append(Letter(followed, binding, build, credentials))
        nobody = Subject(device.account_id, device.id, event, contact=contact, topic="notify")
        return await self._post(letters or [self._to_nobody(nobody)], wait)

    async def outcomes(self, account_id: str, device_id: str) -> Sequence[DeliveryReport]:
        """Return what became of the last NOTIFYs to a device. Raises StoreUnavailable."""
        return await self._deliveries.outcomes(account_id, device_id)

    async def flush(self, account_id: str, username: str) -> bool:
        """Send check-sync to the username's contacts and remove its bindings.

        Returns False where no device of the account has the username. Raises StoreUnavailable.
        """
        found = [device for aor in self._directory.aors(account_id, username) if (device := self._directory.find(aor))]
        for device in found:
            credentials = self._credentials(account_id, device.device_id)
            await self._flush(account_id, device.device_id, credentials)
        return bool(found)

    async def flush_device(self, was: Document) -> None:
        """Send check-sync to the contacts of the device, and remove its bindings. Raises StoreUnavailable.

        The phone has still the credentials of the device as it was.
        """
        username, password = text_at(was.data, "sip", "username"), text_at(was.data, "sip", "password")
        await self._flush(was.account_id, was.id, Credentials(username, password) if username and password else None)

    async def close(self) -> None:
        """Give up what phones have not answered yet."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    def check_syncs(
        self,
        account_id: str,
        device_id: str,
        *,
        mode: Mode | None = None,
        contact: str | None = None,
        job_id: str | None = None,
    ) -> list[Letter]:
        """Return a check-sync for each contact of a device, not sent yet; never nothing."""
        bindings = self._presence.bindings(account_id, device_id)
        credentials = self._credentials(account_id, device_id)
        chosen = _chosen(bindings, contact)
        if not chosen:
            return [self._to_nobody(Subject(account_id, device_id, "", contact=contact, job_id=job_id))]
        watches = {binding.key: _watch(binding, bindings) for binding in chosen}
        return [self._check_sync(each, watches[each.key], mode, credentials, job_id) for each in chosen]

    def send(self, letter: Letter, *, stored: bool = False) -> asyncio.Task[None] | None:
        """Send a NOTIFY and follow it; the task is done when there is no more answer to wait for."""
        followed = letter.followed
        followed.delivery.sent_at = now()
        self._deliveries.follow(followed, stored=stored)
        if letter.binding is None or letter.build is None:
            return None
        if len(self._under_way) >= MAX_UNDER_WAY:
            binding, reason = letter.binding, "too many wait for an answer"
            log.warning("notify.dropped", device_id=binding.device_id, aor=binding.aor, reason=reason)
            self._unanswered(followed, sent=False)
            return None
        task = asyncio.create_task(self._see_through(letter, letter.binding, letter.build))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    async def _post(self, letters: Sequence[Letter], wait: float) -> Sequence[DeliveryReport]:
        for letter in letters:
            self.send(letter)
        if not wait:
            return ()
        await self._deliveries.wait([letter.followed for letter in letters], wait)
        return [self._deliveries.report(letter.followed) for letter in letters]

    async def _flush(self, account_id: str, device_id: str, credentials: Credentials | None) -> None:
        bindings = self._presence.bindings(account_id, device_id)
        for binding in bindings:
            letter = self._check_sync(binding, _watch(binding, bindings), None, credentials, None)
            letter.followed.flushed = True
            self.send(letter)
        await self._presence.drop(bindings)

    def _check_sync(
        self, binding: Binding, watch: Watch, mode: Mode | None, credentials: Credentials | None, job_id: str | None
    ) -> Letter:
        vendor = self._vendors.match(binding.user_agent)
        form = vendor.form(mode) or (PLAIN if mode is None else None)
        if form is None:
            return Letter(self._deliveries.new(_subject(binding, vendor, "", job_id=job_id), Phase.UNSUPPORTED))

        def build(target: NotifyTarget, origin: NotifyOrigin) -> Request:
            return check_sync(target, form, origin)

        followed = self._deliveries.new(_subject(binding, vendor, form.event, job_id=job_id))
        followed.watch = watch
        followed.awaits_restart = (
            mode or vendor.check_sync
        ) is Mode.REBOOT or Quirk.ANY_CHECK_SYNC_REBOOTS in vendor.quirks
        return Letter(followed, binding, build, credentials)

    def _to_nobody(self, subject: Subject) -> Letter:
        return Letter(self._deliveries.new(subject, Phase.NOT_REGISTERED))

    async def _see_through(self, letter: Letter, binding: Binding, build: Build) -> None:
        """Send one NOTIFY and note what the phone says."""
        followed = letter.followed
        facts = {"aor": binding.aor, "device_id": binding.device_id, "contact": binding.contact}
        origin = NotifyOrigin(new_token(), new_token(), f"<{self._endpoint.contact_uri(binding.flow)}>")
        try:
            request = build(notify_target(binding), origin)
            facts |= {"event_package": request.one("Event"), "call_id": origin.call_id}
            response = await ask(self._endpoint, request, binding.flow, credentials=letter.credentials)
        except (SipError, ParseError) as failure:
            log.warning("notify.unanswered", reason=str(failure), **facts)
            self._unanswered(followed, sent=isinstance(failure, (TransactionTimeout, ConnectionLost)))
            return
        followed.delivery.answered(response.status, response.reason, now())
        self._presence.heard(binding, followed.delivery.latency)
        self._deliveries.changed(followed)
        tell = log.info if response.success else log.warning
        tell("notify.answered", status=response.status, reason=response.reason, **facts)

    def _unanswered(self, followed: Followed, *, sent: bool) -> None:
        followed.delivery.unanswered(now(), sent=sent)
        self._deliveries.changed(followed)

    def _credentials(self, account_id: str, device_id: str) -> Credentials | None:
        device = self._directory.device(account_id, device_id)
        return Credentials(device.username, device.password) if device is not None and device.password else None


def _chosen(bindings: Iterable[Binding], contact: str | None) -> list[Binding]:
    return [binding for binding in bindings if contact is None or binding.contact == contact]


def _subject(
    binding: Binding, vendor: Vendor, event: str, *, job_id: str | None = None, topic: str = "sync"
) -> Subject:
    return Subject(
        binding.account_id, binding.device_id, event, binding.user_agent, vendor.name, binding.contact, job_id, topic
    )


def _watch(binding: Binding, bindings: Iterable[Binding]) -> Watch:
    return Watch.of(binding, frozenset(each.call_id for each in bindings))


def _restarts_by(event: str, vendor: Vendor) -> bool:
    """Return whether the vendor's phones may start anew by an event that a client chose."""
    forms = (PLAIN, vendor.resync, vendor.reboot)
    return _package(event) in {_package(form.event) for form in forms if form is not None}


def _package(event: str) -> str:
    return event.partition(";")[0].strip().lower()


def notify_target(binding: Binding) -> NotifyTarget:
    """Return what a NOTIFY to the binding has to know of it."""
    return NotifyTarget(
        contact=binding.contact,
        aor=binding.aor,
        realm=domain_of(binding.aor),
        path=binding.path,
        user_agent=binding.user_agent,
        call_id=binding.call_id,
    )
