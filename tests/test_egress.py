"""Which addresses nothing is sent to."""

from __future__ import annotations

import socket

import pytest

from daemon.egress import AddressRefused, guarded_socket, out_of_bounds


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        pytest.param("127.0.0.1", "a loopback address", id="loopback"),
        pytest.param("127.9.9.9", "a loopback address", id="loopback-network"),
        pytest.param("::1", "a loopback address", id="loopback-6"),
        pytest.param("::ffff:127.0.0.1", "a loopback address", id="mapped"),
        pytest.param("::ffff:7f00:1", "a loopback address", id="mapped-in-hex"),
        pytest.param("::127.0.0.1", "a loopback address", id="compatible"),
        pytest.param("64:ff9b::7f00:1", "a loopback address", id="nat64"),
        pytest.param("2002:7f00:1::", "a loopback address", id="6to4"),
        pytest.param("169.254.1.1", "a link-local address", id="link-local"),
        pytest.param("fe80::1", "a link-local address", id="link-local-6"),
        pytest.param("fe80::1%lo", "a link-local address", id="zone"),
        pytest.param("169.254.169.254", "a cloud's metadata address", id="metadata"),
        pytest.param("::ffff:169.254.169.254", "a cloud's metadata address", id="mapped-metadata"),
        pytest.param("fd00:ec2::254", "a cloud's metadata address", id="metadata-6"),
        pytest.param("100.100.100.200", "a cloud's metadata address", id="metadata-alibaba"),
        pytest.param("224.0.0.1", "a multicast address", id="multicast"),
        pytest.param("ff02::1", "a multicast address", id="multicast-6"),
        pytest.param("0.0.0.0", "no address of a host", id="unspecified"),
        pytest.param("::", "no address of a host", id="unspecified-6"),
        pytest.param("0.1.2.3", "no address of a host", id="this-network"),
        pytest.param("255.255.255.255", "no address of a host", id="broadcast"),
    ],
)
def test_addresses_out_of_bounds(host: str, reason: str) -> None:
    """In every way to write them."""
    assert reason == out_of_bounds(host)


@pytest.mark.parametrize("host", ["192.0.2.7", "10.0.0.9", "2001:db8::7", "64:ff9b::c000:207", "8.8.8.8"])
def test_other_addresses_are_fine(host: str) -> None:
    """Private networks too: a PBX and its neighbours live there."""
    assert out_of_bounds(host) is None


def test_an_address_of_this_host_is_out_of_bounds() -> None:
    """Whatever network it is in: what listens there may trust whoever is on the host."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this host has no network")
        own = probe.getsockname()[0]

    assert out_of_bounds(own) is not None


def test_no_socket_is_made_for_a_refused_address() -> None:
    """The refusal says which address, and why."""
    make = guarded_socket(out_of_bounds)
    with pytest.raises(AddressRefused, match=r"127\.0\.0\.1 is a loopback address"):
        make((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80)))
    make((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 80))).close()
