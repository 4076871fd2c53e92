"""A pace to send at, so that whoever must bear the consequences of many requests can."""

from __future__ import annotations

from typing import Final

SLACK: Final = 0.25  # seconds: who wakes a little late may make up for it, and no more


class Pace:
    """So many a second, evenly spread from `now` on."""

    __slots__ = ("_next", "_rate")

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._next = now

    def delay(self, now: float) -> float:
        """Return the seconds until the next may go."""
        return max(0.0, self._next - now)

    def spend(self, count: int, now: float) -> None:
        """Note that so many went."""
        self._next = max(self._next, now - SLACK) + count / self._rate
