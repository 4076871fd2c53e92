"""What is due when, to the second: for so many things that a heap entry each, or a timer, would be too much."""

from __future__ import annotations

import heapq
from math import ceil
from typing import Generic, TypeVar

T = TypeVar("T")


class Agenda(Generic[T]):
    """Things by the whole second by which they are due. What ends within a second is so looked at together."""

    __slots__ = ("_pages", "_seconds")

    def __init__(self) -> None:
        self._pages: dict[int, list[T]] = {}
        self._seconds: list[int] = []

    def add(self, due: float, item: T) -> int:
        """Note an item, and return the second under which it stands: the first that does not end before `due`."""
        second = ceil(due)
        page = self._pages.get(second)
        if page is None:
            page = self._pages[second] = []
            heapq.heappush(self._seconds, second)
        page.append(item)
        return second

    def next(self) -> int | None:
        """Return the next second that has something; None where nothing is noted."""
        return self._seconds[0] if self._seconds else None

    def take(self, now: float) -> tuple[int, list[T]] | None:
        """Take out the next page if it is due, with its second; None where none is."""
        if not self._seconds or self._seconds[0] > now:
            return None
        second = heapq.heappop(self._seconds)
        return second, self._pages.pop(second)
