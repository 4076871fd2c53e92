"""SIP and SIPS URIs, and addresses-of-record."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip.aor import domain_of, parse_aor, user_of
from sip.errors import ParseError
from sip.uri import MAX_URI, MEMO_LENGTH, Params, SipUri, escape_user, unescape


@pytest.mark.parametrize(
    ("text", "user", "host", "port", "params"),
    [
        pytest.param("sip:alice@atlanta.com", "alice", "atlanta.com", None, (), id="plain"),
        pytest.param("sip:atlanta.com", None, "atlanta.com", None, (), id="no-user"),
        pytest.param("sips:alice@192.0.2.1:5061", "alice", "192.0.2.1", 5061, (), id="sips-and-port"),
        pytest.param("sip:alice@[2001:db8::9:1]", "alice", "2001:db8::9:1", None, (), id="ipv6"),
        pytest.param("sip:[2001:db8::10]:5070", None, "2001:db8::10", 5070, (), id="ipv6-and-port"),
        pytest.param(
            "sip:bob@h;transport=tcp;lr;x=",
            "bob",
            "h",
            None,
            (("transport", "tcp"), ("lr", None), ("x", "")),
            id="parameters-flag-and-empty",
        ),
        pytest.param(
            "sip:user;par=u%40example.net@example.com",
            "user;par=u%40example.net",
            "example.com",
            None,
            (),
            id="semicolon-in-the-user",
        ),
        pytest.param(
            "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com",
            "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*",
            "example.com",
            None,
            (),
            id="rfc4475-intmeth",
        ),
        pytest.param("sip:%61%00b@h", "%61%00b", "h", None, (), id="escapes-stay"),
        pytest.param(
            "sip:+1-212-555-0100@gw;user=phone", "+1-212-555-0100", "gw", None, (("user", "phone"),), id="number"
        ),
        pytest.param(
            "sip:x@df7jal23ls0d.invalid;transport=ws",
            "x",
            "df7jal23ls0d.invalid",
            None,
            (("transport", "ws"),),
            id="websocket-phone",
        ),
        pytest.param(
            "sip:a_b@under_score.example", "a_b", "under_score.example", None, (), id="underscore-in-the-host"
        ),
    ],
)
def test_uri_is_read_and_written_back(text: str, user: str | None, host: str, port: int | None, params: Params) -> None:
    """Parts stay as they were written (RFC 3261 19.1.1)."""
    uri = SipUri.parse(text)

    assert (user, host, port, params) == (uri.user, uri.host, uri.port, uri.params)
    assert text == str(uri)


def test_scheme_and_parameter_names_are_lower_cased() -> None:
    """They compare without case (RFC 3261 19.1.4); values keep theirs."""
    assert str(SipUri.parse("SIP:Bob@Host;Transport=TCP;LR")) == "sip:Bob@Host;transport=TCP;lr"


def test_password_and_headers_are_kept() -> None:
    """Never obeyed, but written back (RFC 3261 19.1.1)."""
    uri = SipUri.parse("sip:alice:pa:ss@h;x=y?subject=hi&to=%22a%22")

    assert (uri.user, uri.password, uri.headers) == ("alice", "pa:ss", "subject=hi&to=%22a%22")
    assert str(uri) == "sip:alice:pa:ss@h;x=y?subject=hi&to=%22a%22"


@pytest.mark.parametrize(
    ("text", "status"),
    [
        pytest.param("tel:+12125550100", 416, id="tel"),
        pytest.param("nobodyKnowsThisScheme:totallyopaquecontent", 416, id="rfc4475-unkscm"),
        pytest.param("soap.beep://192.0.2.103:3002", 416, id="rfc4475-novelsc"),
        pytest.param("", 400, id="empty"),
        pytest.param("alice", 400, id="no-scheme"),
        pytest.param("sip:", 400, id="no-host"),
        pytest.param("sip:@h", 400, id="empty-user"),
        pytest.param("sip:alice@", 400, id="user-without-host"),
        pytest.param("sip:a@b@c", 400, id="two-at-signs"),
        pytest.param("<sip:user@example.com>", 400, id="rfc4475-ltgtruri"),
        pytest.param("sip:user@example.com; lr", 400, id="rfc4475-lwsruri"),
        pytest.param("sip:alice@h\r\nVia: x", 400, id="line-break"),
        pytest.param('sip:"alice"@h', 400, id="quotes"),
        pytest.param("sip:alice@h:0", 400, id="port-zero"),
        pytest.param("sip:alice@h:65536", 400, id="port-too-high"),
        pytest.param("sip:alice@h:1e3", 400, id="port-is-no-number"),
        pytest.param("sip:alice@2001:db8::1", 400, id="ipv6-without-brackets"),
        pytest.param("sip:alice@h" + "x" * MAX_URI, 414, id="too-long"),
    ],
)
def test_what_is_no_sip_uri_is_refused_with_its_status(text: str, status: int) -> None:
    """416 for a scheme that is not ours (RFC 3261 8.2.2.1), 414 for a URI without end."""
    with pytest.raises(ParseError) as refused:
        SipUri.parse(text)

    assert status == refused.value.status


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        pytest.param(
            "sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp", True, id="escapes-and-case"
        ),
        pytest.param(
            "sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5", True, id="unknown-parameter-on-one-side"
        ),
        pytest.param(
            "sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on", True, id="different-unknown-ones"
        ),
        pytest.param(
            "sip:carol@chicago.com;security=off", "sip:carol@chicago.com;security=on", False, id="same-name-other-value"
        ),
        pytest.param(
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            True,
            id="order-of-parameters",
        ),
        pytest.param(
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            True,
            id="order-of-headers",
        ),
        pytest.param(
            "SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP", False, id="user-has-case"
        ),
        pytest.param("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", False, id="default-port-is-not-implied"),
        pytest.param(
            "sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp", False, id="default-transport-is-not-implied"
        ),
        pytest.param("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp", False, id="port-and-transport"),
        pytest.param(
            "sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting", False, id="headers-on-one-side"
        ),
        pytest.param("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4", False, id="name-is-not-its-address"),
        pytest.param("sip:bob@h", "sips:bob@h", False, id="sip-is-not-sips"),
        pytest.param("sip:bob@h;user=phone", "sip:bob@h", False, id="user-parameter-on-one-side"),
        pytest.param("sip:bob@h;lr", "sip:bob@h", True, id="lr-on-one-side"),
        pytest.param("sip:null-%00-null@h", "sip:null-%00@h", False, id="rfc4475-escnull"),
    ],
)
def test_uri_comparison(a: str, b: str, *, equal: bool) -> None:
    """URIs compare by the rules and examples of RFC 3261 19.1.4."""
    assert equal == (SipUri.parse(a) == SipUri.parse(b))
    assert equal == (SipUri.parse(b) == SipUri.parse(a))
    assert not equal or hash(SipUri.parse(a)) == hash(SipUri.parse(b))


def test_a_uri_is_not_its_text() -> None:
    """Comparison by accident is caught."""
    assert SipUri.parse("sip:bob@h") != "sip:bob@h"


def test_param_tells_a_flag_from_nothing() -> None:
    """`lr` is there without a value."""
    uri = SipUri.parse("sip:h;lr;x=1")

    assert (uri.param("lr"), uri.param("x"), uri.param("y")) == ("", "1", None)


def test_with_params_replaces_those_of_the_same_name() -> None:
    """The rest keeps its order."""
    uri = SipUri.parse("sip:h;a=1;b=2;c").with_params(("b", "3"), ("d", None))

    assert str(uri) == "sip:h;a=1;c;b=3;d"


@pytest.mark.parametrize(
    ("text", "aor"),
    [
        ("sip:Alice@Example.COM", "alice@example.com"),
        ("sips:alice@example.com:5061;transport=tls", "alice@example.com"),
        ("sip:%61lice@example.com", "alice@example.com"),
        ("sip:a%40b@example.com", "a@b@example.com"),
        ("sip:alice@[2001:DB8::1]", "alice@2001:db8::1"),
    ],
)
def test_aor_is_canonical(text: str, aor: str) -> None:
    """Scheme, port, parameters, escapes and case are gone (RFC 3261 10.3, step 5)."""
    assert aor == parse_aor(text)


def test_aor_comes_apart_at_its_last_at_sign() -> None:
    """The user may hold one, the domain never does."""
    aor = parse_aor("sip:a%40b@Example.com")

    assert (user_of(aor), domain_of(aor)) == ("a@b", "example.com")


def test_uri_without_user_is_no_aor() -> None:
    """There is nobody to find (RFC 3261 10.3, step 5)."""
    with pytest.raises(ParseError) as refused:
        parse_aor("sip:example.com")

    assert refused.value.status == 404


@pytest.mark.parametrize(
    ("text", "plain"), [("%41%62", "Ab"), ("%zz%4", "%zz%4"), ("%00", "%00"), ("a", "a"), ("%C3%A9", "é")]
)
def test_unescape(text: str, plain: str) -> None:
    """What is no escape stays, and so does an escaped null (RFC 3261 19.1.4)."""
    assert plain == unescape(text)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_escaped_user_is_one_user_part(user: str) -> None:
    """Whatever a username holds, the URI made of it names that user."""
    assert user == unescape(SipUri.parse(f"sip:{escape_user(user)}@example.com").user or "")


_text = st.text() | st.from_regex(r"sips?:[a-z%0-9]*@?[a-z0-9.\[\]:]*(;[a-z=]*)*(\?[a-z=&]*)?", fullmatch=True)


@given(_text)
def test_no_text_raises_anything_but_a_parse_error(text: str) -> None:
    """And what is accepted is read the same again from what is written."""
    try:
        uri = SipUri.parse(text)
    except ParseError:
        return

    assert uri == SipUri.parse(str(uri))
    assert str(uri) == str(SipUri.parse(str(uri)))


@pytest.mark.parametrize("unit", ["a", ":", "@", ";", "a:", "a@", ";a=", "?", "%4", "[", "sip:"])
def test_longest_uri_of_one_repeated_piece_is_read_fast(unit: str) -> None:
    """No pattern backtracks: a hundredth of a second suffices by far for the longest URI, however it is made."""
    texts = [("sip:" + unit * MAX_URI)[: MAX_URI - 1] + end for end in ("", " ", "@", ">")]
    began = time.process_time()
    for text in texts:
        with suppress(ParseError):
            SipUri.parse(text)

    assert time.process_time() - began < 0.1


def test_long_uris_are_not_kept() -> None:
    """The memo of parsed URIs cannot be used to fill memory."""
    short, long = "sip:" + "s" * 20, "sip:" + "l" * MEMO_LENGTH

    assert SipUri.parse(short) is SipUri.parse(short)
    assert SipUri.parse(long) is not SipUri.parse(long)
