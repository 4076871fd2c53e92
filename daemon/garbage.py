"""When Python's collector of cycles runs: not while we load, often over what is young, hardly ever over what stays.

Reference counts free nearly all that SIP makes. The collector would go through every binding and device each time that
a quarter was added to them, and stop the event loop for as long; so what was loaded at start is taken out of its sight,
and what came to stay later is looked at a few times a day. While phones register, all that is young stays: so each look
at it must be short by itself. The collector itself counts what is made less what is freed, and so does not see how many
are young while as many of the old are freed, as where thousands of requests are under way: these are counted by time.
"""

from __future__ import annotations

import asyncio
import gc
import time
from typing import Final

import structlog

log = structlog.get_logger(__name__)

YOUNG: Final = 3_000  # more objects made than freed, until those are looked at; 64 REGISTERs at once make up to 2,000
MIDDLE: Final = 0  # such looks beyond one before the survivors are looked at again: 6,000 objects, 1 to 3 ms in a storm
YOUNG_FOR: Final = 0.05  # seconds after which the young are looked at while the loop is busy, however many they are
NEVER: Final = 1_000_000_000  # looks until everything is looked at: that is done by the clock instead
FULL_EVERY: Final = 6 * 3600.0  # seconds between looks at everything: 60 ms with 100,000 bindings


def hold() -> None:
    """Keep the collector still: what is imported and loaded stays, and to look through it takes a tenth of a start."""
    gc.disable()


class GarbageRounds:
    """Keeps the collector still from its making on, and to what is young from `begin` on, when all is loaded."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._before = gc.get_threshold()
        self._alarm: asyncio.TimerHandle | None = None
        self._looked = time.monotonic()
        hold()

    def begin(self) -> None:
        """Collect from now on, but not among what is there already."""
        gc.freeze()
        gc.set_threshold(YOUNG, MIDDLE, NEVER)
        gc.enable()
        self._alarm = self._loop.call_later(FULL_EVERY, self._collect)

    def look(self) -> None:
        """Look at what is young, if that is due. To be called often while there is much to do."""
        now = time.monotonic()
        if gc.isenabled() and now - self._looked > YOUNG_FOR:
            gc.collect(1)
            self._looked = time.monotonic()

    async def close(self) -> None:
        """Put the collector back as it was."""
        if self._alarm is not None:
            self._alarm.cancel()
        gc.set_threshold(*self._before)
        gc.unfreeze()
        gc.enable()

    def _collect(self) -> None:
        began = time.monotonic()
        found = gc.collect()
        log.debug("garbage.collected", objects=found, seconds=round(time.monotonic() - began, 4))
        self._alarm = self._loop.call_later(FULL_EVERY, self._collect)
