"""What is done in one turn of the event loop, and what waits for the next."""

from __future__ import annotations

import asyncio
import time

import pytest

from sip.io.turn import TURN, Line, this_turn


async def test_what_waits_is_handled_in_the_order_it_came() -> None:
    """Also what comes while the line is worked off."""
    handled: list[int] = []

    def handle(number: int) -> None:
        handled.append(number)
        if number < 3:
            line.put(number + 10)

    line = this_turn().line(handle)
    for number in range(5):
        line.put(number)
    before = list(handled)
    await asyncio.sleep(0)

    assert not before
    assert handled == [0, 1, 2, 3, 4, 10, 11, 12]
    assert not line


async def test_a_step_goes_over_all_that_waits_before_the_next_begins() -> None:
    """So its code and data are in the processor's caches; and all of it happens in one turn if there is time."""
    steps: list[str] = []
    last = this_turn().line(lambda number: steps.append(f"last {number}"))

    def first(number: int) -> None:
        steps.append(f"first {number}")
        last.put(number)

    line = this_turn().line(first)
    for number in range(2):
        line.put(number)
    await asyncio.sleep(0)

    assert steps == ["first 0", "first 1", "last 0", "last 1"]


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_all_lines_together_leave_others_their_turns(loop: str) -> None:
    """However many lines there are, their time is one."""

    async def turns_of_others() -> int:
        lines: list[Line[int]] = [this_turn().line(_take_half_a_turn) for _ in range(20)]
        for line in lines:
            line.put(0)
        turns = 0
        while any(lines):
            turns += 1
            await asyncio.sleep(0)
        return turns

    assert pytest.importorskip(loop).run(turns_of_others()) >= 7


async def test_who_fails_holds_up_nobody() -> None:
    """The loop logs it; the next one is handled in the turn after."""
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context["exception"]))
    handled: list[int] = []

    def handle(number: int) -> None:
        if number == 0:
            raise ValueError
        handled.append(number)

    failing, other = this_turn().line(handle), this_turn().line(handled.append)
    failing.put(0)
    other.put(7)
    failing.put(1)
    for _ in range(3):
        await asyncio.sleep(0)
    failing.put(2)
    await asyncio.sleep(0)

    assert [ValueError] == [type(fault) for fault in told]
    assert handled == [1, 7, 2]


async def test_a_loop_has_one_turn() -> None:
    """Whoever asks for it."""

    assert this_turn() is this_turn()


def _take_half_a_turn(_item: int) -> None:
    until = time.monotonic() + TURN / 2
    while time.monotonic() < until:
        pass
