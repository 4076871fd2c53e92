"""How long one turn of the event loop lasts: all that can wait shares its time.

What comes together goes through several steps. Each of them in portions of its own would be short, and all of them
together long, with as many of them as there are. So every step has a line here, whoever its owner is, and the lines
have one portion of time in each turn of the loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Final, Generic, TypeVar
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

TURN: Final = 0.002  # seconds in a turn of the loop for all the lines; what the kernel wakes us for comes beside it


class Line(Generic[T]):
    """What waits for one step, in the order it came."""

    __slots__ = ("_handle", "_items", "_open", "_turn")

    def __init__(self, turn: Turn, handle: Callable[[T], None]) -> None:
        self._turn = turn
        self._handle = handle
        self._items: deque[T] = deque()
        self._open = False

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> None:
        """Have the item handled, in this turn of the loop or a later one."""
        self._items.append(item)
        if not self._open:
            self._open = True
            self._turn.open(self)

    def work(self, until: float) -> None:
        """Handle what waits, at least one and until the time is over."""
        items, handle = self._items, self._handle
        while items:
            handle(items.popleft())
            if monotonic() > until:
                break
        self._open = bool(items)


class Turn:
    """The lines of one event loop.

    A line is worked off before the next one begins, since each step finds its code and data in the processor's caches;
    and the one that what it did goes to comes after it.
    """

    __slots__ = ("__weakref__", "_lines", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lines: deque[Line[object]] = deque()

    def line(self, handle: Callable[[T], None]) -> Line[T]:
        """Return a new line, each of whose items is given to `handle`. What that raises, the loop logs."""
        return Line(self, handle)

    def open(self, line: Line[T]) -> None:
        """Come to this line when those before it are worked off."""
        if not self._lines:
            self._loop.call_soon(self._work)
        self._lines.append(line)  # type: ignore[arg-type]  # what a line holds is between it and its owner

    def _work(self) -> None:
        lines, until = self._lines, monotonic() + TURN  # the loop's own time may stand still for a whole turn
        try:
            while lines:
                lines[0].work(until)
                if not lines[0]:
                    lines.popleft()
                if monotonic() > until:
                    break
        finally:
            # The others have their turn also where one failed, which the loop logs.
            if lines:
                self._loop.call_soon(self._work)


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, Turn] = WeakKeyDictionary()


def this_turn() -> Turn:
    """Return the running event loop's."""
    loop = asyncio.get_running_loop()
    turn = _turns.get(loop)
    if turn is None:
        turn = _turns[loop] = Turn(loop)
    return turn
