"""The figures that parts keep."""

from __future__ import annotations

import asyncio
import time

import pytest

from daemon.figures import Histogram
from daemon.loopwatch import LoopWatch


@pytest.mark.parametrize(
    ("value", "buckets"),
    [
        pytest.param(0.5, [1, 1, 1], id="below-all"),
        pytest.param(1.0, [1, 1, 1], id="on-a-bound-is-not-above-it"),
        pytest.param(1.5, [0, 1, 1], id="between"),
        pytest.param(99.0, [0, 0, 1], id="above-all"),
    ],
)
def test_a_value_counts_in_every_bucket_that_it_is_not_above(value: float, buckets: list[int]) -> None:
    """Prometheus' buckets are cumulative, and the last one has all."""
    histogram = Histogram((1.0, 2.0))
    histogram.observe(value)

    assert [("1.0", buckets[0]), ("2.0", buckets[1]), ("+Inf", buckets[2])] == list(histogram.cumulative())
    assert (1, value) == (len(histogram), histogram.total)


async def test_a_block_of_the_loop_is_seen() -> None:
    """What holds the loop is known to who asks at once, and remembered."""
    watch = LoopWatch()
    try:
        time.sleep(0.3)  # what a test of blocking has to do
        overdue = watch.overdue
        await asyncio.sleep(0)
        await asyncio.sleep(0)

        assert 0.15 < overdue
        assert 0.15 < watch.latest <= watch.longest
        assert len(watch.lateness) == 1
    finally:
        await watch.close()


async def test_a_block_that_worked_is_told_from_one_that_waited() -> None:
    """What the loop's thread was not on a processor for is no work of its own."""
    watch = LoopWatch()
    try:
        time.sleep(0.3)  # as when the host gives the process no processor
        await asyncio.sleep(0)
        waited = watch.longest_own
        until = time.thread_time() + 0.2
        while time.thread_time() < until:
            pass
        during = watch.longest_own
        await asyncio.sleep(0)

        assert waited < 0.1 < watch.longest
        assert 0.05 < during <= watch.longest_own <= watch.longest
    finally:
        await watch.close()


async def test_a_busy_loop_is_looked_at_often() -> None:
    """A block is seen only where a beat falls into it, and there are more of them while there is much to do."""
    watch = LoopWatch()
    try:
        until = time.monotonic() + 0.4
        while time.monotonic() < until:
            time.sleep(0)
            await asyncio.sleep(0)

        assert len(watch.lateness) > 10
    finally:
        await watch.close()
