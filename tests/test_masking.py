"""Messages without their secrets."""

from __future__ import annotations

import pytest

from sip.masking import mask

SECRET = b"6629fae49393a05397450978507c4ef1"
DIGEST = b'Digest username="bob", realm="a.test", nonce="%s", uri="sip:a.test", response="%s", nc=00000001, qop=auth'


def message(*lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join((b"REGISTER sip:a.test SIP/2.0", *lines, b"Call-ID: x")) + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([b"Authorization: " + DIGEST % (SECRET, SECRET)], id="authorization"),
        pytest.param([b"PROXY-AUTHORIZATION  :" + DIGEST % (SECRET, SECRET)], id="case-and-space"),
        pytest.param([b"Authorization: Digest", b' username="bob",', b'\tresponse="' + SECRET + b'"'], id="folded"),
        pytest.param([b"Authorization: Digest response=" + SECRET], id="unquoted"),
        pytest.param([b'Authorization: Digest response="a\\"' + SECRET + b'"'], id="escaped-quote"),
        pytest.param([b'Authorization: Digest username="bob", response="' + SECRET], id="quote-not-closed"),
        pytest.param([b'Authorization: Digest username="bob" response="' + SECRET + b'"'], id="comma-missing"),
        pytest.param([b"Authorization: Digest response = \"" + SECRET + b'"'], id="spaces-around-equals"),
        pytest.param([b"Authorization: Digest " + SECRET], id="no-parameter"),
        pytest.param([b"Authorization: Digest " + SECRET + b"=1"], id="in-a-name"),
        pytest.param([b"Authorization: Basic " + SECRET], id="basic"),
        pytest.param([b"Authorization: Bearer " + SECRET + b"="], id="bearer"),
        pytest.param([b"Authorization:" + SECRET], id="scheme-alone"),
        pytest.param([b'WWW-Authenticate: Digest nonce="' + SECRET + b'", opaque=' + SECRET], id="challenge"),
        pytest.param([b'Authentication-Info: nextnonce="' + SECRET + b'", rspauth="' + SECRET + b'"'], id="info"),
        pytest.param([b"Subject: x\rAuthorization: Digest response=" + SECRET], id="bare-cr"),
        pytest.param([b"Subject: x\nAuthorization: Digest response=" + SECRET], id="bare-lf"),
        pytest.param([b"X-Auth-Token: " + SECRET], id="token"),
        pytest.param([b"X-SIP-Password: " + SECRET], id="password"),
        pytest.param([b"Contact: <sip:bob:" + SECRET + b"@10.0.0.1>"], id="uri-password"),
        pytest.param([b"To: sips:bob;x=y:" + SECRET + b"@10.0.0.1"], id="uri-password-after-parameter"),
        pytest.param([b"Refer-To: <sip:a@b?Authorization=Digest%20response%3D" + SECRET + b">"], id="header-in-uri"),
    ],
)  # fmt: skip
def test_secret_is_in_no_header(lines: list[bytes]) -> None:
    """Whatever form it has, and also where the message has no end."""
    for text in (message(*lines), message(*lines).rstrip(b"\r\n")):
        assert SECRET not in mask(text)


def test_what_proves_nothing_stays() -> None:
    """It is what one looks for in a trace."""
    text = mask(message(b"Authorization: " + DIGEST % (SECRET, SECRET)))

    shown = b'username="bob", realm="a.test", nonce="***", uri="sip:a.test", response="***", nc=00000001, qop=auth'
    assert shown in text


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"v=0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:%s|2^20\r\n", id="sdes"),
        pytest.param(b"v=0\r\na=ice-pwd:%s\r\n", id="ice"),
        pytest.param(b"v=0\r\nk=base64:%s\r\n", id="key"),
        pytest.param(b'{"user":"bob","password": "%s"}', id="json"),
        pytest.param(b"<password>%s</password>", id="xml"),
        pytest.param(b"user=bob&secret=%s", id="form"),
    ],
)
def test_secret_is_in_no_body(body: bytes) -> None:
    """And the body is as long as its Content-Length says."""
    text = mask(message(body=body % SECRET))

    assert SECRET not in text
    assert len(text) == len(message(body=body % SECRET))


@pytest.mark.parametrize(
    "text",
    [
        message(b"Via: SIP/2.0/UDP [2001:db8::1];branch=z9hG4bK1", b"Contact: <sip:bob@10.0.0.1:5060;ob>"),
        message(b"Subject: my authorization", body=b"v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\nm=audio 4000 RTP/AVP 0\r\n"),
        b"\x00\xff not SIP at all",
        b"",
    ],
)  # fmt: skip
def test_messages_without_secrets_stay_as_they_are(text: bytes) -> None:
    """Byte for byte."""
    assert mask(text) == text
