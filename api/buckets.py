"""Token buckets that slow down guessing and storms (contract 7.3).

A valid token is not counted, as in Kazoo 5: what costs is presenting credentials (api_auth, user_auth, Basic) and
quickcall.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_BUCKETS: Final = 10_000  # about 2 MB; the one unused longest makes room


class Buckets:
    """One bucket for each key; a full bucket needs no entry."""

    def __init__(self, capacity: int, per_second: float, clock: Callable[[], float]) -> None:
        self.limit(capacity, per_second)
        self._clock = clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def limit(self, capacity: int, per_second: float) -> None:
        """Have other limits from now on."""
        self._capacity = float(capacity)
        self._per_second = per_second

    def take(self, key: str) -> int:
        """Take one from the bucket; return 0, or the seconds to wait where it is empty."""
        now = self._clock()
        level, since = self._levels.pop(key, (self._capacity, now))
        level = min(self._capacity, level + (now - since) * self._per_second)
        granted = level >= 1
        self._levels[key] = (level - 1 if granted else level, now)
        if len(self._levels) > MAX_BUCKETS:
            self._levels.popitem(last=False)
        return 0 if granted else max(1, math.ceil((1 - level) / self._per_second))
