"""Sources where a phone is registered: they are not limited and not silenced, for a whole office may share an address.

A source is an IPv4 address, or the /64 of an IPv6 one, for that is what one customer has.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Network, ip_address
from typing import Final

from sip.parts import PARTS, Parts

MAX_TRUSTED: Final = 131_072  # sources; one that finds no room is limited like a stranger
SWEEP_EVERY: Final = 60.0 / PARTS  # seconds between two searches for trust that is over: each goes through a part


class TrustedSources:
    """Until when each source is trusted: the latest end of its registrations."""

    __slots__ = ("_swept", "_until")

    def __init__(self) -> None:
        self._until: Parts[str, float] = Parts()
        self._swept = float("-inf")

    def __len__(self) -> int:
        return len(self._until)

    def add(self, host: str, until: float, now: float) -> None:
        """Trust the source of this address as long as that, unless it is for longer already."""
        source = source_of(host)
        part = self._until.of(source)
        standing = part.get(source)
        if standing is not None:
            if standing < until:
                part[source] = until
        elif len(part) < MAX_TRUSTED // PARTS or self._drop_stale(part, now):
            part[source] = until

    def has(self, host: str, now: float) -> bool:
        """Return whether a phone is registered at the source of this address."""
        source = source_of(host)
        return self._until.of(source).get(source, now) > now

    def _drop_stale(self, part: dict[str, float], now: float) -> bool:
        if now - self._swept < SWEEP_EVERY:
            return False
        self._swept = now
        for source in [source for source, until in part.items() if until <= now]:
            del part[source]
        return len(part) < MAX_TRUSTED // PARTS


def source_of(host: str) -> str:
    """Return what is limited and trusted as one: an IPv4 address itself, the /64 of an IPv6 address."""
    return _network_of(host) if ":" in host else host


@lru_cache(maxsize=8192)
def _network_of(host: str) -> str:
    address = ip_address(host)
    return host if address.is_loopback else str(IPv6Network((int(address) >> 64 << 64, 64)))
