"""NOTIFYs that nobody subscribed to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip.aor import Aor, aor_of, parse_aor
from sip.errors import LocalProtocolError, ParseError
from sip.message import Request, parse_message
from sip.notify import MAX_BODY, NotifyOrigin, NotifyTarget, check_sync, notify, notify_faults, request_uri
from sip.vendor import NotifyForm

ORIGIN = NotifyOrigin(call_id="c1@roost", from_tag="f1", contact="<sip:203.0.113.1:5060>")


def target(contact: str = "sip:alice@192.0.2.4:5062;transport=tcp", path: tuple[str, ...] = ()) -> NotifyTarget:
    return NotifyTarget(contact, Aor("alice@example.com"), "example.com", path, "Phone/1", "call-of-register@192.0.2.4")


def test_check_sync_goes_on_the_wire_as_kazoo_sends_it() -> None:
    """To the Contact, from and to the AOR, without a body (contract 6.1)."""
    request = check_sync(target(), NotifyForm("check-sync"), ORIGIN)

    assert request.encode() == (
        b"NOTIFY sip:alice@192.0.2.4:5062;transport=tcp SIP/2.0\r\n"
        b"Max-Forwards: 70\r\n"
        b"From: <sip:alice@example.com>;tag=f1\r\n"
        b"To: <sip:alice@example.com>\r\n"
        b"Call-ID: c1@roost\r\n"
        b"CSeq: 1 NOTIFY\r\n"
        b"Contact: <sip:203.0.113.1:5060>\r\n"
        b"Event: check-sync\r\n"
        b"Subscription-State: terminated\r\n"
        b"X-KAZOO-AOR: sip:alice@example.com\r\n"
        b"Content-Length: 0\r\n\r\n"
    )


def test_form_of_the_vendor_fills_in_body_state_and_headers() -> None:
    """Cisco's service-control names the Call-ID of the phone's live REGISTER."""
    form = NotifyForm("service-control", "active", "text/plain", "RegisterCallId={{call_id}}\r\n", (("X-Extra", "1"),))
    request = check_sync(target(), form, ORIGIN)

    assert request.first("Event") == "service-control"
    assert request.first("Subscription-State") == "active"
    assert request.first("Content-Type") == "text/plain"
    assert request.first("X-Extra") == "1"
    assert request.body == b"RegisterCallId={call-of-register@192.0.2.4}\r\n"


def test_path_becomes_the_route() -> None:
    """The request goes back through the proxies that it was registered through (RFC 3327 5.3)."""
    path = ("<sip:edge1.example.com;lr>", "<sip:edge2.example.com;lr>")
    request = check_sync(target(path=path), NotifyForm("check-sync"), ORIGIN)

    assert list(path) == request.lines("Route")
    assert request.uri == "sip:alice@192.0.2.4:5062;transport=tcp"


def test_user_is_escaped_where_it_stands_in_a_uri() -> None:
    """An AOR is kept unescaped; on the wire it must be one user part."""
    aor = aor_of("al ice@home", "example.com")
    request = notify(NotifyTarget("sip:192.0.2.4", aor, "example.com"), ORIGIN, event="presence")

    assert request.uri == "sip:al%20ice%40home@192.0.2.4"
    assert request.first("To") == "<sip:al%20ice%40home@example.com>"
    assert aor == parse_aor(request.to.uri)


@pytest.mark.parametrize(
    ("contact", "expected"),
    [
        pytest.param("sip:bob@192.0.2.4", "sip:bob@192.0.2.4", id="unchanged"),
        pytest.param("sip:Bob@H;Ob;x=Y", "sip:Bob@H;Ob;x=Y", id="as-it-was-written"),
        pytest.param("sip:192.0.2.4:5062;ob", "sip:alice@192.0.2.4:5062;ob", id="user-put-in"),
        pytest.param("sips:[2001:db8::1]:5061", "sips:alice@[2001:db8::1]:5061", id="ipv6"),
        pytest.param("sip:bob@h;method=INVITE?Route=x", "sip:bob@h", id="method-and-headers-left-out"),
    ],
)
def test_request_uri_is_the_contact(contact: str, expected: str) -> None:
    """With the username where the Contact has none (contract 6.1), and only what RFC 3261 19.1.1 allows there."""
    assert expected == request_uri(contact, "alice")


def test_contact_that_is_no_sip_uri_is_a_parse_error() -> None:
    """It came from a peer."""
    with pytest.raises(ParseError):
        check_sync(target("tel:+12125550100"), NotifyForm("check-sync"), ORIGIN)


def test_any_event_and_body_can_be_sent() -> None:
    """The notify action of the API (contract 5.9)."""
    request = notify(target(), ORIGIN, event="ACTION-URI", content_type="message/sipfrag", body=b"key=Reboot")
    read = parse_message(request.encode())

    assert isinstance(read, Request)
    assert (read.first("Event"), read.content_type, read.body) == ("ACTION-URI", "message/sipfrag", b"key=Reboot")


@pytest.mark.parametrize(
    ("event", "content_type", "body", "faulty"),
    [
        pytest.param("check-sync;reboot=true", "", b"", set(), id="event-with-parameter"),
        pytest.param("message-summary", 'text/plain; charset="utf-8"', b"x", set(), id="media-type-with-parameter"),
        pytest.param("x", "text/plain", bytes(MAX_BODY), set(), id="longest-body"),
        pytest.param("", "", b"", {"event"}, id="no-event"),
        pytest.param("check sync", "", b"", {"event"}, id="space"),
        pytest.param("x\r\nVia: y", "", b"", {"event"}, id="event-that-injects-a-line"),
        pytest.param("x \r\n;y", "", b"", {"event"}, id="event-that-folds"),
        pytest.param("x;y=\n", "", b"", {"event"}, id="event-that-ends-in-a-line-feed"),
        pytest.param('x;y="\r\n"', "", b"", {"event"}, id="line-break-in-quotes"),
        pytest.param("x" * 257, "", b"", {"event"}, id="event-too-long"),
        pytest.param("x", "text", b"y", {"content_type"}, id="no-media-type"),
        pytest.param("x", "text/plain\r\nA: b", b"y", {"content_type"}, id="content-type-that-injects-a-line"),
        pytest.param("x", "", b"y", {"content_type"}, id="body-without-type"),
        pytest.param("x", "text/plain", bytes(MAX_BODY + 1), {"body"}, id="body-too-long"),
        pytest.param("", "x", bytes(MAX_BODY + 1), {"event", "content_type", "body"}, id="everything"),
    ],
)
def test_faults_are_named_by_parameter(event: str, content_type: str, body: bytes, faulty: set[str]) -> None:
    """A client of the API is told everything at once, and can break out of no line."""
    assert faulty == notify_faults(event=event, content_type=content_type, body=body).keys()


def test_an_unchecked_notify_is_a_fault_of_ours() -> None:
    """Whoever builds one has asked `notify_faults` first."""
    with pytest.raises(LocalProtocolError):
        notify(target(), ORIGIN, event="x\r\nVia: y")


@given(event=st.text(), content_type=st.text(), body=st.binary(max_size=64))
def test_what_is_not_refused_arrives_as_it_was_given(event: str, content_type: str, body: bytes) -> None:
    """No text that passes the check changes the message around it."""
    if notify_faults(event=event, content_type=content_type, body=body):
        return
    read = parse_message(notify(target(), ORIGIN, event=event, content_type=content_type, body=body).encode())

    assert read.defect is None
    assert [event] == read.lines("Event")
    assert body == read.body
