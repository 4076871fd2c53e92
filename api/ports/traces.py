"""Traces: the messages of single devices, kept for a while on demand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from api.ports.errors import PortError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.ports.documents import Document
    from sip.sighting import Sighting


class TooManyTraces(PortError):
    """As many devices are traced as may be; one must be stopped first."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What was kept of a device's messages."""

    running: bool
    """Whether more may come."""
    started: int
    """Gregorian seconds."""
    ends: int
    """Gregorian seconds: when it stops, or has stopped."""
    dropped: int
    """Messages that made room for later ones."""
    messages: Sequence[Sighting]
    """The oldest first, masked."""


class Traces(Protocol):
    """The traces of all devices."""

    def start(self, device: Document, *, seconds: int, messages: int) -> Trace:
        """Begin a new trace of a device, for so long, of its last so many messages. Raises TooManyTraces."""
        ...

    def stop(self, account_id: str, device_id: str) -> Trace | None:
        """End a trace; what it has stays. None where there is none."""
        ...

    def get(self, account_id: str, device_id: str) -> Trace | None:
        """Return a trace, running or over."""
        ...

    def clear(self, account_id: str, device_id: str) -> None:
        """End and forget a trace."""
        ...
