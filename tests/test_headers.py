"""Header names, and the value grammar that many headers share."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip.errors import ParseError
from sip.headers import (
    CSeq,
    NameAddr,
    Params,
    header_name,
    parse_params,
    parse_seconds,
    quote,
    split_first,
    split_values,
    unquote,
)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Call-ID", "Call-ID"),
        ("call-id", "Call-ID"),
        ("i", "Call-ID"),
        ("I", "Call-ID"),
        ("CSEQ", "CSeq"),
        ("v", "Via"),
        ("m ", "Contact"),
        ("l\t", "Content-Length"),
        ("k", "Supported"),
        ("o", "Event"),
        ("www-authenticate", "WWW-Authenticate"),
        ("MIME-version", "MIME-Version"),
        ("max-forwards", "Max-Forwards"),
        ("P-ASSERTED-IDENTITY", "P-Asserted-Identity"),
        ("X-KAZOO-AOR", "X-KAZOO-AOR"),
        ("x-unknown-header", "X-Unknown-Header"),
        ("q", "Q"),
    ],
)
def test_header_name_has_one_spelling(written: str, name: str) -> None:
    """Case and compact forms do not matter (RFC 3261 7.3.1, 7.3.3)."""
    assert name == header_name(written)


@pytest.mark.parametrize(
    ("text", "display", "uri", "params", "written"),
    [
        pytest.param("<sip:a@h>", "", "sip:a@h", (), "<sip:a@h>", id="brackets"),
        pytest.param("sip:a@h", "", "sip:a@h", (), "<sip:a@h>", id="bare"),
        pytest.param(
            "sip:a@h;tag=1",
            "",
            "sip:a@h",
            (("tag", "1"),),
            "<sip:a@h>;tag=1",
            id="bare-parameters-are-the-headers",
        ),
        pytest.param(
            "<sip:a@h;lr;transport=tcp>;expires=60",
            "",
            "sip:a@h;lr;transport=tcp",
            (("expires", "60"),),
            "<sip:a@h;lr;transport=tcp>;expires=60",
            id="parameters-of-both",
        ),
        pytest.param(
            "Alice <sip:a@h>;tag=x", "Alice", "sip:a@h", (("tag", "x"),), '"Alice" <sip:a@h>;tag=x', id="token"
        ),
        pytest.param(
            "J. van der Watson <sip:a@h>",
            "J. van der Watson",
            "sip:a@h",
            (),
            '"J. van der Watson" <sip:a@h>',
            id="several-tokens",
        ),
        pytest.param(
            '"A \\"B\\" \\\\C, <d>" <sip:a@h>',
            'A "B" \\C, <d>',
            "sip:a@h",
            (),
            '"A \\"B\\" \\\\C, <d>" <sip:a@h>',
            id="quoted",
        ),
        pytest.param(
            '"caller"<sip:caller@example.com>',
            "caller",
            "sip:caller@example.com",
            (),
            '"caller" <sip:caller@example.com>',
            id="rfc4475-lwsdisp",
        ),
        pytest.param('"" <sip:a@h>', "", "sip:a@h", (), "<sip:a@h>", id="empty-display"),
        pytest.param("  <sip:a@h>  ;  tag = x ", "", "sip:a@h", (("tag", "x"),), "<sip:a@h>;tag=x", id="white-space"),
        pytest.param(
            "<tel:+1>;Q=0.5;Flag",
            "",
            "tel:+1",
            (("q", "0.5"), ("flag", None)),
            "<tel:+1>;q=0.5;flag",
            id="any-scheme-names-in-lower-case",
        ),
        pytest.param(
            '<sip:a@h>;+sip.instance="<urn:uuid:0-1>";reg-id=1',
            "",
            "sip:a@h",
            (("+sip.instance", "<urn:uuid:0-1>"), ("reg-id", "1")),
            '<sip:a@h>;+sip.instance="<urn:uuid:0-1>";reg-id=1',
            id="instance",
        ),
        pytest.param(
            '<sip:a@h>;x="";y=[2001:db8::1];z="[;"',
            "",
            "sip:a@h",
            (("x", ""), ("y", "[2001:db8::1]"), ("z", "[;")),
            '<sip:a@h>;x="";y=[2001:db8::1];z="[;"',
            id="values-that-need-quotes-and-one-that-does-not",
        ),
        pytest.param("Größe <sip:a@h>", "Größe", "sip:a@h", (), '"Größe" <sip:a@h>', id="utf-8"),
        pytest.param(
            "<sip:a@h?Route=%3Csip:sip.example.com%3E>",
            "",
            "sip:a@h?Route=%3Csip:sip.example.com%3E",
            (),
            "<sip:a@h?Route=%3Csip:sip.example.com%3E>",
            id="rfc4475-regescrt",
        ),
    ],
)
def test_address_is_read_and_written_back(text: str, display: str, uri: str, params: Params, written: str) -> None:
    """name-addr and addr-spec (RFC 3261 20.10, 25.1)."""
    address = NameAddr.parse(text)

    assert NameAddr(display, uri, params) == address
    assert written == str(address)
    assert address == NameAddr.parse(written)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param(";tag=1", id="no-uri"),
        pytest.param('"Mr. J. User <sip:j.user@example.com>', id="rfc4475-quotbal"),
        pytest.param("Bell, Alexander <sip:a.g.bell@example.com>", id="rfc4475-baddn"),
        pytest.param("sip:user@example.com?Route=%3Csip:sip.example.com%3E", id="rfc4475-regbadct"),
        pytest.param("sip:a@h,sip:b@h", id="comma-without-brackets"),
        pytest.param("sip:a b@h", id="space-without-brackets"),
        pytest.param('"Alice" sip:a@h', id="display-without-brackets"),
        pytest.param('"Alice" x <sip:a@h>', id="text-after-the-quotes"),
        pytest.param("<sip:a@h", id="bracket-not-closed"),
        pytest.param("sip:a@h>", id="bracket-not-opened"),
        pytest.param("<<sip:a@h>>", id="brackets-twice"),
        pytest.param("<sip:a@h> x", id="text-after-the-bracket"),
        pytest.param("<sip:a@h>;;tag=1", id="empty-parameter"),
        pytest.param('<sip:a@h>;tag="1', id="quotes-without-end"),
        pytest.param("<sip:a@h>;tag=1,2", id="comma-in-a-parameter"),
    ],
)
def test_malformed_address_is_refused(text: str) -> None:
    """Nothing is stored half read."""
    with pytest.raises(ParseError):
        NameAddr.parse(text)


def test_parameters_of_an_address_can_be_asked_for_and_set() -> None:
    """The tag is one of them (RFC 3261 19.3)."""
    address = NameAddr.parse('"A" <sip:a@h>;x;tag=1')

    assert (address.tag, address.param("x"), address.param("y")) == ("1", "", None)
    assert str(address.with_param("tag", "2").with_param("y", None)) == '"A" <sip:a@h>;x;tag=2;y'


@pytest.mark.parametrize(
    ("text", "number", "method"),
    [("1 INVITE", 1, "INVITE"), ("0009\t INVITE", 9, "INVITE"), ("2147483647 RE%47", 2**31 - 1, "RE%47")],
)
def test_cseq_is_read_and_written_back(text: str, number: int, method: str) -> None:
    """Up to 2**31 - 1 (RFC 3261 8.1.1.5)."""
    cseq = CSeq.parse(text)

    assert CSeq(number, method) == cseq
    assert cseq == CSeq.parse(str(cseq))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "INVITE",
        "1INVITE",
        "-1 INVITE",
        "1 INVITE x",
        "2147483648 INVITE",
        "36893488147419103232 REGISTER",
        "1 (x)",
    ],
)
def test_malformed_cseq_is_refused(text: str) -> None:
    """RFC 4475 3.1.2.4 among them."""
    with pytest.raises(ParseError):
        CSeq.parse(text)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        pytest.param("a", ["a"], id="one"),
        pytest.param("a, b ,c", ["a", "b", "c"], id="several"),
        pytest.param("a,,b,", ["a", "", "b", ""], id="empty-ones"),
        pytest.param(
            '"a, b" <sip:x>, <sip:y,z>;p="q,r"', ['"a, b" <sip:x>', '<sip:y,z>;p="q,r"'], id="quotes-and-brackets"
        ),
        pytest.param('"a\\", b" <sip:x>,c', ['"a\\", b" <sip:x>', "c"], id="escaped-quote"),
        pytest.param('"a, b', ['"a, b'], id="quotes-without-end"),
        pytest.param("<a, b", ["<a, b"], id="bracket-without-end"),
        pytest.param('"a\\', ['"a\\'], id="backslash-at-the-end"),
        pytest.param('x\\, "y,"', ["x\\", '"y,"'], id="backslash-outside-quotes"),
    ],
)
def test_values_come_apart_at_their_commas(text: str, values: list[str]) -> None:
    """Except within quotes or angle brackets (RFC 3261 7.3.1)."""
    assert values == split_values(text)


@pytest.mark.parametrize("text", ["a", "a, b ,c", ",", " a ,", '"a, b" <sip:x>, <sip:y,z>', '"a, b', "<a, b", ""])
def test_first_value_comes_off_as_when_all_come_apart(text: str) -> None:
    """What is behind it stays as it was."""
    first, others = split_first(text)

    assert split_values(text) == ([first, *split_values(others)] if others or "," in text[len(first) :] else [first])


@given(st.lists(st.from_regex(r'[a-z]+|"([a-z,<> ]|\\.)*"|<[a-z,]*>', fullmatch=True), min_size=1))
def test_joined_values_come_apart_again(values: list[str]) -> None:
    """Whatever they hold within quotes or brackets."""
    assert values == split_values(", ".join(values))


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ("", ()),
        (";a;b=1; C = 2 ;d=", (("a", None), ("b", "1"), ("c", "2"), ("d", ""))),
        (';a="x;y\\"z"', (("a", 'x;y"z'),)),
        (";a=<x;y>", (("a", "<x;y>"),)),
        (";newparam=!$%&'*+-./:=?@[]^_`{|}~", (("newparam", "!$%&'*+-./:=?@[]^_`{|}~"),)),
    ],
)
def test_parameters_are_read(text: str, params: Params) -> None:
    """Leniently in what a value may hold (RFC 3261 25.1, generic-param)."""
    assert params == parse_params(text)


@pytest.mark.parametrize("text", ["a", ";", ";=1", ";a=1;;b", ';a="', ";a b", ";a,b", ";a=<x"])
def test_malformed_parameters_are_refused(text: str) -> None:
    """With the place where it was seen."""
    with pytest.raises(ParseError):
        parse_params(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3600", 3600), (" 60 ", 60), ('"60"', 60), ("0", 0), ("4294967295", 2**32 - 1), ("4294967296", 7),
        ("99999999999999999999", 7), ("", 7), ("-1", 7), ("1e3", 7), ("60s", 7), ("٣", 7), ("3600User-Agent: x", 7),
    ],
)  # fmt: skip
def test_seconds_are_read_leniently(text: str, seconds: int) -> None:
    """What is malformed stands for the default (RFC 3261 10.3, step 6)."""
    assert seconds == parse_seconds(text, default=7)


@given(st.text())
def test_quoted_text_means_the_same(text: str) -> None:
    """RFC 3261 25.1, quoted-string."""
    assert text == unquote(quote(text))


@given(
    display=st.text(st.characters(exclude_characters="\r\n")), value=st.text(st.characters(exclude_characters="\r\n"))
)
def test_address_survives_any_display_name_and_parameter(display: str, value: str) -> None:
    """Nothing breaks out of its quotes."""
    address = NameAddr(display, "sip:a@h", (("x", value), ("tag", "1")))

    assert address == NameAddr.parse(str(address))


@given(st.text() | st.from_regex(r'("[^"]*" ?|[a-z ]*)<?sip:[a-z@]*>?(;[a-z]+(="?[^"]*"?)?)*'))
def test_no_text_raises_anything_but_a_parse_error(text: str) -> None:
    """And an address that is accepted is read the same again from what is written."""
    split_values(text)
    header_name(text)
    parse_seconds(text, default=0)
    with suppress(ParseError):
        CSeq.parse(text)
    with suppress(ParseError):
        address = NameAddr.parse(text)
        assert address == NameAddr.parse(str(address))


@given(st.text() | st.from_regex(r'("[^"]*" ?|[a-z ]*)<?sip:[a-z@]*>?(;[a-z]+(="?[^"]*"?)?)*'))
def test_an_address_is_refused_whether_it_is_read_or_only_checked(text: str) -> None:
    refusals = []
    for look in (NameAddr.parse, NameAddr.check):
        try:
            look(text)
        except ParseError as fault:
            refusals.append(fault.reason)

    assert len(refusals) in (0, 2)
    assert len(set(refusals)) <= 1


@pytest.mark.parametrize(
    "head", ["", "a", '"', '"a"', "<", "<sip:a@h>", "<sip:a@h>;a", '<sip:a@h>;a="', "sip:a;b", "1 "]
)
@pytest.mark.parametrize(
    "unit", [" ", "a", "a ", "<", ">", ",", ";", ";a", ";a=", "; ", '"', "\\", '\\"', '""', "=", "\t"]
)
def test_long_value_of_one_repeated_piece_is_read_fast(head: str, unit: str) -> None:
    """No pattern backtracks over more than its own piece: 60 KB take milliseconds, not minutes."""
    text = head + (unit * 60_000)[:60_000]
    began = time.process_time()
    for end in ("", "\x00"):
        split_values(text + end)
        with suppress(ParseError):
            NameAddr.parse(text + end)
        with suppress(ParseError):
            NameAddr.check(text + end)
        with suppress(ParseError):
            CSeq.parse(text + end)

    assert time.process_time() - began < 1
