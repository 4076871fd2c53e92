"""What RFC 5118 says of IPv6 in SIP, by requests like its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from deaf_registrar import DEVICE, STRANGER, DeafRegistrar

from sip.flow import Address
from sip.message import Response, parse_message
from sip.sdp import SessionDescription
from sip.uri import SipUri

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PHONE = STRANGER._replace(local=Address("2001:db8::10", 5060), host="2001:db8::9:1", port=5060)


@pytest.fixture
async def registrar() -> AsyncIterator[DeafRegistrar]:
    registrar = DeafRegistrar()
    yield registrar
    await registrar.close()


def register(
    uri: str = "sip:[2001:db8::10]", *, via: str = "[2001:db8::9:1]", contact: str = "[2001:db8::9:1]"
) -> bytes:
    return (
        f"REGISTER {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {via};branch=z9hG4bKas3-111\r\n"
        "From: <sip:desk@office.example>;tag=81x2\r\nTo: <sip:desk@office.example>\r\n"
        f"Call-ID: SSG9559905523997077@hlau_4100\r\nCSeq: 98176 REGISTER\r\nContact: <sip:desk@{contact}>\r\n"
        "Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    ).encode()


@pytest.mark.parametrize(
    ("wire", "status"),
    [
        pytest.param(register(), 401, id="4.1-reference"),
        pytest.param(register("sip:2001:db8::10"), 400, id="4.2-without-brackets"),
        pytest.param(register("sip:[2001:db8::10:5070]"), 401, id="4.3-port-that-is-none"),
        pytest.param(register("sip:[2001:db8::10]:5070"), 401, id="4.4-port"),
        pytest.param(register(via="[2001:db8::9:1];received=[2001:db8::9:255]"), 401, id="4.5-received-in-brackets"),
        pytest.param(register(via="[2001:db8::9:1];received=2001:db8::9:255"), 401, id="4.5-received-without"),
        pytest.param(register(via="2001:db8::9:1"), 400, id="via-without-brackets"),
        pytest.param(register("sip:[2001:db8:::192.0.2.1]"), 401, id="4.10-a-colon-too-many"),
    ],
)
async def test_requests_with_ipv6_addresses(registrar: DeafRegistrar, wire: bytes, status: int) -> None:
    """A REGISTER that is read is challenged."""
    (answer,) = [parse_message(wire) for wire in registrar.answers(wire, PHONE)]

    assert isinstance(answer, Response)
    assert status == answer.status
    assert 0 == registrar.faults


def test_a_port_within_the_brackets_is_part_of_the_address() -> None:
    """RFC 5118 4.3 and 4.4."""
    assert ("2001:db8::10:5070", None) == _host_and_port("sip:[2001:db8::10:5070]")
    assert ("2001:db8::10", 5070) == _host_and_port("sip:[2001:db8::10]:5070")


@pytest.mark.parametrize("contact", ["[2001:db8::9:1]", "[2001:db8::9:1]:5062", "[::ffff:192.0.2.10]"])
async def test_a_contact_with_an_ipv6_address_is_bound(registrar: DeafRegistrar, contact: str) -> None:
    """In brackets it goes in, in brackets it comes back (RFC 5118 4.7, 4.9)."""
    (wire,) = registrar.answers(register(contact=contact), DEVICE)
    answer = parse_message(wire)

    assert [f"<sip:desk@{contact}>"] == [value.partition(";")[0] for value in answer.values("Contact")]


@pytest.mark.parametrize("host", ["2001:db8::20", "::ffff:192.0.2.10", "2001:db8::9:255"])
def test_sdp_names_ipv6_addresses_without_brackets(host: str) -> None:
    """RFC 5118 4.6, 4.8, 4.9."""
    lines = ("v=0", f"o=a 971731711 0 IN IP6 {host}", "s=-", f"c=IN IP6 {host}", "t=0 0", "m=audio 6000 RTP/AVP 0", "")
    description = SessionDescription.parse("\r\n".join(lines).encode())

    assert host in description.encode().decode()


def _host_and_port(text: str) -> tuple[str, int | None]:
    uri = SipUri.parse(text)
    return uri.host, uri.port
