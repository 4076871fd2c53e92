"""Figures that parts of the daemon keep of their own work, cheap enough for every message's way."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from itertools import accumulate
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SECONDS: Final[tuple[float, ...]] = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds for what takes from a millisecond, a commit on a good disk, to what a phone sends its request again for."""


class Histogram:
    """How many of the observed values were not above each bound, how many there were, and their sum."""

    __slots__ = ("_bounds", "_counts", "total")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def __len__(self) -> int:
        return sum(self._counts)

    def observe(self, value: float) -> None:
        """Count a value in."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def cumulative(self) -> Iterator[tuple[str, float]]:
        """Yield each bound as text, the last one `+Inf`, with the number of values that are not above it."""
        bounds = (*map(str, self._bounds), "+Inf")
        return zip(bounds, map(float, accumulate(self._counts)), strict=True)


class RequestFigures:
    """What an HTTP application was asked."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, int]] = Counter()
        """Requests, by method and status."""
        self.seconds = Histogram()
        """Time to answer; streams of events are not in it."""
