"""Where a URI leads, by what DNS says (RFC 3263 4, RFC 2782)."""

# ruff: noqa: E501 - the table is read by its columns

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

import pytest

from sip.errors import TransportFailed
from sip.locate import MAX_HOPS, LookupFailed, Naptr, Srv, locate, ordered
from sip.uri import SipUri

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass
class Zone:
    """Implements `sip.locate.Lookup` from tables; `asked` says what it was asked for, in order."""

    naptrs: dict[str, list[Naptr]] = field(default_factory=dict)
    srvs: dict[str, list[Srv]] = field(default_factory=dict)
    hosts: dict[str, list[str]] = field(default_factory=dict)
    deaf: bool = False
    asked: list[str] = field(default_factory=list)

    async def naptr(self, name: str) -> Sequence[Naptr]:
        self._ask(f"NAPTR {name}")
        return self.naptrs.get(name, [])

    async def srv(self, name: str) -> Sequence[Srv]:
        self._ask(f"SRV {name}")
        return self.srvs.get(name, [])

    async def addresses(self, name: str) -> Sequence[str]:
        self.asked.append(f"A {name}")
        return self.hosts.get(name, [])

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.deaf:
            raise LookupFailed


HOSTS = {
    "example.com": ["192.0.2.1"],
    "one.example.com": ["192.0.2.11"],
    "two.example.com": ["192.0.2.21", "2001:db8::21"],
    "pbx": ["192.0.2.9"],
}
SRVS = {
    "_sip._udp.example.com": [Srv(20, 0, 5070, "two.example.com"), Srv(10, 0, 5060, "one.example.com")],
    "_sip._tcp.example.com": [Srv(10, 0, 5062, "one.example.com")],
    "_sips._tcp.example.com": [Srv(10, 0, 5061, "one.example.com")],
    "_own.example.com": [Srv(1, 0, 6000, "two.example.com")],
}
PREFERS_TCP = {
    "example.com": [
        Naptr(20, 0, "SIP+D2U", "_sip._udp.example.com"),
        Naptr(10, 0, "SIP+D2T", "_own.example.com"),
        Naptr(5, 0, "SIP+D2S", "_sctp.example.com"),
    ]
}


@pytest.mark.parametrize(
    ("uri", "zone", "hops"),
    [
        pytest.param("sip:1@192.0.2.7", Zone(), ["udp:192.0.2.7:5060"], id="an-address-is-asked-nobody-for"),
        pytest.param("sip:1@[2001:db8::7]:5080", Zone(), ["udp:[2001:db8::7]:5080"], id="ipv6"),
        pytest.param("sips:1@192.0.2.7", Zone(), ["tls:192.0.2.7:5061"], id="sips"),
        pytest.param("sip:1@x.example;maddr=192.0.2.8;transport=tcp", Zone(), ["tcp:192.0.2.8:5060"], id="maddr"),
        pytest.param("sip:1@example.com:5080", Zone(srvs=SRVS, hosts=HOSTS), ["udp:192.0.2.1:5080"], id="a-port-means-the-host-itself"),
        pytest.param("sip:1@example.com", Zone(hosts=HOSTS), ["udp:192.0.2.1:5060"], id="no-records"),
        pytest.param("sip:1@pbx", Zone(srvs=SRVS, hosts=HOSTS), ["udp:192.0.2.9:5060"], id="a-name-without-a-dot"),
        pytest.param("sip:1@example.com;transport=tcp", Zone(srvs=SRVS, hosts=HOSTS), ["tcp:192.0.2.11:5062"], id="a-named-transport"),
        pytest.param("sip:1@example.com", Zone(srvs=SRVS, hosts=HOSTS), ["udp:192.0.2.11:5060", "udp:192.0.2.21:5070", "udp:[2001:db8::21]:5070", "tcp:192.0.2.11:5062"], id="srv-by-priority-udp-first"),
        pytest.param("sips:1@example.com", Zone(srvs=SRVS, hosts=HOSTS), ["tls:192.0.2.11:5061"], id="sips-never-leaves-tls"),
        pytest.param("sip:1@example.com", Zone(PREFERS_TCP, SRVS, HOSTS), ["tcp:192.0.2.21:6000", "tcp:[2001:db8::21]:6000", "udp:192.0.2.11:5060", "udp:192.0.2.21:5070", "udp:[2001:db8::21]:5070"], id="naptr-chooses"),
        pytest.param("sips:1@example.com", Zone(PREFERS_TCP, SRVS, HOSTS), ["tls:192.0.2.11:5061"], id="naptr-of-sip-is-nothing-to-sips"),
        pytest.param("sip:1@example.com", Zone(srvs=SRVS, hosts=HOSTS, deaf=True), ["udp:192.0.2.1:5060"], id="nobody-answers-for-records"),
        pytest.param("sip:1@example.com", Zone(srvs={"_sip._udp.example.com": [Srv(0, 0, 0, "")]}, hosts=HOSTS), ["udp:192.0.2.1:5060"], id="service-not-there"),
    ],
)  # fmt: skip
async def test_hops(uri: str, zone: Zone, hops: list[str]) -> None:
    """RFC 3263 4.1 and 4.2: transport, port and host."""
    found = await locate(SipUri.parse(uri), zone, lambda: 0.0)

    assert hops == [f"{hop.transport.uri_param}:{hop.address}" for hop in found]


async def test_a_certificate_must_be_for_the_domain_that_was_asked_for() -> None:
    """RFC 5922 4: DNS may say where a domain is served, not who it is."""
    (hop,) = await locate(SipUri.parse("sips:1@example.com"), Zone(srvs=SRVS, hosts=HOSTS), lambda: 0.0)

    assert "example.com" == hop.name


@pytest.mark.parametrize("uri", ["sip:1@nowhere.example", "sip:1@example.com;transport=sctp", "sips:1@example.com;transport=udp"])  # fmt: skip
async def test_what_leads_nowhere(uri: str) -> None:
    with pytest.raises(TransportFailed):
        await locate(SipUri.parse(uri), Zone(), lambda: 0.0)


async def test_a_large_answer_is_not_followed_to_its_end() -> None:
    """Whoever writes a zone decides how many there are, not how many we try."""
    many = {"_sip._udp.example.com": [Srv(1, 1, 5060 + each, "example.com") for each in range(100)]}
    zone = Zone(srvs=many, hosts={"example.com": [f"192.0.2.{each}" for each in range(200)]})

    assert MAX_HOPS == len(await locate(SipUri.parse("sip:1@example.com"), zone, Random(1).random))
    assert len(zone.asked) < 20


def test_weights_share_the_load() -> None:
    """RFC 2782: of one priority, each is picked first as often as its weight says; one of weight 0 rarely."""
    chance = Random(3).random
    records = [Srv(1, 3, 1, "often"), Srv(1, 1, 1, "seldom"), Srv(2, 9, 1, "last")]
    firsts = Counter(next(iter(ordered(records, chance))).target for _ in range(1000))

    assert {"often", "seldom"} == set(firsts)
    assert 650 < firsts["often"] < 850
    assert "last" == list(ordered(records, chance))[-1].target
    assert ["a", "b"] == sorted(each.target for each in ordered([Srv(0, 0, 1, "a"), Srv(0, 0, 1, "b")], chance))
