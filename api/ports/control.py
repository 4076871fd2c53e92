"""What phones are asked to do: NOTIFYs, and syncs of many devices."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from api.ports.errors import PortError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from api.ports.documents import Document
    from sip.delivery import DeliveryState
    from sip.vendor import Mode


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """What became of one NOTIFY to one contact."""

    contact: str | None
    """None where the device has no contact."""
    user_agent: str
    vendor: str
    """The phone's row in the vendor table."""
    event: str
    """As sent; empty where nothing was."""
    state: DeliveryState
    final: bool
    """Whether the state will not change any more."""
    sip_status: int | None
    """Of the phone's final answer."""
    sip_reason: str
    latency_ms: int | None
    """Until the final answer."""
    sent_at: int
    """Gregorian seconds."""


class Control(Protocol):
    """What can be done to a phone.

    `contact` chooses one of a device's bindings by its Contact URI. With `wait`, seconds, a call returns when the
    outcome is known or the time is over, with a report for each NOTIFY; without, it returns when they are on their way,
    with nothing.
    """

    async def flush(self, account_id: str, username: str) -> bool:
        """Send check-sync to the username's contacts and remove its bindings.

        Returns False where no device of the account has the username (DELETE registrations/{username}).
        """
        ...

    async def check_sync(
        self, device: Document, *, mode: Mode | None = None, contact: str | None = None, wait: float = 0.0
    ) -> Sequence[DeliveryReport]:
        """Send a check-sync NOTIFY to every contact of the device, in the form of its phone's family.

        Without a mode it is what the family takes a check-sync for. A device without a registration or a username is no
        fault: nothing is sent (contract 5.6).
        """
        ...

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
        """Send a NOTIFY of any event to every contact of the device (contract 5.9)."""
        ...

    async def outcomes(self, account_id: str, device_id: str) -> Sequence[DeliveryReport]:
        """Return what became of the last NOTIFYs to a device, the latest first, those before a restart too."""
        ...


@dataclass(frozen=True, slots=True)
class SyncJob:
    """A sync of many devices, and how far it is."""

    id: str
    user_id: str | None
    """Whose devices they are; None for those of the account."""
    mode: Mode | None
    rate: float
    """NOTIFYs a second."""
    state: str
    """`running`, `done` or `stopped`."""
    total: int
    """Devices."""
    waiting: int
    """Devices that had no turn yet, or never will where the job was stopped."""
    pending: int
    """NOTIFYs that are not answered yet."""
    created: int
    """Gregorian seconds."""
    ended: int | None
    states: Mapping[DeliveryState, int] = field(default_factory=dict)
    """NOTIFYs by state, without the pending ones; a device with two contacts gets two."""


class TooManyJobs(PortError):
    """As many syncs of the account's devices run as may; one must end or be stopped first."""


class SyncJobs(Protocol):
    """Syncs of many devices."""

    async def start(
        self, account_id: str, device_ids: Sequence[str], *, mode: Mode | None, rate: float, user_id: str | None = None
    ) -> SyncJob:
        """Begin to sync the devices at a pace, and go on after a restart. Raises TooManyJobs."""
        ...

    async def get(self, account_id: str, job_id: str) -> SyncJob | None:
        """Return a job of the account, running or over."""
        ...

    async def of_account(self, account_id: str) -> Sequence[SyncJob]:
        """Return the account's jobs, the latest first; old ones are forgotten."""
        ...

    async def stop(self, account_id: str, job_id: str) -> SyncJob | None:
        """Send to no more devices. One that is over stays as it was; None where there is no such job."""
        ...
