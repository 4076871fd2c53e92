"""Via values: read, marked with the source, and followed back."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip.errors import ParseError
from sip.flow import Address
from sip.via import Via

if TYPE_CHECKING:
    from sip.headers import Params

SOURCE = Address("198.51.100.7", 61234)


@pytest.mark.parametrize(
    ("text", "transport", "host", "port", "params"),
    [
        pytest.param("SIP/2.0/UDP pc33.atlanta.com", "UDP", "pc33.atlanta.com", None, (), id="name"),
        pytest.param(
            "SIP/2.0/TCP 192.0.2.1:5066;branch=z9hG4bK87asdks7;rport",
            "TCP",
            "192.0.2.1",
            5066,
            (("branch", "z9hG4bK87asdks7"), ("rport", None)),
            id="branch-and-rport",
        ),
        pytest.param(
            "SIP/2.0/UDP [2001:db8::9:1];received=2001:db8::9:255;branch=z9hG4bKas3-111",
            "UDP",
            "2001:db8::9:1",
            None,
            (("received", "2001:db8::9:255"), ("branch", "z9hG4bKas3-111")),
            id="rfc5118-ipv6-without-brackets-in-received",
        ),
        pytest.param(
            "SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bK56sdasks;alias",
            "WSS",
            "df7jal23ls0d.invalid",
            None,
            (("branch", "z9hG4bK56sdasks"), ("alias", None)),
            id="websocket",
        ),
        pytest.param(
            "SIP/2.0/UNKNOWN h;keep=", "UNKNOWN", "h", None, (("keep", ""),), id="unknown-transport-empty-value"
        ),
        pytest.param(
            'SIP/2.0/TLS h:5061;i="a;b,c";branch=z9hG4bK.~*_+`\'%',
            "TLS",
            "h",
            5061,
            (("i", '"a;b,c"'), ("branch", "z9hG4bK.~*_+`'%")),
            id="quoted-value-and-odd-branch",
        ),
    ],
)
def test_via_is_read_and_written_back(text: str, transport: str, host: str, port: int | None, params: Params) -> None:
    """A response repeats what the client wrote (RFC 3261 8.2.6.2, 20.42)."""
    via = Via.parse(text)

    assert (transport, host, port, params) == (via.transport, via.host, via.port, via.params)
    assert text == str(via)


def test_white_space_and_case_of_via_do_not_matter() -> None:
    """RFC 4475 3.1.1.1 has such a one."""
    via = Via.parse("SIP  / 2.0\t/ udp  192.0.2.2 : 5060 ;Branch=390skdjuw ; hidden")

    assert str(via) == "SIP/2.0/UDP 192.0.2.2:5060;branch=390skdjuw;hidden"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("SIP/2.0/UDP", id="no-sent-by"),
        pytest.param("SIP/2.0 192.0.2.1", id="no-transport"),
        pytest.param("HTTP/1.1/UDP 192.0.2.1", id="another-protocol"),
        pytest.param("SIP/2.0/UDP 192.0.2.1:port", id="port-is-no-number"),
        pytest.param("SIP/2.0/UDP 192.0.2.1:65536", id="port-too-high"),
        pytest.param("SIP/2.0/UDP h;;branch=x", id="rfc4475-badinv01"),
        pytest.param("SIP/2.0/UDP h;=x", id="parameter-without-name"),
        pytest.param('SIP/2.0/UDP h;a="x', id="quotes-without-end"),
        pytest.param("SIP/2.0/UDP a b", id="two-hosts"),
    ],
)
def test_malformed_via_is_refused(text: str) -> None:
    """It cannot be answered along."""
    with pytest.raises(ParseError):
        Via.parse(text)


@pytest.mark.parametrize(
    ("text", "marked", "reply"),
    [
        pytest.param(
            "SIP/2.0/UDP 198.51.100.7:5062;branch=z", "SIP/2.0/UDP 198.51.100.7:5062;branch=z",
            Address("198.51.100.7", 5062), id="sent-by-is-the-source",
        ),
        pytest.param(
            "SIP/2.0/UDP 192.0.2.1;branch=z", "SIP/2.0/UDP 192.0.2.1;branch=z;received=198.51.100.7",
            Address("198.51.100.7", 5060), id="another-address",
        ),
        pytest.param(
            "SIP/2.0/UDP pc33:5070;branch=z", "SIP/2.0/UDP pc33:5070;branch=z;received=198.51.100.7",
            Address("198.51.100.7", 5070), id="a-name",
        ),
        pytest.param(
            "SIP/2.0/UDP 198.51.100.7;rport;branch=z",
            "SIP/2.0/UDP 198.51.100.7;rport=61234;branch=z;received=198.51.100.7", SOURCE, id="rport-asked-for",
        ),
        pytest.param(
            "SIP/2.0/UDP 198.51.100.7:5062;branch=z;rport",
            "SIP/2.0/UDP 198.51.100.7:5062;branch=z;rport=61234;received=198.51.100.7", SOURCE, id="rport-at-the-end",
        ),
        pytest.param(
            "SIP/2.0/UDP 198.51.100.7;rport;branch=z;rport",
            "SIP/2.0/UDP 198.51.100.7;rport=61234;branch=z;received=198.51.100.7", SOURCE, id="rport-asked-for-twice",
        ),
        pytest.param(
            "SIP/2.0/UDP 10.0.0.1;rport=5060;received=203.0.113.9;branch=z",
            "SIP/2.0/UDP 10.0.0.1;rport=61234;branch=z;received=198.51.100.7", SOURCE, id="what-the-client-claims",
        ),
        pytest.param(
            "SIP/2.0/UDP 198.51.100.7;maddr=203.0.113.9;branch=z",
            "SIP/2.0/UDP 198.51.100.7;maddr=203.0.113.9;branch=z", Address("198.51.100.7", 5060),
            id="maddr-is-not-followed",
        ),
    ],
)  # fmt: skip
def test_server_marks_the_source_and_answers_it(text: str, marked: str, reply: Address) -> None:
    """`received` and `rport` are the server's to say (RFC 3261 18.2.1, 18.2.2; RFC 3581 4)."""
    via = Via.parse(text)

    assert marked == via.marked(*SOURCE)
    assert reply == Address(SOURCE.host, via.reply_port(SOURCE.port))


def test_ipv6_source_is_written_without_brackets() -> None:
    """As RFC 5118 4.5 shows it."""
    marked = Via.parse("SIP/2.0/UDP host.example;rport").marked("2001:db8::1", 5060)

    assert marked == "SIP/2.0/UDP host.example;rport=5060;received=2001:db8::1"
    assert marked == str(Via.parse(marked))


@pytest.mark.parametrize(
    ("text", "sent_by", "branch"),
    [
        ("SIP/2.0/UDP Host.Example:5060;branch=z9hG4bKx", "host.example:5060", "z9hG4bKx"),
        ("SIP/2.0/UDP Host.Example", "host.example", None),
        ("SIP/2.0/UDP h;branch=", "h", None),
        ("SIP/2.0/TLS [2001:DB8::1]:5061;rport;branch=z9hG4bKx", "[2001:db8::1]:5061", "z9hG4bKx"),
    ],
)
def test_parts_of_the_transaction_key(text: str, sent_by: str, branch: str | None) -> None:
    """A name without port is not the same as with 5060 (RFC 3261 17.2.3); RFC 2543 clients send no branch."""
    via = Via.parse(text)

    assert (sent_by, branch) == (via.sent_by, via.branch)


@given(st.text() | st.text().map(lambda text: "SIP/2.0/UDP h" + text))
def test_no_text_raises_anything_but_a_parse_error(text: str) -> None:
    """And what is accepted is read the same again from what is written."""
    try:
        via = Via.parse(text)
    except ParseError:
        return

    assert via == Via.parse(str(via))
    assert via.marked(*SOURCE) == str(Via.parse(via.marked(*SOURCE)))


@given(
    st.sampled_from(["SIP/2.0/UDP ", "SIP/2.0/tls ", "SIP/2.0/TCP  "]),
    st.sampled_from(["192.0.2.1", "Host.example", "[2001:db8::1]", "[x]"]),
    st.sampled_from(["", ":5060", ":05060", ":65536", ":", " :5060"]),
    st.lists(
        st.sampled_from([";rport", ";branch=z9hG4bKa", ";branch=", ";Rport", ";received=a", ";a=b", ' ;x="q"']),
        max_size=4,
    ),
)
def test_usual_via_is_read_as_any_other(start: str, host: str, port: str, params: list[str]) -> None:
    """There is a pattern for what nearly every phone sends; it must see nothing else in it."""
    text = start + host + port + "".join(params)
    try:
        usual = Via.parse(text)
    except ParseError:
        return
    spaced = Via.parse(f" {text}")  # which is none of the usual

    assert (spaced, spaced.marked(*SOURCE)) == (usual, usual.marked(*SOURCE))


@pytest.mark.parametrize("unit", [" ", "a", ":", ";", ";a", ";a=", '"', "\\", " :", "; "])
@pytest.mark.parametrize("head", ["", "SIP/2.0/UDP h", "SIP/2.0/UDP h;a", 'SIP/2.0/UDP h;a="'])
def test_long_value_of_one_repeated_piece_is_read_fast(head: str, unit: str) -> None:
    """No pattern backtracks over more than its own piece: 60 KB take milliseconds, not minutes."""
    text = head + (unit * 60_000)[:60_000]
    began = time.process_time()
    for end in ("", "x", "\x00", ">"):
        with suppress(ParseError):
            Via.parse(text + end)

    assert time.process_time() - began < 1
