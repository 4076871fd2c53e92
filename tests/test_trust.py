"""Where phones are registered."""

from __future__ import annotations

import pytest

from sip.parts import PARTS
from sip.trust import MAX_TRUSTED, SWEEP_EVERY, TrustedSources, source_of


@pytest.mark.parametrize(
    ("host", "source"),
    [
        pytest.param("192.0.2.1", "192.0.2.1", id="ipv4"),
        pytest.param("2001:db8::1", "2001:db8::/64", id="ipv6"),
        pytest.param("2001:db8:0:0:ffff::1", "2001:db8::/64", id="ipv6-same-network"),
        pytest.param("fe80::1%eth0", "fe80::/64", id="link-local-with-zone"),
        pytest.param("::1", "::1", id="loopback"),
    ],
)
def test_source_of_an_address(host: str, source: str) -> None:
    assert source == source_of(host)


def test_the_latest_end_of_several_registrations_counts() -> None:
    """Phones of one office come and go."""
    trusted = TrustedSources()
    for until in (50.0, 100.0, 70.0):
        trusted.add("192.0.2.1", until, now=5.0)

    assert trusted.has("192.0.2.1", 99.0)
    assert not trusted.has("192.0.2.1", 100.0)
    assert not trusted.has("192.0.2.2", 5.0)


def test_trust_is_bounded_and_what_is_over_makes_room() -> None:
    """Who finds no room is a stranger; not each of them is searched room for."""
    trusted = TrustedSources()
    for number in range(2 * MAX_TRUSTED):
        trusted.add(f"source-{number}", until=6.0, now=5.0)
    assert len(trusted) == MAX_TRUSTED

    trusted.add("192.0.2.1", until=100.0, now=5.0 + SWEEP_EVERY / 2)
    assert not trusted.has("192.0.2.1", 5.0 + SWEEP_EVERY / 2)
    trusted.add("192.0.2.1", until=100.0, now=5.0 + SWEEP_EVERY)
    assert trusted.has("192.0.2.1", 5.0 + SWEEP_EVERY)
    assert len(trusted) == MAX_TRUSTED * (PARTS - 1) // PARTS + 1
