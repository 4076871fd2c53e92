"""Where requests that clients ask for may go: not to this host, nor to what answers to this host alone.

Rule: an address is judged when the connection to it is made, whatever name led there, so that a name which changes its
address between two look-ups gains nothing.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeAlias

from aiohttp.abc import AbstractResolver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aiohttp.abc import ResolveResult

    Judge: TypeAlias = Callable[[str], str | None]
    """Says why an address is out of bounds; None where it is not."""

AddrInfo: TypeAlias = "tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[str | int, ...]]"

LOOK_UPS: Final = 8  # names that are looked up at once; a name server that is dead takes some ten seconds each

METADATA: Final = {
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254",  # AWS, Azure, Google, and most others
        "168.63.129.16",  # Azure's wire server
        "100.100.100.200",  # Alibaba
        "192.0.0.192",  # Oracle
        "fd00:ec2::254",  # AWS
        "fd20:ce::254",  # Google
    )
}
THIS_NETWORK: Final = ipaddress.ip_network("0.0.0.0/8")  # Linux takes 0.0.0.0 for this host
RESERVED: Final = ipaddress.ip_network("240.0.0.0/4")
NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
IPV4_COMPATIBLE: Final = ipaddress.ip_network("::/96")


class AddressRefused(OSError):
    """The address is out of bounds."""


def out_of_bounds(host: str) -> str | None:
    """Return why nothing is sent to an address, or None where it may be."""
    for address in _meanings(ipaddress.ip_address(host.partition("%")[0])):
        for reason, applies in _REASONS:
            if applies(address):
                return reason
    return "an address of this host" if _is_ours(host) else None


def anywhere(_host: str) -> str | None:
    """Let every address be: the operator allows it."""
    return None


def guarded_socket(judge: Judge) -> Callable[[AddrInfo], socket.socket]:
    """Return what makes the sockets of a connector (`aiohttp.TCPConnector(socket_factory=)`)."""

    def make(info: AddrInfo) -> socket.socket:
        family, kind, protocol, _, address = info
        reason = judge(str(address[0]))
        if reason is not None:
            raise AddressRefused(errno.EACCES, f"{address[0]} is {reason}; nothing is sent there")
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made

    return make


class Resolver(AbstractResolver):
    """Looks names up in threads of its own, so that dead name servers hold up nobody else."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LOOK_UPS, thread_name_prefix="webhook names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a name. Raises OSError."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
        )
        return [
            {
                "hostname": host,
                "host": str(address[0]),
                "port": int(address[1]),
                "family": each_family,
                "proto": protocol,
                "flags": socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            }
            for each_family, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Begin no further look-up."""
        self._threads.shutdown(wait=False, cancel_futures=True)


IpAddress: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"


def _meanings(address: IpAddress) -> Iterator[IpAddress]:
    """Yield the address, and the IPv4 addresses that it may be taken for on its way."""
    yield address
    if isinstance(address, ipaddress.IPv4Address):
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if address in NAT64 or address in IPV4_COMPATIBLE:
        yield ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)


def _is_ours(host: str) -> bool:
    """Return whether the address is one of this host: the kernel then takes it as the source too. Nothing is sent."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 9))
        except OSError:
            return False  # no way there at all
        return bool(probe.getsockname()[0] == host)


_REASONS: Final[tuple[tuple[str, Callable[[IpAddress], bool]], ...]] = (
    ("a cloud's metadata address", lambda address: address in METADATA),
    ("a loopback address", lambda address: address.is_loopback),
    ("a link-local address", lambda address: address.is_link_local),
    ("a multicast address", lambda address: address.is_multicast),
    ("no address of a host", lambda address: address.is_unspecified or address in THIS_NETWORK or address in RESERVED),
)
