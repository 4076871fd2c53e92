"""The location service: which contacts an AOR has, and for how long (RFC 3261 10.1).

The table is in memory and is the only thing that is read while SIP is handled; what changes in it is handed to a
`BindingStore`. Times are readings of one monotonic clock, so that a clock that jumps expires nobody.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol

from sip.agenda import Agenda
from sip.aor import Aor  # noqa: TC001 - the compiled build evaluates it
from sip.flow import Flow  # noqa: TC001 - the compiled build evaluates it
from sip.parts import Parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence


class Reach(Enum):
    """Whether the phone behind a binding can be reached, as far as we know."""

    __hash__ = object.__hash__  # of members, which are singletons; Enum's own is written in Python

    UNVERIFIED = "unverified"
    """Taken over from an earlier process, and not heard of since."""
    REACHABLE = "reachable"
    UNREACHABLE = "unreachable"


@dataclass(slots=True, eq=False, init=False)
class Binding:
    """One contact of an AOR, the flow that reaches it, and the REGISTER that last set it.

    Treat a binding as frozen: a REGISTER puts a new one in its place. Only what is learnt about reachability is
    written in place, by `heard` and `lost`. Its `__init__`, like that of the other values that are made for every
    REGISTER, is written out, for the compiled build calls a generated one through the interpreter: 1 us for 0.1.
    """

    aor: Aor
    account_id: str
    device_id: str
    contact: str
    """The Contact URI as the phone wrote it."""
    flow: Flow
    call_id: str
    cseq: int
    expires_at: float
    granted: int
    """Seconds that the last REGISTER was granted."""
    first_registered: float
    registered_at: float
    """When the last REGISTER came."""
    user_agent: str = ""
    path: tuple[str, ...] = ()
    """The Path values to send requests along, first hop first (RFC 3327)."""
    instance: str = ""
    """The +sip.instance, without which reg_id means nothing (RFC 5626 4.1)."""
    reg_id: int = 0
    q: float = 1.0
    last_seen: float = 0.0
    """When the phone last sent anything."""
    reach: Reach = Reach.UNVERIFIED
    latency: float | None = None
    """Seconds that the phone took to answer us last."""
    lost_at: float = 0.0
    """Since when it is unreachable."""
    due: int = 0
    """The second at which the table next looks whether it is over; 0 where no table has it. The table's own."""

    def __init__(
        self,
        aor: Aor,
        account_id: str,
        device_id: str,
        contact: str,
        flow: Flow,
        call_id: str,
        cseq: int,
        expires_at: float,
        granted: int,
        first_registered: float,
        registered_at: float,
        user_agent: str = "",
        path: tuple[str, ...] = (),
        instance: str = "",
        reg_id: int = 0,
        q: float = 1.0,
        last_seen: float = 0.0,
        reach: Reach = Reach.UNVERIFIED,
        latency: float | None = None,
        lost_at: float = 0.0,
        due: int = 0,
    ) -> None:
        self.aor = aor
        self.account_id = account_id
        self.device_id = device_id
        self.contact = contact
        self.flow = flow
        self.call_id = call_id
        self.cseq = cseq
        self.expires_at = expires_at
        self.granted = granted
        self.first_registered = first_registered
        self.registered_at = registered_at
        self.user_agent = user_agent
        self.path = path
        self.instance = instance
        self.reg_id = reg_id
        self.q = q
        self.last_seen = last_seen
        self.reach = reach
        self.latency = latency
        self.lost_at = lost_at
        self.due = due

    @property
    def key(self) -> tuple[Aor, str, str, int]:
        """What tells this binding from the others of all AORs."""
        return self.aor, self.contact, self.instance, self.reg_id

    def is_same_contact(self, other: Binding) -> bool:
        """Tell whether another binding of the AOR has the same key."""
        return self.contact == other.contact and self.instance == other.instance and self.reg_id == other.reg_id

    def heard(self, now: float, latency: float | None = None) -> bool:
        """Note that the phone sent something; returns whether it was unreachable before."""
        was_lost = self.reach is Reach.UNREACHABLE
        self.last_seen, self.reach = now, Reach.REACHABLE
        if latency is not None:
            self.latency = latency
        return was_lost

    def lost(self, now: float) -> bool:
        """Note that the phone cannot be reached; returns whether that is news."""
        if self.reach is Reach.UNREACHABLE:
            return False
        self.reach, self.lost_at = Reach.UNREACHABLE, now
        return True


@dataclass(slots=True, init=False)
class BindingChanges:
    """What a REGISTER, an expiry or an operator did to the bindings of an AOR."""

    put: tuple[Binding, ...] = ()
    """New or refreshed."""
    removed: tuple[Binding, ...] = ()

    def __init__(self, put: tuple[Binding, ...] = (), removed: tuple[Binding, ...] = ()) -> None:
        self.put = put
        self.removed = removed

    def __bool__(self) -> bool:
        return bool(self.put or self.removed)


EXPIRED: Final = -1  # in the place of a second
EXPIRED_AT_ONCE: Final = 50  # bindings: each is logged and told, which takes some 40 us
NO_CHANGES: Final = BindingChanges()


class BindingStore(Protocol):
    """Where bindings outlive the process."""

    def save(self, changes: BindingChanges, done: Callable[[Exception | None], None] | None = None) -> None:
        """Queue the changes and call `done` once they are durable, or with why they are not. Never waits.

        Where nobody waits to be told, they may be written somewhat later.
        """
        ...


class LocationTable:
    """All live bindings, by AOR and by device. A device has one AOR.

    Call `expire` before reading by account or device: it alone finds what is over, within a second, or later where very
    much is. Reading by AOR looks by itself.
    """

    __slots__ = ("_bindings", "_connections", "_counts", "_devices", "_ends", "_reach")

    def __init__(self) -> None:
        self._bindings: Parts[Aor, tuple[Binding, ...]] = Parts()
        self._devices: dict[str, dict[str, Aor]] = {}
        self._ends: Agenda[Aor] = Agenda(span=1.0)  # so that a page's number is its second
        self._connections: dict[Flow, set[Aor]] = {}
        self._counts: Counter[str] = Counter()
        self._reach: Counter[Reach] = Counter()

    def __len__(self) -> int:
        return self._counts.total()

    def count(self, account_id: str) -> int:
        """Return how many bindings the account has."""
        return self._counts[account_id]

    def bindings(self, aor: Aor, now: float) -> tuple[Binding, ...]:
        """Return the live bindings of an AOR, best first: by q, then the latest registered."""
        found = self._bindings.of(aor).get(aor, ())
        if len(found) == 1:
            return found if found[0].expires_at > now else ()
        live = [binding for binding in found if binding.expires_at > now]
        return tuple(sorted(live, key=lambda binding: (-binding.q, -binding.registered_at)))

    def device_bindings(self, account_id: str, device_id: str, now: float) -> tuple[Binding, ...]:
        """Return the live bindings of a device, best first."""
        aor = self._devices.get(account_id, {}).get(device_id)
        return self.bindings(aor, now) if aor is not None else ()

    def account_bindings(self, account_id: str) -> Iterator[Binding]:
        """Return the bindings of an account."""
        for aor in list(self._devices.get(account_id, {}).values()):
            yield from self._bindings.of(aor)[aor]

    def connection_bindings(self, flow: Flow) -> tuple[Binding, ...]:
        """Return the bindings that a connection carries."""
        aors = self._connections.get(flow, ())
        return tuple(binding for aor in aors for binding in self._bindings.of(aor)[aor] if binding.flow == flow)

    def registered_devices(self, account_id: str) -> Sequence[str]:
        """Return the ids of the account's devices that have a binding."""
        return list(self._devices.get(account_id, ()))

    def are_registered(self, account_id: str, device_ids: Iterable[str]) -> Sequence[bool]:
        """Return of each device whether it has a binding."""
        registered = self._devices.get(account_id, {})
        return [device_id in registered for device_id in device_ids]

    def is_registered(self, account_id: str, device_id: str) -> bool:
        """Return whether the device has a binding."""
        return device_id in self._devices.get(account_id, ())

    def count_reach(self) -> dict[Reach, int]:
        """Return how many bindings are reachable, unreachable, unverified."""
        return {reach: self._reach[reach] for reach in Reach}

    def heard(self, binding: Binding, now: float, latency: float | None = None) -> bool:
        """Note that a binding's phone sent something; returns whether it was unreachable before."""
        before = binding.reach
        was_lost = binding.heard(now, latency)
        self._count_moved(binding, before)
        return was_lost

    def lost(self, binding: Binding, now: float) -> bool:
        """Note that a binding's phone cannot be reached; returns whether that is news."""
        before = binding.reach
        is_news = binding.lost(now)
        self._count_moved(binding, before)
        return is_news

    def apply(self, changes: BindingChanges) -> None:
        """Make the changes; a binding put takes the place of the one with its key."""
        for binding in changes.removed:
            self._remove(binding)
        for binding in changes.put:
            self._put(binding)

    def expire(self, now: float, most: int = EXPIRED_AT_ONCE) -> BindingChanges:
        """Remove and return the bindings whose time is over: no more than so many, and the others by the next calls."""
        removed: list[Binding] = []
        while len(removed) < most and (page := self._ends.take(now, most - len(removed))) is not None:
            second, aors = page
            for aor in aors:
                for binding in self._bindings.of(aor).get(aor, ()):
                    if binding.due != second:
                        continue  # it came after this was noted, and is noted elsewhere
                    if binding.expires_at <= now:
                        removed.append(binding)
                        binding.due = EXPIRED  # the AOR may stand here twice
                    else:
                        binding.due = self._ends.add(binding.expires_at, aor)
        if not removed:
            return NO_CHANGES
        changes = BindingChanges(removed=tuple(removed))
        self.apply(changes)
        return changes

    def next_expiry(self) -> float | None:
        """Return when `expire` may next find something; None while the table is empty."""
        return self._ends.next()

    def _put(self, binding: Binding) -> None:
        aor = binding.aor
        binding.user_agent = sys.intern(binding.user_agent)  # some dozens of texts for any number of phones
        before = self._bindings.of(aor).get(aor, ())
        standing, others = _parted(before, binding) if before else (None, ())
        # One note a binding: a refresh that only moves its end later is found when that comes.
        if standing is not None and 0 < standing.due <= binding.expires_at:
            due = standing.due
        else:
            due = self._ends.add(binding.expires_at, aor)
        if standing is None:
            self._count(binding, 1)
        else:
            standing.due = 0
            if standing.reach is not binding.reach or standing.account_id != binding.account_id:
                self._count(standing, -1)
                self._count(binding, 1)
        binding.due = due
        self._replace(aor, before, (*others, binding))

    def _remove(self, binding: Binding) -> None:
        before = self._bindings.of(binding.aor).get(binding.aor, ())
        standing, others = _parted(before, binding)
        if standing is not None:
            self._count(standing, -1)
            standing.due = 0
        self._replace(binding.aor, before, others)

    def _count(self, binding: Binding, step: int) -> None:
        self._counts[binding.account_id] += step
        self._reach[binding.reach] += step

    def _count_moved(self, binding: Binding, before: Reach) -> None:
        if binding.due and binding.reach is not before:
            self._reach[before] -= 1
            self._reach[binding.reach] += 1

    def _replace(self, aor: Aor, before: tuple[Binding, ...], after: tuple[Binding, ...]) -> None:
        if after:
            self._bindings.of(aor)[aor] = after
        elif before:
            del self._bindings.of(aor)[aor]
        if not before or not after or before[0].device_id != after[0].device_id:
            self._index_device(aor, before, after)
        if self._connections or (after and after[-1].flow.connection):
            self._index_connections(aor, before, after)

    def _index_device(self, aor: Aor, before: Sequence[Binding], after: Sequence[Binding]) -> None:
        if before:
            devices = self._devices[before[0].account_id]
            if devices.get(before[0].device_id) == aor:
                del devices[before[0].device_id]
        if after:
            self._devices.setdefault(after[0].account_id, {})[after[0].device_id] = aor

    def _index_connections(self, aor: Aor, before: Sequence[Binding], after: Sequence[Binding]) -> None:
        for binding in before:
            if binding.flow.connection and (aors := self._connections.get(binding.flow)) is not None:
                aors.discard(aor)
                if not aors:
                    del self._connections[binding.flow]
        for binding in after:
            if binding.flow.connection:
                self._connections.setdefault(binding.flow, set()).add(aor)


def _parted(bindings: tuple[Binding, ...], binding: Binding) -> tuple[Binding | None, tuple[Binding, ...]]:
    """Return the one of an AOR's bindings that has the key of this one, and the others."""
    for place, other in enumerate(bindings):
        if other.is_same_contact(binding):
            return other, bindings[:place] + bindings[place + 1 :]
    return None, bindings
