"""Who is registered, and what is known of them. Reads are of memory and never wait."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypedDict

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence


@dataclass(frozen=True, slots=True)
class Registration:
    """One live binding, as the registrations resource tells it (contract 5.12)."""

    device_id: str
    account_id: str
    owner_id: str | None
    username: str
    realm: str
    contact: str
    """The Contact URI, without angle brackets."""
    received_host: str
    received_port: int
    transport: str
    """Lower case: `udp`, `tcp`, ..."""
    call_id: str
    user_agent: str
    from_user: str
    from_host: str
    expires_in: int
    """Seconds that are left."""
    granted: int
    """Seconds that were granted at the last REGISTER."""
    first_registered: int
    last_registered: int
    path: Sequence[str]


class Presence(Protocol):
    """The live registrations. Reads are of memory and never wait."""

    def edition(self, account_id: str) -> Hashable:
        """Return another value after a device of the account has come or gone."""
        ...

    def registered_devices(self, account_id: str) -> Sequence[str]:
        """Return the ids of the account's registered devices, each once (contract 5.8)."""
        ...

    def status_json(self, account_id: str) -> bytes:
        """Return the `data` of devices/status as JSON: a list of `{"device_id": ..., "registered": true}`."""
        ...

    def are_registered(self, account_id: str, device_ids: Iterable[str]) -> Sequence[bool]:
        """Return of each device whether it has a live binding."""
        ...

    def registrations(self, account_id: str) -> Sequence[Registration]:
        """Return the account's live bindings."""
        ...

    def count(self, account_id: str | None) -> int:
        """Return how many bindings the account has, or the whole system where it is None."""
        ...

    async def drop_all(self, account_id: str) -> None:
        """Remove every binding of the account, silently (DELETE registrations)."""
        ...


class ContactStatus(TypedDict):
    """What is known of one contact of a device, as JSON has it. Times are Gregorian seconds."""

    contact: str
    """The Contact URI, without angle brackets."""
    source: str
    """Where its requests come from: `192.0.2.7:5060`."""
    transport: str
    user_agent: str
    vendor: str
    """The row of the vendor table."""
    expires_in: int
    first_registered_at: int
    """When the first REGISTER came of those that kept it up without a gap."""
    registered_at: int
    """When the last REGISTER came."""
    reachable: bool | None
    """None until it is known, after a restart."""
    last_seen: int
    """When the phone last sent anything."""
    latency_ms: float | None
    """How long it took to answer us last."""
    path: Sequence[str]
    instance: str


class DeviceStatus(TypedDict):
    """What is known of a device, as JSON has it: a dict is made and written in a third of a dataclass's time."""

    device_id: str
    registered: bool
    reachable: bool | None
    """Whether any contact is; None where that is not known."""
    in_call: bool
    contacts: Sequence[ContactStatus]


class Statuses(Protocol):
    """What is known of devices. Reads are of memory and never wait."""

    def of(self, account_id: str, device_ids: Iterable[str]) -> Sequence[DeviceStatus]:
        """Return what is known of each of these devices, in the same order."""
        ...
