"""The INVITE of a quickcall: Request-URI formats, headers of the operator, and auto-answer kept to leg A."""

from __future__ import annotations

import pytest

from sip.headers import NameAddr
from sip.invite import (
    MAX_EXTRA_HEADERS,
    Invitee,
    add_flag,
    build_invite,
    merge_headers,
    number_in_format,
    with_user,
    without_auto_answer,
)
from sip.uri import SipUri


def test_an_invite_says_who_calls_whom_and_what_is_offered() -> None:
    """The headers that RFC 3261 8.1.1 and 13.2.1 ask for, but Via."""
    invitee = Invitee(
        uri="sip:desk@192.0.2.7:5062;ob",
        call_id="c1-quickcall",
        local=NameAddr("Device QuickCall", "sip:123@roost.example", (("tag", "ours"),)),
        remote=NameAddr("", "sip:desk@roost.example"),
        routes=("<sip:edge.example;lr>",),
        headers=(("X-KAZOO-AOR", "sip:desk@roost.example"),),
    )
    expected = (
        "INVITE sip:desk@192.0.2.7:5062;ob SIP/2.0|Max-Forwards: 70|Route: <sip:edge.example;lr>|"
        'From: "Device QuickCall" <sip:123@roost.example>;tag=ours|To: <sip:desk@roost.example>|'
        "Call-ID: c1-quickcall|CSeq: 1 INVITE|Contact: <sip:roost@192.0.2.1:5060>|"
        "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, NOTIFY|X-KAZOO-AOR: sip:desk@roost.example|"
        "Content-Type: application/sdp|Content-Length: 5||v=0|"
    )

    contact = "<sip:roost@192.0.2.1:5060>"

    assert expected.replace("|", "\r\n").encode() == build_invite(invitee, contact, b"v=0\r\n").encode()
    assert b"Content-Type" not in build_invite(invitee, contact, b"").encode()


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        pytest.param("x-mine", "1", (("X-Mine", "1"),), id="theirs"),
        pytest.param("alert_info", "ring", (("Alert_info", "ring"),), id="underscores-stay"),
        pytest.param("Via", "SIP/2.0/UDP evil", (), id="via"),
        pytest.param("v", "SIP/2.0/UDP evil", (), id="compact-via"),
        pytest.param("call-id", "x", (), id="call-id"),
        pytest.param("Content-Length", "0", (), id="content-length"),
        pytest.param("no name", "x", (), id="no-header-name"),
        pytest.param("X:", "x", (), id="colon"),
        pytest.param("X-Mine", "a\r\nVia: evil", (("X-Mine", "a Via: evil"),), id="line-break"),
        pytest.param("X-Mine", " ", (), id="empty"),
        pytest.param("X-Mine", "x" * 2000, (), id="too-long"),
    ],
)
def test_an_operators_headers_cannot_break_the_message(
    name: str, value: str, kept: tuple[tuple[str, str], ...]
) -> None:
    """custom_sip_headers come from an API client."""
    assert kept == merge_headers([(name, value)])


def test_later_headers_win_and_there_are_not_too_many() -> None:
    """One value a name."""
    assert (("X-B", "2"), ("X-A", "3")) == merge_headers([("x-a", "1"), ("x-b", "2")], [("X-A", "3")])
    assert MAX_EXTRA_HEADERS == len(merge_headers((f"X-{number}", "x") for number in range(100)))


@pytest.mark.parametrize(
    ("name", "value", "asks"),
    [
        pytest.param("Call-Info", "<sip:h>;answer-after=0", True, id="call-info"),
        pytest.param("Alert-Info", "<http://h>;info=alert-autoanswer;delay=0", True, id="alert-info"),
        pytest.param("Alert-Info", "Intercom", True, id="intercom"),
        pytest.param("Answer-Mode", "Auto", True, id="rfc5373"),
        pytest.param("P-Auto-Answer", "normal", True, id="p-auto-answer"),
        pytest.param("Alert-Info", "<http://h/ring3.wav>", False, id="a-ringtone"),
        pytest.param("Call-Info", "<http://h/card>;purpose=card", False, id="a-card"),
    ],
)
def test_what_asks_for_an_answer_is_known(name: str, value: str, asks: bool) -> None:
    """None of it may reach leg B."""
    assert (() if asks else ((name, value),)) == without_auto_answer(((name, value),))


@pytest.mark.parametrize(
    ("invite_format", "number", "expected"),
    [
        ("e164", "+14158867900", "+14158867900"),
        ("npan", "+14158867900", "4158867900"),
        ("1npan", "+14158867900", "14158867900"),
        ("strip_plus", "+4930123456", "4930123456"),
        ("npan", "+4930123456", "+4930123456"),
        ("npan", "201", "201"),
    ],
)
def test_numbers_by_format(invite_format: str, number: str, expected: str) -> None:
    """Contract 6.5."""
    assert expected == number_in_format(invite_format, number)


def test_the_contact_keeps_its_host_and_parameters() -> None:
    """The phone knows itself by them (contract 6.5: host, port and params kept)."""
    contact = SipUri.parse("sip:x9:secret@10.0.0.7:5062;transport=tcp;ob")

    assert "sip:desk@10.0.0.7:5062;transport=tcp;ob" == str(with_user(contact, "desk"))
    assert "sip:x9:secret@10.0.0.7:5062;transport=tcp;ob;intercom=true" == str(add_flag(contact, "intercom=true"))
    assert contact == add_flag(contact, "")
