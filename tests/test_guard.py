"""What one source may send and open, before anything of it is looked at."""

from __future__ import annotations

import pytest

from sip.guard import MAX_SOURCES, TELL_EVERY, ConnectionGate, SourceGuard
from sip.trust import TrustedSources

STRANGER = "192.0.2.1"
OTHER = "192.0.2.2"


def admitted(guard: SourceGuard, source: str, count: int, now: float) -> int:
    return sum(guard.admit(source, now) for _ in range(count))


@pytest.mark.parametrize(("rate", "burst"), [(1.0, 1), (3.0, 7), (100.0, 1000), (0.1, 3)])
def test_a_burst_passes_and_then_the_rate(rate: float, burst: int) -> None:
    """The bucket begins full, and fills at the rate."""
    guard = SourceGuard(rate, burst, TrustedSources())

    assert burst == admitted(guard, STRANGER, burst + 10, 1000.0)
    assert 1 == admitted(guard, STRANGER, 10, 1000.0 + 1.001 / rate)
    assert burst == admitted(guard, STRANGER, burst + 10, 1000.0 + 10 * burst / rate)


def test_what_is_refused_costs_nothing_more() -> None:
    """A source that goes on sending is let in again at its rate, not punished."""
    guard = SourceGuard(10.0, 1, TrustedSources())
    passed = sum(guard.admit(STRANGER, 50.0 + tick / 1000) for tick in range(10_000))

    assert 99 <= passed <= 101


def test_sources_do_not_share_a_bucket() -> None:
    """The one that floods does not silence the other."""
    guard = SourceGuard(1.0, 1, TrustedSources())
    admitted(guard, STRANGER, 10, 5.0)

    assert guard.admit(OTHER, 5.0)


def test_an_ipv6_customer_is_one_source() -> None:
    """Who has a /64 has 2**64 addresses."""
    guard = SourceGuard(1.0, 2, TrustedSources())
    sources = [f"2001:db8:0:1::{number:x}" for number in range(10)]

    assert 2 == sum(guard.admit(source, 5.0) for source in sources)
    assert guard.admit("2001:db8:0:2::1", 5.0)


@pytest.mark.parametrize("source", ["127.0.0.1", "127.9.9.9", "::1"])
def test_this_host_is_not_limited(source: str) -> None:
    """A load test from loopback passes."""
    guard = SourceGuard(1.0, 1, TrustedSources())

    assert 1000 == admitted(guard, source, 1000, 5.0)


@pytest.mark.parametrize("source", [STRANGER, "2001:db8::9"])
def test_a_registration_lifts_the_limit_while_it_lasts(source: str) -> None:
    """A whole office may stand behind one address."""
    trusted = TrustedSources()
    guard = SourceGuard(1.0, 1, trusted)
    trusted.add(source, until=100.0, now=5.0)

    assert 1000 == admitted(guard, source, 1000, 99.0)
    assert 1 == admitted(guard, source, 1000, 101.0)


def test_no_rate_is_no_limit() -> None:
    guard = SourceGuard(0.0, 1, TrustedSources())

    assert 1000 == admitted(guard, STRANGER, 1000, 5.0)


def test_any_number_of_sources_takes_bounded_memory() -> None:
    """What is kept is bounded, and whoever floods among them all is still held."""
    guard = SourceGuard(1.0, 1, TrustedSources())
    refused = 0
    for number in range(3 * MAX_SOURCES):
        guard.admit(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 5.0)
        refused += number % 64 == 0 and not guard.admit(STRANGER, 5.0)

    assert len(guard) <= MAX_SOURCES + 1
    assert refused == 3 * MAX_SOURCES // 64 - 1


def test_the_log_is_told_now_and_then() -> None:
    """A flood does not become a flood of log lines."""
    guard = SourceGuard(1.0, 1, TrustedSources())
    told = [now for now in range(200) if guard.should_tell(float(now))]

    assert [0, int(TELL_EVERY), int(2 * TELL_EVERY), int(3 * TELL_EVERY)] == told


def test_connections_are_counted_by_source_and_in_all() -> None:
    """Both limits hold, and room is made when a connection ends."""
    gate = ConnectionGate(most=3, most_per_source=2)
    first, second = gate.enter(STRANGER), gate.enter(STRANGER)
    assert first is not None
    assert second is not None
    assert gate.enter(STRANGER) is None
    assert gate.enter(OTHER) is not None
    assert gate.enter("192.0.2.3") is None

    first()
    first()
    assert len(gate) == 2
    assert gate.enter(STRANGER) is not None
    assert gate.enter(STRANGER) is None


def test_connections_of_this_host_are_counted_in_all_alone() -> None:
    gate = ConnectionGate(most=5, most_per_source=1)

    assert [True] * 5 + [False] == [gate.enter("127.0.0.1") is not None for _ in range(6)]


def test_a_gate_forgets_who_has_left() -> None:
    """Nothing is kept of a source without connections."""
    gate = ConnectionGate(most=5, most_per_source=1)
    for number in range(1000):
        leave = gate.enter(f"192.0.2.{number}")
        assert leave is not None
        leave()

    assert len(gate) == 0
    assert not gate._per_source


def test_other_limits_hold_from_now_on() -> None:
    """Lower ones at once, higher ones too; what is open stays open."""
    guard, gate = SourceGuard(1.0, 10, TrustedSources()), ConnectionGate(3, 3)
    leave = [gate.enter(STRANGER) for _ in range(3)]
    guard.limit(1.0, 2)
    gate.limit(1, 1)

    assert 2 == admitted(guard, STRANGER, 10, 1000.0)
    assert None not in leave
    assert 3 == len(gate)
    assert gate.enter(OTHER) is None
    guard.limit(0.0, 1)
    gate.limit(5, 5)
    assert 50 == admitted(guard, STRANGER, 50, 1000.0)
    assert gate.enter(OTHER) is not None
