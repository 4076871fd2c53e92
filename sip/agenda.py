"""What is due when, on pages of a second or so: for so many things that a heap entry each, or a timer, is too much."""

from __future__ import annotations

import heapq
import sys
from math import ceil
from typing import Generic, TypeVar

T = TypeVar("T")


class Agenda(Generic[T]):
    """Things by the page on which they are due; a page lasts `span` seconds. What ends on one is looked at together."""

    __slots__ = ("_numbers", "_pages", "_span")

    def __init__(self, span: float = 1.0) -> None:
        self._span = span
        self._pages: dict[int, tuple[int, list[T]]] = {}
        self._numbers: list[int] = []

    def add(self, due: float, item: T) -> int:
        """Note an item, and return the number of its page: the first that does not end before `due`."""
        number = ceil(due / self._span)
        page = self._pages.get(number)
        if page is None:
            page = self._pages[number] = (number, [])
            heapq.heappush(self._numbers, number)
        page[1].append(item)
        return page[0]  # one number for all who keep it, 32 bytes less for each

    def next(self) -> float | None:
        """Return when the next page ends; None where nothing is noted."""
        return self._numbers[0] * self._span if self._numbers else None

    def take(self, now: float, most: int = sys.maxsize) -> tuple[int, list[T]] | None:
        """Take out the next page if it has ended, or so many of what is on it, with its number; None where none has."""
        if not self._numbers or self._numbers[0] * self._span > now:
            return None
        number, items = self._pages[self._numbers[0]]
        if len(items) > most:
            taken = items[-most:]
            del items[-most:]
            return number, taken
        return self._pages.pop(heapq.heappop(self._numbers))
