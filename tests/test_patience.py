"""How long a connection is waited for; time is a number that is passed."""

from __future__ import annotations

from sip.patience import Patience, StreamLimits

LIMITS = StreamLimits(message=30.0, idle=1000.0)


def test_a_connection_has_its_time_for_a_first_message() -> None:
    """Whatever trickles in meanwhile, keepalives too, puts nothing off."""
    patience = Patience(LIMITS, 100.0)
    for second in range(1, 60):
        patience.heard(100.0 + second, whole=False, waiting=second % 2 == 0)

    assert 130.0 == patience.deadline
    assert not patience.greeted


def test_a_whole_message_makes_a_connection_idle() -> None:
    patience = Patience(LIMITS, 100.0)
    patience.heard(105.0, whole=True, waiting=False)

    assert patience.greeted
    assert 1105.0 == patience.deadline


def test_keepalives_are_signs_of_life() -> None:
    """RFC 5626 4.4.1."""
    patience = Patience(LIMITS, 100.0)
    patience.heard(105.0, whole=True, waiting=False)
    patience.heard(1000.0, whole=False, waiting=False)

    assert 2000.0 == patience.deadline


def test_a_message_under_way_must_end() -> None:
    """One byte a second does not keep a connection for ever, also after a good message."""
    patience = Patience(LIMITS, 100.0)
    patience.heard(105.0, whole=True, waiting=True)
    for second in range(20):
        patience.heard(106.0 + second, whole=False, waiting=True)
    assert 135.0 == patience.deadline

    patience.heard(130.0, whole=True, waiting=False)
    assert 1130.0 == patience.deadline


def test_the_next_message_has_its_own_time() -> None:
    """A stream of messages whose segments never end with one is no fault."""
    patience = Patience(LIMITS, 100.0)
    for second in range(101, 500):
        patience.heard(float(second), whole=True, waiting=True)

    assert 499.0 + 30.0 == patience.deadline
