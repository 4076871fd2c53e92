"""How late the event loop is: whatever blocks it makes every phone wait."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Final

from daemon.figures import Histogram

BEAT: Final = 0.1  # seconds between two looks
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
        self._due = time.monotonic() + BEAT
        self._alarm = self._loop.call_later(BEAT, self._beat)

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
        now = time.monotonic()
        self.latest = max(0.0, now - self._due)
        self.lateness.observe(self.latest)
        while now >= self._slot_ends:
            self._longest.append(0.0)
            self._slot_ends += WINDOW / SLOTS
        self._longest[-1] = max(self._longest[-1], self.latest)
        self._due = now + BEAT
        self._alarm = self._loop.call_later(BEAT, self._beat)
