"""The lanes that SIP timers wait in."""

from __future__ import annotations

from sip.timers import TimerLanes


def test_items_come_due_at_their_time_and_not_before() -> None:
    lanes: TimerLanes[str] = TimerLanes()
    lanes.set(0.5, "a", now=10.0)
    lanes.set(32.0, "b", now=10.0)

    assert list(lanes.take_due(10.4)) == []
    assert list(lanes.take_due(10.5)) == ["a"]
    assert lanes.next_due() == 42.0
    assert list(lanes.take_due(100.0)) == ["b"]
    assert lanes.next_due() is None


def test_an_item_set_while_others_are_taken_is_taken_when_it_is_due() -> None:
    lanes: TimerLanes[str] = TimerLanes()
    lanes.set(1.0, "first", now=0.0)
    taken = []
    for item in lanes.take_due(1.0):
        taken.append(item)
        if item == "first":
            lanes.set(0.0, "at once", now=1.0)
            lanes.set(1.0, "later", now=1.0)

    assert taken == ["first"]
    assert list(lanes.take_due(1.0)) == ["at once"]
    assert len(lanes) == 1
