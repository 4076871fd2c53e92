"""Asking a real DNS server on loopback, within the limits (RFC 3263)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from dns_server import DnsServer

from sip.errors import TransportFailed
from sip.io import resolver
from sip.io.resolver import Resolver
from sip.uri import SipUri

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ZONE = {
    ("pbx.test.", "NAPTR"): [
        '10 50 "s" "SIP+D2T" "" _sip._tcp.pbx.test.',
        '20 50 "s" "SIP+D2U" "" _sip._udp.pbx.test.',
    ],
    ("_sip._tcp.pbx.test.", "SRV"): ["10 0 5070 a.pbx.test."],
    ("_sip._udp.pbx.test.", "SRV"): ["10 0 5060 a.pbx.test.", "20 0 5060 b.pbx.test."],
    ("a.pbx.test.", "A"): ["127.0.0.1"],
    ("b.pbx.test.", "A"): ["127.0.0.2"],
    ("b.pbx.test.", "AAAA"): ["::1"],
    ("plain.test.", "A"): ["127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6", "127.0.0.7"],
    ("broken.test.", "NAPTR"): ['10 50 "u" "E2U+sip" "!^.*$!sip:x@y!" .'],
    ("broken.test.", "A"): ["127.0.0.8"],
}  # fmt: skip


@pytest.fixture
async def server() -> AsyncIterator[DnsServer]:
    server = await DnsServer(ZONE).start()
    yield server
    server.close()


async def hops(resolver: Resolver, uri: str) -> list[str]:
    return [f"{hop.transport.uri_param}:{hop.address}" for hop in await resolver.locate(SipUri.parse(uri))]


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sip:1@pbx.test", ["tcp:127.0.0.1:5070", "udp:127.0.0.1:5060", "udp:127.0.0.2:5060", "udp:[::1]:5060"]),
        ("sip:1@pbx.test;transport=udp", ["udp:127.0.0.1:5060", "udp:127.0.0.2:5060", "udp:[::1]:5060"]),
        ("sip:1@a.pbx.test:5099", ["udp:127.0.0.1:5099"]),
        ("sip:1@broken.test", ["udp:127.0.0.8:5060"]),
    ],
)
async def test_what_a_zone_says(server: DnsServer, uri: str, expected: list[str]) -> None:
    """NAPTR, then SRV, then addresses, as the records say and not further."""
    assert expected == await hops(Resolver([server.address]), uri)


async def test_no_more_addresses_than_the_limit(server: DnsServer) -> None:
    """Each of them may cost a call some seconds."""
    assert resolver.MAX_ADDRESSES == len(await hops(Resolver([server.address]), "sip:1@plain.test"))


async def test_answers_are_kept_for_as_long_as_they_say(server: DnsServer) -> None:
    """A call is not to wait for DNS where the last one has."""
    asking = Resolver([server.address])
    first = await hops(asking, "sip:1@pbx.test")
    asked = len(server.asked)

    assert first == await hops(asking, "sip:2@pbx.test")
    assert asked == len(server.asked)


async def test_a_name_that_nobody_has(server: DnsServer) -> None:
    with pytest.raises(TransportFailed, match=r"nobody\.test cannot be resolved"):
        await Resolver([server.address]).locate(SipUri.parse("sip:1@nobody.test"))


async def test_a_server_that_does_not_answer_costs_no_more_than_the_limit() -> None:
    """A call must not hang on it."""
    server = await DnsServer({}, silent=True).start()
    began = asyncio.get_running_loop().time()
    with pytest.raises(TransportFailed):
        await Resolver([server.address]).locate(SipUri.parse("sip:1@pbx.test"))
    server.close()

    assert asyncio.get_running_loop().time() - began < resolver.RESOLVE_TIMEOUT + 0.5


async def test_the_hosts_own_names_need_no_server() -> None:
    """Without servers of its own, it asks as every program of the host does."""
    assert "udp:127.0.0.1:5080" in await hops(Resolver(), "sip:1@localhost:5080")
