"""What one source may ask of us before anything of it is parsed: messages by token bucket, connections by count.

A source is an IPv4 address, or the /64 of an IPv6 one, for that is what one customer has. This host itself is not
limited, and neither is a trusted source.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from sip.trust import source_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sip.trust import TrustedSources

MAX_SOURCES: Final = 65_536  # whose buckets are kept, at some 150 bytes each; what is forgotten begins with a full one
TELL_EVERY: Final = 60.0  # seconds between two log lines about limits, for whoever is limited can make many


class SourceGuard:
    """A token bucket for each source: `rate` messages a second, `burst` at once. A rate of 0 is no limit.

    A bucket is one number, the moment at which it will be full again. Buckets live in two generations: when the young
    one is full it becomes the old one, and the old one is forgotten, so that any number of sources costs the same.
    """

    __slots__ = ("_cost", "_depth", "_old", "_told", "_trusted", "_young")

    def __init__(self, rate: float, burst: float, trusted: TrustedSources) -> None:
        self.limit(rate, burst)
        self._trusted = trusted
        self._told = float("-inf")

    def limit(self, rate: float, burst: float) -> None:
        """Have other limits from now on; every bucket begins full."""
        self._cost = 1.0 / rate if rate else 0.0
        self._depth = (burst + 0.01) * self._cost  # a hair more, for sums of floats are not exact
        self._young: dict[str, float] = {}
        self._old: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def admit(self, host: str, now: float) -> bool:
        """Take one message of the source from its bucket; False where that is empty."""
        if not self._cost or self._trusted.has(host, now):
            return True
        source = source_of(host)
        full_at = self._young.get(source)
        if full_at is None:
            full_at = self._meet(source, now)
        full_at = (full_at if full_at > now else now) + self._cost
        if full_at > now + self._depth and not is_loopback(source):
            return False
        self._young[source] = full_at
        return True

    def should_tell(self, now: float) -> bool:
        """Return whether it is time for another log line about limits."""
        if now - self._told < TELL_EVERY:
            return False
        self._told = now
        return True

    def _meet(self, source: str, now: float) -> float:
        """Return when the bucket of a source that is not among the young will be full."""
        if len(self._young) >= MAX_SOURCES // 2:
            self._old, self._young = self._young, {}
        full_at = self._young[source] = self._old.get(source, now)
        return full_at


class ConnectionGate:
    """How many connections there may be, in all and of one source, before anything else is done for them."""

    __slots__ = ("_count", "_most", "_most_per_source", "_per_source")

    def __init__(self, most: int, most_per_source: int) -> None:
        self.limit(most, most_per_source)
        self._per_source: Counter[str] = Counter()
        self._count = 0

    def limit(self, most: int, most_per_source: int) -> None:
        """Have other limits from now on; connections that are open stay."""
        self._most = most
        self._most_per_source = most_per_source

    def __len__(self) -> int:
        return self._count

    def enter(self, host: str) -> Callable[[], None] | None:
        """Count a connection in, and return what counts it out, once however often called; None at the limit."""
        source = source_of(host)
        if self._count >= self._most or (self._per_source[source] >= self._most_per_source and not is_loopback(source)):
            return None
        self._count += 1
        self._per_source[source] += 1
        inside = True

        def leave() -> None:
            nonlocal inside
            if inside:
                inside = False
                self._leave(source)

        return leave

    def _leave(self, source: str) -> None:
        self._count -= 1
        self._per_source[source] -= 1
        if not self._per_source[source]:
            del self._per_source[source]


def is_loopback(source: str) -> bool:
    """Return whether the source is this host itself, by its loopback address."""
    return source.startswith("127.") or source == "::1"
