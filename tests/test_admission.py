"""Whom an overloaded registrar still takes."""

from __future__ import annotations

import pytest

from sip.admission import RETRY_LEAST, RETRY_MOST, TELL_EVERY, Admission, retry_after


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


def test_times_to_come_again_are_spread() -> None:
    """RFC 3261 20.33; phones of one site must not come again together."""
    times = [retry_after(chance / 1000) for chance in range(1001)]

    assert set(times) == set(range(RETRY_LEAST, RETRY_MOST + 1))


def test_an_overload_is_told_now_and_then() -> None:
    admission = Admission(1)

    assert [True, False, True] == [admission.should_tell(now) for now in (5.0, 5.0 + TELL_EVERY / 2, 5.0 + TELL_EVERY)]
