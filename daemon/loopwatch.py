"""How late the event loop is, for whatever blocks it makes every phone wait; and how much of a block is its own work.

The rest of a block is the host's, which gave the loop's thread no processor, or another thread's, which it waited for.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from daemon.figures import Histogram

if TYPE_CHECKING:
    from collections.abc import Callable

BEATS: Final = ((0.5, 0.002), (0.1, 0.01), (0.0, 0.1))
"""From which part of the time between two looks the loop's thread worked, how many seconds there are between two looks.

A block is seen only where a look falls into it, from there on; and a look wakes who would sleep.
"""
REST: Final = BEATS[-1][1]
WINDOW: Final = 60.0  # seconds for which the longest block is remembered: at least one scrape falls into them
SLOTS: Final = 12  # parts of the window; the oldest is forgotten as a whole


class LoopWatch:
    """Beats, and notes how much later than it should each beat comes; `while_busy` is called with each but the rare."""

    def __init__(self, while_busy: Callable[[], None] = lambda: None) -> None:
        self._while_busy = while_busy
        self.lateness = Histogram()
        """Of all beats, in seconds."""
        self.latest = 0.0
        """How late the last beat was, in seconds."""
        self._loop = asyncio.get_running_loop()
        self._last = self._due = time.monotonic()
        self._worked = time.thread_time()
        self._blocks = _Longest(self._last)
        self._own = _Longest(self._last)
        self._await_beat(REST)

    @property
    def longest(self) -> float:
        """The longest block of the last minute, in seconds."""
        return max(self._blocks.value, self.overdue)

    @property
    def longest_own(self) -> float:
        """The most processor time that the loop's thread had in one block of the last minute, in seconds.

        It may be somewhat less: what the thread had since the last look is taken for the block's.
        """
        return max(self._own.value, min(self.overdue, time.thread_time() - self._worked))

    @property
    def overdue(self) -> float:
        """How late the next beat is by now, in seconds; who asks while the loop is behind knows it before the beat."""
        # Not the loop's own time, which may stand still for a whole turn.
        return max(0.0, time.monotonic() - self._due)

    async def close(self) -> None:
        """Stop beating."""
        self._alarm.cancel()

    def _beat(self) -> None:
        now, worked = time.monotonic(), time.thread_time()
        work = worked - self._worked
        self.latest = max(0.0, now - self._due)
        self.lateness.observe(self.latest)
        self._blocks.observe(self.latest, now)
        self._own.observe(min(self.latest, work), now)
        # Of the time until the beat was due: a loop that is given no processor afterwards is no less busy.
        share = work / (self._due - self._last)
        self._last, self._worked = now, worked
        beat = next((seconds for least, seconds in BEATS if share >= least), REST)
        self._await_beat(beat)
        if beat < REST:
            self._while_busy()

    def _await_beat(self, seconds: float) -> None:
        self._due = self._last + seconds
        self._alarm = self._loop.call_later(seconds, self._beat)


class _Longest:
    """The highest of what was observed in the window."""

    __slots__ = ("_slot_ends", "_slots")

    def __init__(self, now: float) -> None:
        self._slots: deque[float] = deque([0.0], maxlen=SLOTS)
        self._slot_ends = now + WINDOW / SLOTS

    @property
    def value(self) -> float:
        return max(self._slots)

    def observe(self, value: float, now: float) -> None:
        while now >= self._slot_ends:
            self._slots.append(0.0)
            self._slot_ends += WINDOW / SLOTS
        if value > self._slots[-1]:
            self._slots[-1] = value
