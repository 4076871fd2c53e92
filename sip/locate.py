"""Where a URI leads: which names DNS is asked for, and in which order the answers are tried (RFC 3263 4, RFC 2782).

Who can be asked is a Protocol; the awaiting is done by whoever implements it.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from sip.errors import TransportFailed
from sip.flow import Address, Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from sip.uri import SipUri

MAX_SERVICES: Final = 4  # NAPTR answers that are followed; there are three transports
MAX_TARGETS: Final = 8  # hosts of one service
MAX_HOPS: Final = 8  # addresses that a request may be sent to, one after the other

WAYS: Final = {
    ("sip", ""): Transport.UDP,
    ("sip", "udp"): Transport.UDP,
    ("sip", "tcp"): Transport.TCP,
    ("sip", "tls"): Transport.TLS,
    ("sips", ""): Transport.TLS,
    ("sips", "tcp"): Transport.TLS,
    ("sips", "tls"): Transport.TLS,
}
"""Scheme and transport parameter of a URI, and how we go there; a WebSocket is opened by phones alone."""

_SERVICES: Final = {"SIP+D2U": Transport.UDP, "SIP+D2T": Transport.TCP, "SIPS+D2T": Transport.TLS}
_LABELS: Final = {Transport.UDP: "_sip._udp", Transport.TCP: "_sip._tcp", Transport.TLS: "_sips._tcp"}
_BY_SCHEME: Final = {"sip": (Transport.UDP, Transport.TCP), "sips": (Transport.TLS,)}


class Naptr(NamedTuple):
    """A NAPTR record (RFC 3403 4.1)."""

    order: int
    preference: int
    service: str
    """In capitals."""
    replacement: str


class Srv(NamedTuple):
    """An SRV record (RFC 2782)."""

    priority: int
    weight: int
    port: int
    target: str
    """Without the dot at its end; empty where the service is not there."""


class Hop(NamedTuple):
    """One place to send a request to."""

    transport: Transport
    address: Address
    name: str
    """What a certificate must be for: the domain of the URI (RFC 5922 4)."""


class Lookup(Protocol):
    """Who knows names. An empty answer is one too; LookupFailed is raised where nobody answers."""

    async def naptr(self, name: str) -> Sequence[Naptr]:
        """Return the NAPTR records of a name."""
        ...

    async def srv(self, name: str) -> Sequence[Srv]:
        """Return the SRV records of a name."""
        ...

    async def addresses(self, name: str) -> Sequence[str]:
        """Return the addresses of a name, in the order to try them."""
        ...


class LookupFailed(Exception):
    """No server of names answered."""


@dataclass(frozen=True, slots=True)
class _Place:
    """A host and port by one transport."""

    transport: Transport
    host: str
    port: int


async def locate(uri: SipUri, lookup: Lookup, chance: Callable[[], float]) -> list[Hop]:
    """Return where requests for a URI go, in the order to try them. Raises TransportFailed where it is nowhere."""
    named = (uri.param("transport") or "").lower()
    transport = WAYS.get((uri.scheme, named))
    if transport is None:
        raise TransportFailed(f"no way by {uri.scheme}: and transport={named}")
    host = uri.param("maddr") or uri.host
    if _is_address(host):
        return [Hop(transport, Address(str(ip_address(host)), uri.port or transport.default_port), uri.host)]
    places = [_Place(transport, host, uri.port)] if uri.port else await _services(uri, host, lookup, chance)
    hops = [hop async for hop in _resolved(places or [_Place(transport, host, transport.default_port)], uri, lookup)]
    if not hops:
        raise TransportFailed(f"{host} cannot be resolved")
    return hops[:MAX_HOPS]


def ordered(records: Sequence[Srv], chance: Callable[[], float]) -> Iterator[Srv]:
    """Yield SRV records by priority, and those of one priority by chance as their weights say (RFC 2782)."""
    for _, group in groupby(sorted(records), key=lambda record: record.priority):
        left = list(group)
        while left:
            point = chance() * sum(record.weight for record in left)
            picked = next((record for record in left if (point := point - record.weight) < 0), left[0])
            left.remove(picked)
            yield picked


async def _services(uri: SipUri, host: str, lookup: Lookup, chance: Callable[[], float]) -> list[_Place]:
    """Return the hosts that DNS names for a domain; none where it has no such records, or nobody answers."""
    if "." not in host.strip("."):
        return []  # a name of this network, for which nobody makes such records
    try:
        services = await _transports(uri, host, lookup)
        return [place for service in services for place in await _hosts(*service, lookup, chance)]
    except LookupFailed:
        return []


async def _transports(uri: SipUri, host: str, lookup: Lookup) -> list[tuple[Transport, str]]:
    """Return the transports to use, each with the name that its SRV records have (RFC 3263 4.1)."""
    named = uri.param("transport")
    if named is None:
        records = sorted(await lookup.naptr(host))
        wanted = [each for each in records if each.service in _SERVICES and _is_secure_enough(uri, each)]
        if wanted:
            return [(_SERVICES[each.service], each.replacement) for each in wanted[:MAX_SERVICES]]
    transports = _BY_SCHEME[uri.scheme] if named is None else (WAYS[uri.scheme, named.lower()],)
    return [(transport, f"{_LABELS[transport]}.{host}") for transport in transports]


async def _hosts(transport: Transport, name: str, lookup: Lookup, chance: Callable[[], float]) -> list[_Place]:
    records = list(ordered(await lookup.srv(name), chance))[:MAX_TARGETS]
    return [_Place(transport, record.target, record.port) for record in records if record.target]


async def _resolved(places: Sequence[_Place], uri: SipUri, lookup: Lookup) -> AsyncIterator[Hop]:
    for place in places:
        try:
            addresses = await lookup.addresses(place.host)
        except LookupFailed:
            continue
        for address in addresses:
            yield Hop(place.transport, Address(address, place.port), uri.host)


def _is_secure_enough(uri: SipUri, record: Naptr) -> bool:
    # RFC 3263 4.1: for a SIPS URI, any service but "SIPS" MUST be discarded.
    return uri.scheme != "sips" or record.service.startswith("SIPS")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
