"""Digest authentication, as server and as client."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sip.digest import (
    Algorithm,
    Challenge,
    Credentials,
    DigestAnswer,
    Outcome,
    answer_challenge,
    answer_response,
    challenge,
    choose_challenge,
    find_answer,
    names_same_target,
    parse_auth,
    verify,
)
from sip.errors import ParseError
from sip.message import Response, parse_message
from sip.nonce import NonceCounts, NonceSigner

PHONES = Path(__file__).parents[2] / "shared" / "corpus" / "phones"
REALM = "example.com"
ALICE = Credentials("alice", "wonder land")
SIGNER = NonceSigner(b"a key of more than 16 bytes", 300)
NOW = 1_700_000_000.0
NONCE = SIGNER.issue(NOW, b"salt")
URI = "sip:example.com"


def answered(
    credentials: Credentials = ALICE,
    *,
    algorithm: Algorithm = Algorithm.MD5,
    nonce: str = NONCE,
    qop: bool = True,
    nc: int = 1,
    uri: str = URI,
) -> str:
    offered = Challenge(REALM, nonce, algorithm, qop)
    return answer_challenge(offered, credentials, method="REGISTER", uri=uri, nc=nc, cnonce="0a4f113b")


def outcome(
    value: str,
    *,
    algorithm: Algorithm = Algorithm.MD5,
    request_uri: str = URI,
    known: bool = True,
    now: float = NOW,
    counts: NonceCounts | None = None,
    method: str = "REGISTER",
) -> Outcome:
    found = find_answer([value], REALM, algorithm)
    if isinstance(found, Outcome):
        return found
    return verify(
        found,
        method=method,
        request_uri=request_uri,
        ha1=ALICE.ha1(REALM, algorithm) if known else None,
        signer=SIGNER,
        counts=counts or NonceCounts(),
        now=now,
    )


def _mufasa(algorithm: Algorithm) -> DigestAnswer:
    return DigestAnswer(
        username="Mufasa",
        realm="http-auth@example.org",
        nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
        uri="/dir/index.html",
        response="",
        algorithm=algorithm,
        qop="auth",
        nc="00000001",
        cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    )


def _bob(qop: str) -> DigestAnswer:
    nonce, cnonce = "dcd98b7102dd2f0e8b11d0f600bfb0c093", "0a4f113b"
    return DigestAnswer("bob", "biloxi.com", nonce, "sip:bob@biloxi.com", "", Algorithm.MD5, qop, "00000001", cnonce)


@pytest.mark.parametrize(
    ("answer", "password", "method", "response"),
    [
        pytest.param(
            _mufasa(Algorithm.MD5), "Circle of Life", "GET", "8ca523f5e9506fed4657c9700eebdbec", id="rfc7616-3.9.1-md5"
        ),
        pytest.param(
            _mufasa(Algorithm.SHA256),
            "Circle of Life",
            "GET",
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
            id="rfc7616-3.9.1-sha-256",
        ),
        pytest.param(
            DigestAnswer(
                "Mufasa",
                "testrealm@host.com",
                "dcd98b7102dd2f0e8b11d0f600bfb0c093",
                "/dir/index.html",
                "",
                Algorithm.MD5,
                "auth",
                "00000001",
                "0a4f113b",
            ),
            "Circle Of Life",
            "GET",
            "6629fae49393a05397450978507c4ef1",
            id="rfc2617-3.5",
        ),
        pytest.param(_bob(""), "zanzibar", "INVITE", "bf57e4e0d0bffc0fbaedce64d59add5e", id="sip-without-qop"),
        pytest.param(_bob("auth"), "zanzibar", "INVITE", "89eb0059246c02b2f6ee02c7961d5ea3", id="sip-with-qop"),
    ],
)
def test_published_examples(answer: DigestAnswer, password: str, method: str, response: str) -> None:
    """Responses equal those of the RFCs' examples (RFC 7616 3.4.1 to 3.4.3)."""
    ha1 = Credentials(answer.username, password).ha1(answer.realm, answer.algorithm)

    assert response == answer.expected(ha1, method)


@pytest.mark.parametrize("algorithm", Algorithm)
@pytest.mark.parametrize("qop", [True, False], ids=["qop-auth", "old-form"])
def test_right_password_is_accepted(algorithm: Algorithm, *, qop: bool) -> None:
    """MD5 and SHA-256, with qop=auth and without (RFC 7616 3.4.1; RFC 8760 2.6)."""
    assert outcome(answered(algorithm=algorithm, qop=qop), algorithm=algorithm) is Outcome.OK


@pytest.mark.parametrize(
    ("value", "asked", "expected"),
    [
        pytest.param(answered(Credentials("alice", "wrong")), {}, Outcome.WRONG, id="wrong-password"),
        pytest.param(answered(), {"method": "INVITE"}, Outcome.WRONG, id="made-for-another-method"),
        pytest.param(answered(), {"known": False}, Outcome.UNKNOWN_USER, id="unknown-user"),
        pytest.param(answered(), {"now": NOW + 301}, Outcome.STALE, id="old-nonce"),
        pytest.param(answered(Credentials("alice", "wrong")), {"now": NOW + 301}, Outcome.STALE, id="old-and-wrong"),
        pytest.param(answered(nonce="f" * 48), {}, Outcome.FORGED, id="nonce-of-another-registrar"),
        pytest.param(answered(nonce="ünïcode"), {}, Outcome.FORGED, id="nonce-beyond-ascii"),
        pytest.param(answered(algorithm=Algorithm.SHA256), {}, Outcome.NO_CREDENTIALS, id="another-algorithm"),
        pytest.param(answered(), {"request_uri": "sip:other@example.com"}, Outcome.OK, id="digest-uri-without-user"),
        pytest.param(
            answered(uri="sip:bob@example.com"), {"request_uri": "sip:carol@example.com"}, Outcome.MALFORMED,
            id="digest-uri-of-another-user",
        ),
        pytest.param(answered().replace("qop=auth", "qop=auth-int"), {}, Outcome.MALFORMED, id="qop-not-offered"),
        pytest.param(answered().replace("nc=00000001", "nc=xyz"), {}, Outcome.MALFORMED, id="count-is-no-number"),
        pytest.param(answered().replace("nc=00000001", "nc=0000000001"), {}, Outcome.MALFORMED, id="count-too-long"),
        pytest.param(answered().replace('cnonce="0a4f113b"', 'cnonce=""'), {}, Outcome.MALFORMED, id="no-cnonce"),
        pytest.param(answered().replace("username=", "user="), {}, Outcome.MALFORMED, id="no-username"),
        pytest.param(answered() + ', username="bob"', {}, Outcome.MALFORMED, id="username-twice"),
        pytest.param(answered() + ", and more", {}, Outcome.MALFORMED, id="no-parameter"),
        pytest.param("NoOneKnowsThisScheme opaque-data=here", {}, Outcome.NO_CREDENTIALS, id="unknown-scheme"),
        pytest.param("Basic YWxpY2U6cHc=", {}, Outcome.NO_CREDENTIALS, id="basic"),
        pytest.param("", {}, Outcome.NO_CREDENTIALS, id="empty"),
    ],
)  # fmt: skip
def test_outcome_names_what_is_wrong(value: str, asked: dict[str, object], expected: Outcome) -> None:
    """Each fault has an outcome of its own (RFC 7616 3.4.6)."""
    assert outcome(value, **asked) is expected  # type: ignore[arg-type]  # a table of keyword arguments


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(answered().replace(", ", ","), id="commas-without-spaces"),
        pytest.param(answered().replace(", ", ",\t "), id="commas-with-tab"),
        pytest.param(answered().replace(", ", " , "), id="spaces-before-commas"),
        pytest.param(answered().replace("=", " = "), id="spaces-around-equals"),
        pytest.param(answered().replace("qop=auth", 'qop="auth"'), id="qop-quoted"),
        pytest.param(answered().replace("nc=00000001", 'nc="00000001"'), id="count-quoted"),
        pytest.param(answered().replace("algorithm=MD5", 'algorithm="md5"'), id="algorithm-quoted-lower-case"),
        pytest.param(answered().replace(", algorithm=MD5", ""), id="algorithm-left-out"),
        pytest.param(answered().replace(f'nonce="{NONCE}"', f"nonce={NONCE}"), id="nonce-without-quotes"),
        pytest.param(answered().replace('"alice"', "alice"), id="username-without-quotes"),
        pytest.param(answered().replace("Digest ", "Digest\t"), id="tab-after-the-scheme"),
        pytest.param(answered().replace("Digest", "DIGEST"), id="scheme-upper-case"),
        pytest.param(answered().replace("username", "Username").replace("uri", "URI"), id="names-mixed-case"),
        pytest.param(answered() + ",", id="comma-at-the-end"),
        pytest.param(answered().replace("alice", "al\\ice"), id="needless-escape"),
        pytest.param(answered() + ', opaque="a, b=c, \\"d\\""', id="commas-and-quotes-in-a-value"),
        pytest.param(answered() + ', auth-param="new"', id="unknown-parameter"),
        pytest.param(answered() + ', opaque="cut', id="last-quote-missing"),
    ],
)
def test_odd_forms_of_credentials_are_read(value: str) -> None:
    """What phones write beside the grammar of RFC 3261 25.1 is read where its meaning is plain."""
    assert outcome(value) is Outcome.OK


def test_upper_case_response_is_accepted() -> None:
    """Hexadecimal digits are digits in either case."""
    head, _, tail = answered().partition('response="')

    assert outcome(f'{head}response="{tail[:32].upper()}{tail[32:]}') is Outcome.OK


def test_short_nonce_count_is_hashed_as_it_was_written() -> None:
    """Some phones send nc=1 and hash that."""
    answer = DigestAnswer("alice", REALM, NONCE, URI, "", Algorithm.MD5, "auth", "1", "c")
    response = answer.expected(ALICE.ha1(REALM, Algorithm.MD5), "REGISTER")
    value = (
        f'Digest username="alice", realm="{REALM}", nonce="{NONCE}", uri="{URI}", response="{response}", '
        'qop=auth, nc=1, cnonce="c"'
    )

    assert outcome(value) is Outcome.OK


def test_the_answer_that_fits_is_taken_out_of_several() -> None:
    """A phone that knows both algorithms or several realms sends several headers (RFC 8760 2.4; RFC 3261 22.3)."""
    fitting = answered()
    other_realm = fitting.replace(REALM, "other.example", 1)
    lines = ["Digest broken", other_realm, answered(algorithm=Algorithm.SHA256), fitting]
    found = find_answer(lines, REALM, Algorithm.MD5)

    assert isinstance(found, DigestAnswer)
    assert found.algorithm is Algorithm.MD5
    assert found.realm == REALM


def test_replayed_answer_is_told_apart() -> None:
    """An answer works once; the same nonce with a higher count works again (RFC 7616 5.5)."""
    counts = NonceCounts()

    assert outcome(answered(nc=2), counts=counts) is Outcome.OK
    assert outcome(answered(nc=2), counts=counts) is Outcome.REPLAYED
    assert outcome(answered(nc=7), counts=counts) is Outcome.OK


def test_wrong_answers_do_not_use_up_the_count() -> None:
    """Nobody without the password can lock a phone out by a high count."""
    counts = NonceCounts()

    assert outcome(answered(Credentials("alice", "guess"), nc=99), counts=counts) is Outcome.WRONG
    assert outcome(answered(nc=1), counts=counts) is Outcome.OK


def test_only_a_fault_of_the_nonce_is_called_stale() -> None:
    """`stale` tells the phone to try again with the same password (RFC 7616 3.3)."""
    assert {Outcome.STALE, Outcome.FORGED, Outcome.REPLAYED} == {item for item in Outcome if item.stale}


@pytest.mark.parametrize(
    ("digest_uri", "request_uri", "same"),
    [
        pytest.param("sip:example.com", "sip:example.com", True, id="equal"),
        pytest.param("sip:example.com", "sip:example.com:5060;transport=UDP", True, id="port-and-parameters"),
        pytest.param("sip:192.0.2.10:5061", "sip:example.com", True, id="address-of-the-proxy"),
        pytest.param("sip:b%6Fb@example.com", "sip:bob@192.0.2.1", True, id="user-escaped"),
        pytest.param("sip:bob@example.com", "sip:carol@example.com", False, id="another-user"),
        pytest.param("sip:2001:db8::1:5060", "sip:example.com", True, id="ipv6-without-brackets"),
        pytest.param("sip:bob@2001:db8::1", "sip:example.com", False, id="ipv6-without-brackets-and-a-user"),
        pytest.param("/", "sip:example.com", False, id="no-sip-uri"),
        pytest.param("", "sip:example.com", False, id="empty"),
    ],
)
def test_digest_uri_may_differ_but_not_name_another_user(digest_uri: str, request_uri: str, *, same: bool) -> None:
    """RFC 7616 3.4.6 wants the same resource; phones and SBCs ask for leniency."""
    assert same == names_same_target(digest_uri, request_uri)


def test_challenge_has_the_form_that_every_phone_accepts() -> None:
    """MD5 with qop="auth" alone, quoted as RFC 3261 25.1 has it."""
    assert 'Digest realm="example.com", nonce="abc", algorithm=MD5, qop="auth"' == challenge(
        "example.com", "abc", Algorithm.MD5, stale=False
    )
    assert (
        'Digest realm="a \\"b\\"", nonce="abc", stale=true, algorithm=SHA-256, qop="auth"'
        == challenge('a "b"', "abc", Algorithm.SHA256, stale=True)
    )  # fmt: skip


@given(
    realm=st.text(st.characters(exclude_categories=["Cs", "Cc"])),
    username=st.text(st.characters(exclude_categories=["Cs", "Cc"])),
    algorithm=st.sampled_from(Algorithm),
    qop=st.booleans(),
    opaque=st.none() | st.text(st.characters(exclude_categories=["Cs", "Cc"])),
    nc=st.integers(1, 2**32 - 1),
)
def test_what_the_client_answers_the_server_accepts(
    *,
    realm: str,
    username: str,
    algorithm: Algorithm,
    qop: bool,
    opaque: str | None,
    nc: int,
) -> None:
    """Any name, whatever quotes and commas it has, survives the way there."""
    offered = Challenge(realm, NONCE, algorithm, qop, opaque)
    credentials = Credentials(username, "secret")
    value = answer_challenge(offered, credentials, method="NOTIFY", uri=URI, nc=nc, cnonce='c"\\,')
    found = find_answer([value], realm, algorithm)

    assert isinstance(found, DigestAnswer)
    assert username == found.username
    assert opaque == parse_auth(value)[1].get("opaque")
    assert Outcome.OK is verify(
        found,
        method="NOTIFY",
        request_uri=URI,
        ha1=credentials.ha1(realm, algorithm),
        signer=SIGNER,
        counts=NonceCounts(),
        now=NOW,
    )


@given(
    realm=st.text(st.characters(exclude_categories=["Cs", "Cc"])),
    algorithm=st.sampled_from(Algorithm),
    stale=st.booleans(),
)
def test_challenge_is_understood_by_our_client(realm: str, algorithm: Algorithm, *, stale: bool) -> None:
    """The two sides of this module agree."""
    offered = choose_challenge([challenge(realm, NONCE, algorithm, stale=stale)])

    assert Challenge(realm, NONCE, algorithm, qop=True, stale=stale) == offered


MD5_CHALLENGE = 'Digest realm="phone", nonce="n1", algorithm=MD5, qop="auth"'
SHA_CHALLENGE = 'Digest realm="phone", nonce="n2", algorithm=SHA-256, qop="auth,auth-int"'


@pytest.mark.parametrize(
    ("lines", "nonce"),
    [
        pytest.param([MD5_CHALLENGE, SHA_CHALLENGE], "n2", id="strongest-last"),
        pytest.param([SHA_CHALLENGE, MD5_CHALLENGE], "n2", id="strongest-first"),
        pytest.param(['Digest realm="phone", nonce="n0"', MD5_CHALLENGE], "n0", id="topmost-of-equals"),
        pytest.param(["Digest nonce=n3,realm=phone", "Digest"], "n3", id="without-quotes"),
        pytest.param([MD5_CHALLENGE.replace("MD5", "SHA-512-256"), MD5_CHALLENGE], "n1", id="unknown-algorithm"),
        pytest.param([MD5_CHALLENGE.replace("MD5", "MD5-sess")], None, id="session-algorithm"),
        pytest.param([MD5_CHALLENGE.replace('"auth"', '"auth-int"')], None, id="integrity-alone"),
        pytest.param(["Bearer realm=phone, nonce=x", "Digest ,,=", "Digest realm=x"], None, id="none-that-we-know"),
        pytest.param([], None, id="none"),
    ],
)
def test_client_chooses_the_strongest_challenge_it_knows(lines: list[str], nonce: str | None) -> None:
    """The strongest known algorithm is used (RFC 8760 2.4)."""
    offered = choose_challenge(lines)

    assert nonce == (offered.nonce if offered else None)


@pytest.mark.parametrize(
    ("status", "asks", "answers"),
    [(401, "WWW-Authenticate", "Authorization"), (407, "Proxy-Authenticate", "Proxy-Authorization")],
)
def test_client_answers_in_the_header_that_belongs_to_the_challenge(status: int, asks: str, answers: str) -> None:
    """Registrars and phones ask with 401, proxies with 407 (RFC 3261 22.2, 22.3)."""
    response = Response(status)
    response.set("CSeq", "7 NOTIFY")
    response.add(asks, MD5_CHALLENGE + ', opaque="o"')
    answer = answer_response(response, ALICE, uri="sip:alice@192.0.2.4", nc=1, cnonce="c")

    assert answer is not None
    assert answers == answer[0]
    _, params = parse_auth(answer[1])
    ha1 = ALICE.ha1("phone", Algorithm.MD5)
    made = DigestAnswer("alice", "phone", "n1", "sip:alice@192.0.2.4", "", Algorithm.MD5, "auth", "00000001", "c")
    assert made.expected(ha1, "NOTIFY") == params["response"]
    assert params["opaque"] == "o"


@pytest.mark.parametrize(("status", "value"), [(401, "Bearer x"), (403, MD5_CHALLENGE)])
def test_client_does_not_answer_what_is_no_digest_challenge(status: int, value: str) -> None:
    """No credentials are sent where none were asked for in a way we know."""
    response = Response(status)
    response.set("CSeq", "7 NOTIFY")
    response.add("WWW-Authenticate", value)

    assert answer_response(response, ALICE, uri=URI, nc=1, cnonce="c") is None


def test_secrets_do_not_show_in_representations() -> None:
    """Passwords and nonces stay out of logs and tracebacks."""
    found = find_answer([answered()], REALM, Algorithm.MD5)
    shown = repr((ALICE, found, choose_challenge([MD5_CHALLENGE])))

    assert ALICE.password not in shown
    assert NONCE not in shown
    assert "n1" not in shown


@given(st.text())
def test_reading_credentials_raises_nothing_but_parse_errors(text: str) -> None:
    """Whatever a peer writes."""
    with suppress(ParseError):
        parse_auth(text)
    find_answer([text, "Digest " + text], REALM, Algorithm.MD5)
    choose_challenge([text, "Digest " + text])


@example('realm=", uri="')
@given(st.from_regex(r'((realm|uri|nc|opaque)=("?[a-c=, \\]*"?)(, ?)?){1,4}', fullmatch=True))
def test_the_usual_way_of_writing_parameters_means_what_the_grammar_says(text: str) -> None:
    """A parameter that no phone writes has the whole read by the grammar alone."""
    read = []
    for line in (f"Digest {text}", f"Digest unheard-of=1, {text}"):
        try:
            read.append({"unheard-of": "1", **parse_auth(line)[1]})
        except ParseError:
            read.append({})

    assert read[0] == read[1]


@pytest.mark.skipif(not PHONES.is_dir(), reason="the corpus does not stand beside the checkout")
@pytest.mark.parametrize(
    ("file", "header", "username", "nc"),
    [
        ("cisco-spa525g-register-auth.sip", "Authorization", "account", ""),
        ("cisco-spa525g2-register-via-sbc.sip", "Authorization", "167356", "000003e9"),
        ("fanvil-x303-register-auth.sip", "Authorization", "5008", "00000001"),
        ("grandstream-gxp2200-invite-tcp.sip", "Proxy-Authorization", "250", "00000d1b"),
        ("pjsua2-2.14.1-register-auth-nc2.sip", "Authorization", "u", "00000002"),
        ("polycom-vvx350-register-auth.sip", "Authorization", "1013", "00000001"),
        ("snom105-2.04-register-auth.sip", "Authorization", "3000", ""),
        ("snom105-3.56-register-folded-auth.sip", "Authorization", "ft", ""),
        ("zoiper-v2.10-register-auth.sip", "Authorization", "1002", "00000002"),
    ],
)
def test_credentials_of_real_phones_are_read(file: str, header: str, username: str, nc: str) -> None:
    """Folded, without spaces, without a closing quote, with algorithm=md5: all are found."""
    message = parse_message((PHONES / file).read_bytes())
    lines = message.lines(header)
    _, params = parse_auth(lines[0])
    found = find_answer(lines, params["realm"], Algorithm.MD5)

    assert isinstance(found, DigestAnswer)
    assert (username, nc) == (found.username, found.nc)
