"""How late the event loop is: whatever blocks it makes every phone wait."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Final

from daemon.figures import Histogram

BEAT: Final = 0.1  # seconds between two looks while there is little to do
BUSY_BEAT: Final = 0.01  # seconds between two looks else: a block is seen only where a look falls into it
BUSY: Final = 0.1  # share of the time between two looks that the loop's thread worked, from which on it is busy
WINDOW: Final = 60.0  # seconds for which the longest block is remembered: at least one scrape falls into them
SLOTS: Final = 12  # parts of the window; the oldest is forgotten as a whole


class LoopWatch:
    """Beats, and notes how much later than it should each beat comes."""

    def __init__(self) -> None:
        self.lateness = Histogram()
        """Of all beats, in seconds."""
        self.latest = 0.0
        """How late the last beat was, in seconds."""
        self._loop = asyncio.get_running_loop()
        self._longest: deque[float] = deque([0.0], maxlen=SLOTS)
        self._slot_ends = time.monotonic() + WINDOW / SLOTS
        self._last = time.monotonic()
        self._worked = time.thread_time()
        self._await_beat(BEAT)

    @property
    def longest(self) -> float:
        """The longest block of the last minute, in seconds."""
        return max(*self._longest, self.overdue)

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
        self.latest = max(0.0, now - self._due)
        self.lateness.observe(self.latest)
        while now >= self._slot_ends:
            self._longest.append(0.0)
            self._slot_ends += WINDOW / SLOTS
        self._longest[-1] = max(self._longest[-1], self.latest)
        busy = worked - self._worked > BUSY * (now - self._last)
        self._last, self._worked = now, worked
        self._await_beat(BUSY_BEAT if busy else BEAT)

    def _await_beat(self, seconds: float) -> None:
        self._due = self._last + seconds
        self._alarm = self._loop.call_later(seconds, self._beat)
