"""The pace of a sync of many."""

from __future__ import annotations

import pytest

from sip.pace import SLACK, Pace

NOW = 100.0


def test_the_first_goes_at_once_and_the_others_at_the_rate() -> None:
    pace = Pace(5.0, NOW)
    assert pace.delay(NOW) == 0

    pace.spend(1, NOW)

    assert pace.delay(NOW) == pytest.approx(0.2)
    assert pace.delay(NOW + 0.2) == pytest.approx(0)


def test_two_at_once_cost_twice() -> None:
    """A device with two contacts gets two NOTIFYs."""
    pace = Pace(5.0, NOW)
    pace.spend(2, NOW)

    assert pace.delay(NOW) == pytest.approx(0.4)


def test_none_cost_nothing() -> None:
    """Who is not registered is passed over."""
    pace = Pace(5.0, NOW)
    pace.spend(0, NOW)

    assert pace.delay(NOW) == 0


def test_small_delays_do_not_add_up() -> None:
    """A loop that wakes a little late each time still keeps the rate."""
    pace, moment = Pace(10.0, NOW), NOW
    for _ in range(100):
        moment += pace.delay(moment) + 0.005
        pace.spend(1, moment)

    assert moment - NOW == pytest.approx(9.9, abs=0.02)


def test_a_long_delay_is_not_made_up_for() -> None:
    """After a minute in which nothing could be sent there is no burst of a minute's NOTIFYs."""
    pace = Pace(5.0, NOW)
    pace.spend(1, NOW)
    sent, moment = 0, NOW + 60
    while pace.delay(moment) == 0:
        pace.spend(1, moment)
        sent += 1

    assert sent <= 1 + SLACK * 5 + 1
