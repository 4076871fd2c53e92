"""Addresses as sockets tell and take them."""

from __future__ import annotations

import socket

import pytest

from sip.flow import Address
from sip.io.host import is_local, local_host_towards, read_address, socket_address


@pytest.mark.parametrize(
    ("told", "address"),
    [
        pytest.param(("192.0.2.1", 5060), Address("192.0.2.1", 5060), id="ipv4"),
        pytest.param(("2001:db8::1", 5060, 0, 0), Address("2001:db8::1", 5060), id="ipv6"),
        pytest.param(("fe80::1", 5060, 0, 3), Address("fe80::1%3", 5060), id="link-local"),
        pytest.param(("fe80::1%eth0", 5060, 0, 3), Address("fe80::1%eth0", 5060), id="link-local-with-zone"),
    ],
)
def test_an_address_is_read_with_its_zone(told: tuple[object, ...], address: Address) -> None:
    """RFC 4007 11: a link-local address means nothing without it."""
    assert address == read_address(told)


@pytest.mark.parametrize(
    ("address", "taken"),
    [
        pytest.param(Address("192.0.2.1", 5060), ("192.0.2.1", 5060), id="ipv4"),
        pytest.param(Address("2001:db8::1", 5060), ("2001:db8::1", 5060), id="ipv6"),
        pytest.param(Address("fe80::1%3", 5060), ("fe80::1", 5060, 0, 3), id="zone-by-number"),
        pytest.param(Address("fe80::1%lo", 5060), ("fe80::1", 5060, 0, socket.if_nametoindex("lo")), id="zone-by-name"),
    ],
)
def test_a_socket_takes_the_zone_by_its_number(address: Address, taken: tuple[object, ...]) -> None:
    assert taken == socket_address(address)


def test_a_zone_that_is_not_there_is_an_error() -> None:
    with pytest.raises(OSError, match="interface"):
        socket_address(Address("fe80::1%no-such-link", 5060))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_loopback_is_this_host(host: str) -> None:
    assert host == local_host_towards(host)
    assert is_local(host)
