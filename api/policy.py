"""What an operator may choose about the API; the daemon fills it from its settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

RATE_CAPACITY: Final = 100  # Kazoo's bucket: a client may burst this many guarded requests
RATE_PER_SECOND: Final = 10.0  # Kazoo's refill


@dataclass(frozen=True, slots=True)
class Policy:
    """The values that the API needs from the configuration."""

    version: str = "0"
    """Shown in the envelope of authenticated requests."""
    anonymous_quickcall: bool = False
    """Whether quickcall may be asked for without a token (Kazoo 4.0 allows it, we do not by ourselves)."""
    account_realm_suffix: str = "sip.roost.local"
    """An account created without a realm gets a random label below this domain."""
    rate_capacity: int = RATE_CAPACITY
    rate_per_second: float = RATE_PER_SECOND
    max_requests: int = 500
    """Requests under way at once, streams of events apart."""
    trusted_proxies: frozenset[str] = frozenset({"127.0.0.1", "::1"})
    """Peers whose X-Forwarded-For tells the client's address."""
