"""The live registrations: the location table, what is told of it, and what outlives the process.

Rule: the table changes through `change` and the expiry alarm alone, so that every change is stored, logged and seen.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from enum import Enum
from typing import TYPE_CHECKING, Final, TypeAlias

import orjson
import structlog

from api.body import mend
from api.ports import GREGORIAN_EPOCH, Registration
from sip.aor import Aor, domain_of, parse_aor, user_of
from sip.errors import ParseError
from sip.io.turn import this_turn
from sip.location import Binding, BindingChanges, LocationTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from daemon.directory import Device, Directory
    from daemon.store import StoredBindings
    from sip.flow import Flow

log = structlog.get_logger(__name__)

now = time.monotonic
"""The clock of every binding; it never jumps."""


class Happening(Enum):
    """What can happen to a binding; the value is the log's event."""

    __hash__ = object.__hash__  # of members, which are singletons; Enum's own is written in Python

    REGISTERED = "registration.added"
    REFRESHED = "registration.refreshed"
    UNREGISTERED = "registration.removed"
    EXPIRED = "registration.expired"
    REACHABLE = "registration.reachable"
    UNREACHABLE = "registration.unreachable"


_REFRESHED: Final = Happening.REFRESHED.value  # asked of the member it is a call, for every refresh
Listener: TypeAlias = "Callable[[Happening, Binding], None]"


class Presence:
    """Implements `api.ports.Presence`, and keeps the table for the registrar. Use it from one event loop."""

    def __init__(self, store: StoredBindings, directory: Directory, *, flow_grace: float = 300.0) -> None:
        self.table = LocationTable()
        self._store = store
        self._directory = directory
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_due = 0.0  # not asked of the handle: uvloop's has no when() where the time was past
        self._status: dict[str, bytes] = {}
        self._editions: Counter[str] = Counter()
        """How often a device of an account came or went, or was lost or found."""
        self._flow_grace = flow_grace
        self._listeners: dict[Happening, list[Listener]] = {happening: [] for happening in Happening}
        self._loop = asyncio.get_running_loop()
        self._dropped = this_turn().line(self._drop_lost)
        self._log = log.bind()  # which need not be looked up for every refresh

    def subscribe(self, listener: Listener, *happenings: Happening) -> None:
        """Call the listener for these happenings from now on; for all of them where none is named."""
        for happening in happenings or Happening:
            self._listeners[happening].append(listener)

    async def load(self) -> int:
        """Take over what an earlier process left, except what belongs to no device any more; returns how many."""
        before = len(self.table)
        await self._store.load(self._owner_of, self._take_over)
        self._arm()
        return len(self.table) - before

    def change(self, changes: BindingChanges, done: Callable[[Exception | None], None] | None = None) -> None:
        """Make the changes seen at once, and call `done` when they are durable, or with why they are not.

        Where nobody waits to be told, they are durable within a second.
        """
        self.table.apply(changes)
        self._seen(changes, Happening.UNREGISTERED)
        self._store.save(changes, done)
        self._arm()

    @property
    def waiting(self) -> int:
        """How many changes wait to be durable."""
        return self._store.waiting

    def when_stored(self, done: Callable[[Exception | None], None]) -> None:
        """Call `done` when all changes so far are durable, or with why they are not."""
        self._store.save(BindingChanges(), done)

    def keep(self, binding: Binding) -> None:
        """Put a binding that need not outlive the process: what a phone by address proved by its answer."""
        fresh = not self.table.bindings(binding.aor, now())
        self.table.apply(BindingChanges(put=(binding,)))
        if fresh:
            self._note(Happening.REGISTERED, binding)
        self._arm()

    def heard(self, binding: Binding, latency: float | None = None) -> None:
        """Note that a phone sent something, with the seconds that it took to answer us."""
        if self.table.heard(binding, now(), latency):
            self._note(Happening.REACHABLE, binding)

    def heard_from(self, sender: str, flow: Flow) -> None:
        """Note that a request came in the name of an AOR; it is a sign of life of the phone whose flow it came by."""
        try:
            aor = parse_aor(sender)
        except ParseError:
            return
        for binding in self.aor_bindings(aor):
            if binding.flow == flow:
                self.heard(binding)

    def lost(self, binding: Binding) -> None:
        """Note that a phone cannot be reached."""
        if self.table.lost(binding, now()):
            self._note(Happening.UNREACHABLE, binding)

    def flow_lost(self, flow: Flow) -> None:
        """Note that a connection closed: its bindings are unreachable at once, and gone after a grace."""
        bindings = self.table.connection_bindings(flow)
        for binding in bindings:
            self.lost(binding)
        if bindings:
            self._loop.call_later(self._flow_grace, self._dropped.put, bindings)

    async def close(self) -> None:
        """Stop watching for expiry; what is stored stays for the next process."""
        if self._alarm is not None:
            self._alarm.cancel()

    def bindings(self, account_id: str, device_id: str) -> Sequence[Binding]:
        """Return the live bindings of a device, best first."""
        return self.table.device_bindings(account_id, device_id, now())

    def aor_bindings(self, aor: Aor) -> Sequence[Binding]:
        """Return the live bindings of an AOR, best first."""
        return self.table.bindings(aor, now())

    def edition(self, account_id: str) -> int:
        """Return another value after a device of the account has come or gone."""
        if self._alarm_due <= now():
            self._expire()
        return self._editions[account_id]

    def registered_devices(self, account_id: str) -> Sequence[str]:
        """Return the ids of the account's registered devices, each once."""
        self._expire()
        return self.table.registered_devices(account_id)

    def status_json(self, account_id: str) -> bytes:
        """Return the answer of `devices/status` as JSON, kept until a device comes or goes."""
        self._expire()
        ready = self._status.get(account_id)
        if ready is None:
            devices = self.table.registered_devices(account_id)
            ready = orjson.dumps([{"device_id": device_id, "registered": True} for device_id in devices])
            self._status[account_id] = ready
        return ready

    def are_registered(self, account_id: str, device_ids: Iterable[str]) -> Sequence[bool]:
        """Return of each device whether it has a live binding."""
        self._expire()
        return self.table.are_registered(account_id, device_ids)

    def registrations(self, account_id: str) -> Sequence[Registration]:
        """Return the account's live bindings."""
        self._expire()
        return [self._registration(binding) for binding in self.table.account_bindings(account_id)]

    def count(self, account_id: str | None) -> int:
        """Return how many bindings the account has, or the whole system where it is None."""
        self._expire()
        if account_id is None:
            return len(self.table)
        return self.table.count(account_id)

    async def drop_all(self, account_id: str) -> None:
        """Remove every binding of the account, silently. Raises StoreUnavailable."""
        await self.drop(self.table.account_bindings(account_id))

    async def drop(self, bindings: Iterable[Binding]) -> None:
        """Remove the bindings and wait until that is durable. Raises StoreUnavailable."""
        changes = BindingChanges(removed=tuple(bindings))
        if not changes:
            return
        stored: asyncio.Future[None] = self._loop.create_future()

        def done(failure: Exception | None) -> None:
            if stored.done():
                return
            if failure is None:
                stored.set_result(None)
            else:
                stored.set_exception(failure)

        self.change(changes, done)
        await stored

    def _take_over(self, bindings: Sequence[Binding]) -> None:
        self.table.apply(BindingChanges(put=tuple(bindings)))
        for listener in self._listeners[Happening.REGISTERED]:
            for binding in bindings:
                listener(Happening.REGISTERED, binding)

    def _owner_of(self, aor: str, device_id: str) -> Device | None:
        device = self._directory.find(aor)
        return device if device is not None and device.device_id == device_id else None

    def _drop_lost(self, bindings: Sequence[Binding]) -> None:
        removed = tuple(each for each in bindings if each in self.table.bindings(each.aor, now()))
        if removed:
            self.change(BindingChanges(removed=removed))

    def _expire(self) -> None:
        changes = self.table.expire(now())
        if changes:
            self._seen(changes, Happening.EXPIRED)
            self._store.save(changes)

    def _arm(self) -> None:
        """Wake when the next binding may be over."""
        due = self.table.next_expiry()
        if self._alarm is not None:
            if due is not None and self._alarm_due <= due:
                return
            self._alarm.cancel()
            self._alarm = None
        if due is not None:
            self._alarm = self._loop.call_later(max(0.0, due - now()), self._on_alarm)
            self._alarm_due = due

    def _on_alarm(self) -> None:
        self._alarm = None
        self._expire()
        self._arm()

    def _seen(self, changes: BindingChanges, removal: Happening) -> None:
        for binding in changes.removed:
            self._note(removal, binding)
        for binding in changes.put:
            if binding.first_registered == binding.registered_at:
                self._note(Happening.REGISTERED, binding)
            else:
                self._log.debug(_REFRESHED, device_id=binding.device_id, call_id=binding.call_id)
                self._tell(Happening.REFRESHED, binding)

    def _note(self, happening: Happening, binding: Binding) -> None:
        """Log and tell what changes the picture; a refresh does not."""
        self._status.pop(binding.account_id, None)
        self._editions[binding.account_id] += 1
        log.info(
            happening.value,
            aor=binding.aor,
            device_id=binding.device_id,
            contact=binding.contact,
            call_id=binding.call_id,
            source=str(binding.flow),
            expires=binding.granted,
            user_agent=binding.user_agent,
        )
        self._tell(happening, binding)

    def _tell(self, happening: Happening, binding: Binding) -> None:
        for listener in self._listeners[happening]:
            listener(happening, binding)

    def _registration(self, binding: Binding) -> Registration:
        device = self._directory.device(binding.account_id, binding.device_id)
        unix = time.time() - now()
        return Registration(
            device_id=binding.device_id,
            account_id=binding.account_id,
            owner_id=(device.owner_id or None) if device else None,
            username=user_of(binding.aor),
            realm=domain_of(binding.aor),
            contact=mend(binding.contact),
            received_host=binding.flow.host,
            received_port=binding.flow.port,
            transport=binding.flow.transport.value.lower(),
            call_id=mend(binding.call_id),
            user_agent=mend(binding.user_agent),
            from_user=user_of(binding.aor),
            from_host=domain_of(binding.aor),
            expires_in=max(0, round(binding.expires_at - now())),
            granted=binding.granted,
            first_registered=int(binding.first_registered + unix) + GREGORIAN_EPOCH,
            last_registered=int(binding.registered_at + unix) + GREGORIAN_EPOCH,
            path=[mend(value) for value in binding.path],
        )
