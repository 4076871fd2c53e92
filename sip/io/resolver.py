"""Asks DNS, off the event loop or without blocking it, within named limits (RFC 3263).

SRV and NAPTR are asked for by dnspython. Addresses are the host's own to find, with its hosts file and search list,
unless servers are named: then these alone are asked.
"""

from __future__ import annotations

import asyncio
import random
import socket
from typing import TYPE_CHECKING, Final

import structlog
from dns.asyncresolver import Resolver as DnsResolver
from dns.exception import DNSException, Timeout
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA
from dns.rdtypes.IN.NAPTR import NAPTR
from dns.rdtypes.IN.SRV import SRV
from dns.resolver import LRUCache, NoNameservers, NoResolverConfiguration

from sip.errors import TransportFailed
from sip.locate import Hop, LookupFailed, Naptr, Srv, locate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dns.rdata import Rdata

    from sip.flow import Address
    from sip.uri import SipUri

log = structlog.get_logger(__name__)

RESOLVE_TIMEOUT: Final = 5.0  # seconds for a URI, all its names together
LOOKUP_TIMEOUT: Final = 1.5  # seconds for one record, all servers and retries together
MAX_ADDRESSES: Final = 4  # of one name that are tried; more would keep a call waiting
MAX_RECORDS: Final = 32  # of one answer that are looked at
CACHED: Final = 1000  # answers that are kept, for as long as they say


class Resolver:
    """Implements `sip.locate.Lookup`."""

    def __init__(self, servers: Sequence[Address] = ()) -> None:
        self._named = bool(servers)
        self._dns = _dns_of(servers)

    async def locate(self, uri: SipUri) -> list[Hop]:
        """Return where requests for a URI go, in the order to try them. Raises TransportFailed where it is nowhere."""
        try:
            return await asyncio.wait_for(locate(uri, self, random.random), RESOLVE_TIMEOUT)
        except (asyncio.TimeoutError, TimeoutError):
            raise TransportFailed(f"{uri.host} was not resolved in time") from None

    async def naptr(self, name: str) -> Sequence[Naptr]:
        """Return the NAPTR records of a name. Raises LookupFailed."""
        return [
            Naptr(each.order, each.preference, _text(each.service).upper(), _name(each.replacement))
            for each in await self._ask(name, "NAPTR")
            if isinstance(each, NAPTR) and _text(each.flags).lower() == "s"
        ]

    async def srv(self, name: str) -> Sequence[Srv]:
        """Return the SRV records of a name. Raises LookupFailed."""
        found = await self._ask(name, "SRV")
        return [
            Srv(each.priority, each.weight, each.port, _name(each.target)) for each in found if isinstance(each, SRV)
        ]

    async def addresses(self, name: str) -> Sequence[str]:
        """Return the addresses of a name. Raises LookupFailed."""
        if not self._named:
            return await _host_addresses(name)
        found = [*await self._ask(name, "A"), *await self._ask(name, "AAAA")]
        return [str(each.address) for each in found if isinstance(each, A | AAAA)][:MAX_ADDRESSES]

    async def _ask(self, name: str, kind: str) -> list[Rdata]:
        if self._dns is None:
            raise LookupFailed
        try:
            answer = await self._dns.resolve(name, kind, search=False, raise_on_no_answer=False)
        except (Timeout, NoNameservers) as failure:
            log.warning("dns.unanswered", name=name, kind=kind, reason=str(failure)[:256])
            raise LookupFailed from None
        except (DNSException, OSError, UnicodeError) as failure:
            log.debug("dns.no_record", name=name, kind=kind, reason=str(failure)[:256])
            return []
        return list(answer.rrset or ())[:MAX_RECORDS]


def _dns_of(servers: Sequence[Address]) -> DnsResolver | None:
    """Make what asks DNS; None where this host names no server."""
    try:
        dns = DnsResolver(configure=not servers)
    except NoResolverConfiguration:
        return None
    if servers:
        dns.nameservers = [server.host for server in servers]
        dns.nameserver_ports = {server.host: server.port for server in servers}
    dns.lifetime = LOOKUP_TIMEOUT
    dns.cache = LRUCache(CACHED)
    return dns


async def _host_addresses(name: str) -> Sequence[str]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return []
    return [str(entry[4][0]) for entry in found[:MAX_ADDRESSES]]


def _name(value: object) -> str:
    return str(value).rstrip(".")


def _text(value: bytes) -> str:
    return value.decode("ascii", "replace")
