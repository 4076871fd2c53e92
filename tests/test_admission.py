"""Whom an overloaded registrar still takes."""

from __future__ import annotations

import pytest

from sip.admission import RETRY_LEAST, RETRY_LONGEST, RETRY_MOST, TELL_EVERY, Admission, retry_after


@pytest.mark.parametrize(
    ("waiting", "buffered", "newcomer", "signed"),
    [
        pytest.param(0, 0.0, True, True, id="idle"),
        pytest.param(49, 0.0, True, True, id="busy"),
        pytest.param(50, 0.0, False, True, id="newcomers-fill-half-of-the-places"),
        pytest.param(99, 0.49, False, True, id="nearly-full"),
        pytest.param(100, 0.0, False, False, id="full"),
        pytest.param(0, 0.5, False, True, id="buffer-half-full"),
        pytest.param(0, 0.9, False, False, id="buffer-full"),
    ],
)
def test_who_has_credentials_is_taken_for_longer(waiting: int, buffered: float, newcomer: bool, signed: bool) -> None:
    """A registration that was begun is finished before another one is."""
    admission = Admission(100)

    assert newcomer == admission.admits(waiting, buffered, signed=False)
    assert signed == admission.admits(waiting, buffered, signed=True)


@pytest.mark.parametrize(
    ("signed", "lowest"), [pytest.param(False, 200, id="newcomers"), pytest.param(True, 240, id="with-credentials")]
)
def test_a_crowd_that_fills_the_buffer_for_good_keeps_nobody_out(signed: bool, lowest: int) -> None:
    """Where refusing everybody does not empty the buffer, some are taken all the same."""
    admission = Admission(100)

    taken = sum(admission.admits(0, 1.0, signed=signed) for _ in range(1400))

    assert lowest <= taken <= 280


def test_the_buffer_full_who_has_credentials_is_taken_before_newcomers() -> None:
    """A registration that was begun is finished before another one is, here too."""
    admission = Admission(100)
    for _ in range(100):
        admission.admits(0, 1.0, signed=False)

    assert not admission.admits(0, 1.0, signed=False)
    assert admission.admits(0, 1.0, signed=True)


def test_the_limit_of_those_that_wait_holds_while_the_buffer_is_full() -> None:
    """It bounds the memory."""
    admission = Admission(100)

    assert not any(admission.admits(100, 1.0, signed=True) for _ in range(1000))


def test_another_limit_holds_from_then_on() -> None:
    """It is an operator's to change while phones are on."""
    admission = Admission(100)
    admission.limit(10)

    assert (True, False) == tuple(admission.admits(waiting, 0.0, signed=True) for waiting in (9, 10))
    assert (True, False) == tuple(admission.admits(waiting, 0.0, signed=False) for waiting in (4, 5))


def test_times_to_come_again_are_spread() -> None:
    """RFC 3261 20.33; phones of one site must not come again together."""
    times = [retry_after(chance / 1000) for chance in range(1001)]

    assert set(times) == set(range(RETRY_LEAST, RETRY_MOST + 1))


def test_the_more_are_refused_the_further_they_are_spread() -> None:
    """About as many come again as can be taken; when the storm is over, times are short again."""
    admission = Admission(100)
    times: list[int] = []
    for second in range(20):
        for _ in range(10):
            admission.admits(0, 0.0, signed=True)
        times.extend(admission.retry_after(float(second), 1.0) for _ in range(50))
    for _ in range(10_000):
        admission.admits(0, 0.0, signed=True)
    after = [admission.retry_after(30.0, 1.0), admission.retry_after(40.0, 1.0)]

    assert RETRY_MOST == times[0]
    assert 4 * RETRY_MOST < times[-1] < 6 * RETRY_MOST
    assert RETRY_MOST == after[1]
    assert all(RETRY_LONGEST >= time for time in times)


def test_an_overload_is_told_now_and_then() -> None:
    admission = Admission(1)

    assert [True, False, True] == [admission.should_tell(now) for now in (5.0, 5.0 + TELL_EVERY / 2, 5.0 + TELL_EVERY)]
