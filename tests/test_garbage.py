"""The collector of cycles while the daemon runs."""

from __future__ import annotations

import gc
import time

from daemon.garbage import NEVER, YOUNG_FOR, GarbageRounds


class Cycle:
    """Garbage that counting references does not find."""

    def __init__(self) -> None:
        self.itself = self


async def test_what_was_loaded_is_out_of_sight_and_everything_is_as_before_after_the_end() -> None:
    before = gc.get_threshold()
    rounds = GarbageRounds()
    rounds.begin()
    frozen, thresholds = gc.get_freeze_count(), gc.get_threshold()
    await rounds.close()

    assert frozen > 1000
    assert thresholds[2] == NEVER
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)


async def test_young_cycles_are_still_collected() -> None:
    """Or each would be a leak until the next look at everything."""
    rounds = GarbageRounds()
    rounds.begin()
    for _ in range(30_000):
        Cycle()
    left = sum(isinstance(each, Cycle) for each in gc.get_objects())
    await rounds.close()

    assert left < 10_000


async def test_what_is_young_is_looked_at_by_time_while_the_loop_is_busy() -> None:
    """As many freed as made look like nothing to the collector, which would meet them all at once later."""
    rounds = GarbageRounds()
    rounds.look()  # while we load, nothing
    held = gc.get_stats()[1]["collections"]
    rounds.begin()
    until = time.monotonic() + 2 * YOUNG_FOR
    before = gc.get_stats()[1]["collections"]
    while time.monotonic() < until:
        rounds.look()
    looked = gc.get_stats()[1]["collections"] - before
    await rounds.close()

    assert before == held
    assert 1 <= looked <= 2
