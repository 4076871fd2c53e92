"""What happens in an account, as it happens, and who is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from api.ports.errors import PortError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in an account."""

    id: int
    """Grows from event to event of an account."""
    account_id: str
    name: str
    """`noun.verb`, such as `device.registered`."""
    body: bytes
    """All of it as a JSON object without a line break: id, event, account_id, timestamp, and what it is about."""


class TooManyListeners(PortError):
    """As many listen to events as may (429)."""


class Listening(Protocol):
    """One listener's events."""

    @property
    def closed(self) -> bool:
        """Whether no more events will come."""
        ...

    async def read(self, wait: float) -> Sequence[Event]:
        """Return the events since the last call; wait for the first one, up to so many seconds.

        Where the listener was too slow, or asked for what is not kept any more, the first one is `events.lost`.
        """
        ...

    def close(self) -> None:
        """Stop listening."""
        ...


class Events(Protocol):
    """What happens, as it happens."""

    def listen(self, account_id: str, patterns: Sequence[str], *, after: int | None = None) -> Listening:
        """Begin to listen to an account: to the events with these names or nouns, or to all where there are none.

        With `after`, the events after that id come first, as far as they are kept. Raises TooManyListeners.
        """
        ...


@dataclass(frozen=True, slots=True)
class WebhookAttempt:
    """A request to a webhook, and what became of it."""

    hook_id: str
    event: str
    event_id: int
    timestamp: int
    """Gregorian seconds."""
    result: str
    """`success` or `failure`."""
    reason: str
    response_code: int | None
    """None where there was no answer."""
    retries_left: int
    latency_ms: float


class Webhooks(Protocol):
    """How webhooks fare; their documents are those of `Documents`."""

    def attempts(self, account_id: str, webhook_id: str | None = None) -> Sequence[WebhookAttempt]:
        """Return the last attempts of one of the account's webhooks, or of all, the latest first."""
        ...
