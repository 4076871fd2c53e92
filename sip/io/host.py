"""What this host is called, and which addresses it has."""

from __future__ import annotations

import socket
from functools import lru_cache
from ipaddress import ip_address
from typing import TypeAlias

from sip.flow import Address

SocketAddress: TypeAlias = "tuple[str, int] | tuple[str, int, int, int]"


@lru_cache(maxsize=4096)
def local_host_towards(remote: str) -> str:
    """Return the local address that the host would send from towards the remote one; no packet is sent."""
    family = socket.AF_INET6 if ":" in remote else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(socket_address(Address(remote, 9)))
        except OSError:
            return "::1" if family == socket.AF_INET6 else "127.0.0.1"
        return str(probe.getsockname()[0])


@lru_cache(maxsize=1024)
def is_local(host: str) -> bool:
    """Return whether the address is one of this host's."""
    return local_host_towards(host) == host


@lru_cache(maxsize=1024)
def is_unspecified(host: str) -> bool:
    """Return whether the address stands for all of the host's: 0.0.0.0 or ::."""
    return ip_address(host).is_unspecified


def read_address(told: tuple[object, ...]) -> Address:
    """Return the address that a socket told. That of a link has its zone, without which it leads nowhere (RFC 4007)."""
    host, port, *rest = told
    scope = rest[1] if len(rest) == 2 else 0
    return Address(f"{host}%{scope}" if scope and "%" not in str(host) else str(host), int(str(port)))


def socket_address(address: Address) -> SocketAddress:
    """Return the address as a socket takes it. Raises OSError for a zone that is not there."""
    host, percent, zone = address.host.partition("%")
    if not percent:
        return address
    return host, address.port, 0, int(zone) if zone.isdecimal() else socket.if_nametoindex(zone)


@lru_cache(maxsize=1)
def own_names() -> frozenset[str]:
    """Return the names of this host, in lower case."""
    return frozenset({"localhost", socket.gethostname().lower()})
