"""Dialogs of the UAC: made from a response, building requests, checking the peer's (RFC 3261 12)."""

from __future__ import annotations

import pytest

from sip.dialog import MAX_ROUTES, Dialog, DialogId
from sip.errors import ParseError
from sip.message import Request, Response


def invite(**headers: str) -> Request:
    request = Request("INVITE", "sip:desk@192.0.2.7:5062;ob")
    request.set("From", '"Device QuickCall" <sip:123@roost.example>;tag=ours')
    request.set("To", "<sip:desk@roost.example>")
    request.set("Call-ID", "c1-quickcall")
    request.set("CSeq", "7 INVITE")
    request.set("Contact", "<sip:roost@192.0.2.1:5060>")
    for name, value in headers.items():
        request.set(name.replace("_", "-"), value)
    return request


def answer(request: Request, status: int = 200, *, tag: str = "theirs", **headers: str) -> Response:
    response = Response.to_request(request, status, to_tag=tag)
    for name, value in {"Contact": "<sip:desk@10.0.0.7:5062>", **headers}.items():
        response.set(name.replace("_", "-"), value)
    return response


def peer_request(method: str, cseq: int, **headers: str) -> Request:
    request = Request(method, "sip:roost@192.0.2.1:5060")
    request.set("From", "<sip:desk@roost.example>;tag=theirs")
    request.set("To", "<sip:123@roost.example>;tag=ours")
    request.set("Call-ID", "c1-quickcall")
    request.set("CSeq", f"{cseq} {method}")
    for name, value in headers.items():
        request.set(name, value)
    return request


def test_a_dialog_is_named_alike_by_a_response_and_by_the_peers_requests() -> None:
    """Call-ID, our tag, the peer's tag (RFC 3261 12)."""
    sent = invite()

    assert DialogId("c1-quickcall", "ours", "theirs") == Dialog.from_response(sent, answer(sent)).id
    assert DialogId("c1-quickcall", "ours", "theirs") == DialogId.of_request(peer_request("BYE", 1))


def test_a_request_goes_to_the_remote_target_with_the_next_cseq() -> None:
    """Without a route set the peer's Contact is the Request-URI (RFC 3261 12.2.1.1)."""
    sent = invite()
    dialog = Dialog.from_response(sent, answer(sent))
    bye = dialog.request("BYE", {"Reason": "Q.850;cause=16"})

    expected = (
        "BYE sip:desk@10.0.0.7:5062 SIP/2.0\r\nMax-Forwards: 70\r\n"
        'From: "Device QuickCall" <sip:123@roost.example>;tag=ours\r\nTo: <sip:desk@roost.example>;tag=theirs\r\n'
        "Call-ID: c1-quickcall\r\nCSeq: 8 BYE\r\nReason: Q.850;cause=16\r\nContent-Length: 0\r\n\r\n"
    )
    assert expected.encode() == bye.encode()
    assert "sip:desk@10.0.0.7:5062" == dialog.next_hop
    assert "9 INFO" == dialog.request("INFO").first("CSeq")


@pytest.mark.parametrize(
    ("method", "carried"),
    [("INVITE", True), ("UPDATE", True), ("NOTIFY", True), ("BYE", False), ("INFO", False), ("OPTIONS", False)],
)
def test_target_refresh_requests_carry_our_contact(method: str, carried: bool) -> None:
    """RFC 3261 12.2.1.1: a target refresh request needs a Contact."""
    sent = invite()
    request = Dialog.from_response(sent, answer(sent)).request(method)

    assert ("<sip:roost@192.0.2.1:5060>" if carried else None) == request.first("Contact")


def test_the_route_set_is_the_record_route_reversed() -> None:
    """Loose routers: the target stays in the Request-URI (RFC 3261 12.1.2, 12.2.1.1)."""
    sent = invite()
    dialog = Dialog.from_response(sent, answer(sent, Record_Route="<sip:far.example;lr>, <sip:near.example;lr;x=1>"))
    request = dialog.request("BYE")

    assert "sip:desk@10.0.0.7:5062" == request.uri
    assert ["<sip:near.example;lr;x=1>", "<sip:far.example;lr>"] == request.lines("Route")
    assert "sip:near.example;lr;x=1" == dialog.next_hop


def test_a_strict_router_takes_the_request_uri() -> None:
    """The remote target goes last into Route (RFC 3261 12.2.1.1)."""
    sent = invite()
    dialog = Dialog.from_response(sent, answer(sent, Record_Route="<sip:far.example;lr>, <sip:strict.example>"))
    request = dialog.request("BYE")

    assert "sip:strict.example" == request.uri
    assert ["<sip:far.example;lr>", "<sip:desk@10.0.0.7:5062>"] == request.lines("Route")


def test_the_2xx_decides_over_the_1xx() -> None:
    """Route set and target are computed anew from the 2xx (RFC 3261 13.2.2.4)."""
    sent = invite()
    dialog = Dialog.from_response(sent, answer(sent, 183, Record_Route="<sip:early.example;lr>"))
    dialog.request("NOTIFY")
    dialog.confirm(answer(sent, 200, Contact="<sip:desk@10.0.0.8>"))

    assert () == dialog.route_set
    assert "sip:desk@10.0.0.8" == dialog.request("BYE").uri
    assert 9 == dialog.local_cseq


def test_a_2xx_without_contact_leaves_the_request_uri_as_target() -> None:
    """Contact is mandatory there, yet some gateways send none."""
    sent = invite()
    response = answer(sent)
    response.set("Contact")

    assert "sip:desk@192.0.2.7:5062;ob" == Dialog.from_response(sent, response).remote_target


def test_an_ack_repeats_the_number_and_the_credentials_of_its_invite() -> None:
    """RFC 3261 13.2.2.4; the answer rides in it where the 2xx held the offer."""
    sent = invite(Proxy_Authorization="Digest username=x")
    dialog = Dialog.from_response(sent, answer(sent))
    dialog.request("OPTIONS")
    ack = dialog.ack(sent, b"v=0\r\n")

    assert "7 ACK" == ack.first("CSeq")
    assert "Digest username=x" == ack.first("Proxy-Authorization")
    assert ("application/sdp", b"v=0\r\n") == (ack.first("Content-Type"), ack.body)
    assert b"Content-Type" not in dialog.ack(sent).encode()


@pytest.mark.parametrize(
    ("method", "cseq", "status"),
    [
        pytest.param("BYE", 21, None, id="next"),
        pytest.param("BYE", 900, None, id="gaps-are-fine"),
        pytest.param("BYE", 20, 500, id="same-again"),
        pytest.param("BYE", 3, 500, id="lower"),
        pytest.param("ACK", 20, None, id="ack-repeats"),
        pytest.param("CANCEL", 20, None, id="cancel-repeats"),
    ],
)
def test_requests_out_of_order_are_refused(method: str, cseq: int, status: int | None) -> None:
    """RFC 3261 12.2.2: a lower CSeq MUST be rejected with a 500."""
    sent = invite()
    dialog = Dialog.from_response(sent, answer(sent))
    assert dialog.accept(peer_request("INFO", 20)) is None

    assert status == dialog.accept(peer_request(method, cseq))


@pytest.mark.parametrize(("method", "target"), [("INVITE", "sip:new@10.0.0.9"), ("INFO", "sip:desk@10.0.0.7:5062")])
def test_only_target_refresh_requests_move_the_target(method: str, target: str) -> None:
    """RFC 3261 12.2.2."""
    sent = invite()
    dialog = Dialog.from_response(sent, answer(sent))
    dialog.accept(peer_request(method, 1, Contact="<sip:new@10.0.0.9>"))

    assert target == dialog.remote_target


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Contact": "<mailto:desk@example.com>"}, id="contact-is-no-sip-uri"),
        pytest.param({"Contact": "<sip:"}, id="contact-is-torn"),
        pytest.param({"Record_Route": "nonsense <"}, id="record-route-is-torn"),
        pytest.param({"Record_Route": ", ".join(["<sip:p.example;lr>"] * (MAX_ROUTES + 1))}, id="too-many-routes"),
    ],
)
def test_a_response_that_leads_nowhere_makes_no_dialog(headers: dict[str, str]) -> None:
    """The caller ends such a leg; it must not send to what it cannot read."""
    sent = invite()

    with pytest.raises(ParseError):
        Dialog.from_response(sent, answer(sent, **headers))
