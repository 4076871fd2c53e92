"""What is due when."""

from __future__ import annotations

from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from sip.agenda import Agenda


def test_what_ends_within_a_second_is_taken_together() -> None:
    agenda: Agenda[str] = Agenda()
    seconds = [agenda.add(due, item) for due, item in ((10.2, "a"), (11.5, "b"), (10.9, "c"), (11.0, "d"))]

    assert seconds == [11, 12, 11, 11]
    assert agenda.next() == 11
    assert agenda.take(10.95) is None
    assert agenda.take(11.0) == (11, ["a", "c", "d"])
    assert agenda.next() == 12


def test_an_empty_agenda_has_nothing_next() -> None:
    agenda: Agenda[str] = Agenda()

    assert agenda.next() is None
    assert agenda.take(1e9) is None


def test_a_page_may_be_shorter() -> None:
    agenda: Agenda[str] = Agenda(0.25)
    agenda.add(10.1, "a")
    agenda.add(10.3, "b")

    assert agenda.next() == 10.25
    assert agenda.take(10.25) == (41, ["a"])
    assert agenda.next() == 10.5


def test_a_page_may_be_taken_in_portions() -> None:
    agenda: Agenda[str] = Agenda()
    for item in "abc":
        agenda.add(9.5, item)

    assert agenda.take(10.0, 2) == (10, ["b", "c"])
    assert agenda.next() == 10
    assert agenda.take(10.0, 2) == (10, ["a"])
    assert agenda.next() is None


@given(st.lists(st.floats(0, 100)))
def test_nothing_is_taken_early_nor_a_second_late(dues: list[float]) -> None:
    """Each item comes once, at a whole second that is its own or the next one."""
    agenda: Agenda[float] = Agenda()
    for due in dues:
        agenda.add(due, due)
    taken: list[float] = []
    while (now := agenda.next()) is not None:
        page = agenda.take(now)
        assert page is not None
        assert {ceil(due) for due in page[1]} == {now}
        taken += page[1]

    assert sorted(taken) == sorted(dues)
