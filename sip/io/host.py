"""What this host is called and which addresses it has; how names of others become addresses."""

from __future__ import annotations

import asyncio
import socket
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from sip.errors import TransportFailed
from sip.flow import Address

RESOLVE_TIMEOUT: Final = 5.0  # seconds
MAX_ADDRESSES: Final = 4  # of one name that are tried; more would keep a call waiting


@lru_cache(maxsize=4096)
def local_host_towards(remote: str) -> str:
    """Return the local address that the host would send from towards the remote one; no packet is sent."""
    family = socket.AF_INET6 if ":" in remote else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((remote, 9))
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


@lru_cache(maxsize=1)
def own_names() -> frozenset[str]:
    """Return the names of this host, in lower case."""
    return frozenset({"localhost", socket.gethostname().lower()})


async def resolve(host: str, port: int) -> list[Address]:
    """Return the addresses of a host, in the order to try them. Raises TransportFailed where there is none."""
    try:
        return [Address(str(ip_address(host)), port)]
    except ValueError:
        pass
    loop = asyncio.get_running_loop()
    try:
        found = await asyncio.wait_for(loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM), RESOLVE_TIMEOUT)
    except (OSError, asyncio.TimeoutError, UnicodeError) as failure:
        raise TransportFailed(f"{host} cannot be resolved") from failure
    return [Address(str(entry[4][0]), port) for entry in found[:MAX_ADDRESSES]]
