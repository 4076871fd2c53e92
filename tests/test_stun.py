"""STUN keepalives of phones over UDP."""

from __future__ import annotations

import pytest
from deaf_registrar import CONNECTION, STRANGER, DeafRegistrar

from sip.flow import Address
from sip.stun import answer_binding

COOKIE = bytes.fromhex("2112a442")
TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")
REQUEST = bytes.fromhex("00010000") + COOKIE + TRANSACTION


@pytest.mark.parametrize(
    ("source", "attribute"),
    [
        pytest.param(Address("192.0.2.1", 32853), "002000080001a147e112a643", id="ipv4"),
        pytest.param(
            Address("2001:db8:1234:5678:11:2233:4455:6677", 32853),
            "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9",
            id="ipv6",
        ),
    ],
)
def test_a_binding_request_is_told_its_source(source: Address, attribute: str) -> None:
    """The values of RFC 5769 2.2 and 2.3."""
    value = bytes.fromhex(attribute)

    assert b"\x01\x01" + len(value).to_bytes(2, "big") + COOKIE + TRANSACTION + value == answer_binding(REQUEST, source)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(REQUEST[:-1], id="cut"),
        pytest.param(REQUEST + b"\0\0\0\0", id="longer-than-it-says"),
        pytest.param(REQUEST.replace(COOKIE, b"\0\0\0\0"), id="no-cookie"),
        pytest.param(b"\x01\x01" + REQUEST[2:], id="response"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_anything_else_is_no_binding_request(data: bytes) -> None:
    assert answer_binding(data, Address("192.0.2.1", 5060)) is None


async def test_a_phone_that_keeps_its_flow_open_is_answered() -> None:
    """RFC 5626 4.4.2: over UDP; a connection has its CRLFs."""
    registrar = DeafRegistrar()
    answers = registrar.answers(REQUEST, STRANGER)

    assert [b"\x01\x01"] == [answer[:2] for answer in answers]
    assert [] == registrar.answers(REQUEST, CONNECTION)
    assert [] == registrar.answers(REQUEST[:-1], STRANGER)
    await registrar.close()
