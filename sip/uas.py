"""What a server checks before it looks at the method's own meaning (RFC 3261 8.2, 16.3)."""

from __future__ import annotations

from typing import Final

from sip.errors import ParseError
from sip.headers import NameAddr
from sip.message import Request, Response
from sip.uri import SipUri

ALLOW: Final = "REGISTER, OPTIONS, INVITE, ACK, CANCEL, BYE, NOTIFY, INFO, UPDATE"
METHODS: Final = frozenset(ALLOW.split(", "))
MAX_FORWARDS: Final = 255  # RFC 3261 20.22
USUAL_FORWARDS: Final = "70"  # RFC 3261 8.1.1.6
MAX_DIGITS: Final = 10
MAX_REQUIRE: Final = 1024  # characters of option tags in one message; all that there are have together under 600
ACCEPT: Final = "application/sdp"
SUPPORTED_TAGS: Final = frozenset({"path", "outbound"})
SUPPORTED: Final = "path, outbound"


def inspect(request: Request) -> Response | None:
    """Return the refusal that the request earns before its method is looked at, None where it may go on.

    In the order of RFC 3261 8.2: syntax (400, 505), method (405), Request-URI (416), Require (420), content (406, 415).
    An INVITE without a dialog is one that a proxy would route, and may have used up its hops (483, RFC 3261 16.3).
    An ACK is inspected like the rest, but whoever calls must not answer it.
    """
    try:
        _check_syntax(request)
        if request.method not in METHODS:
            return _refuse(request, 405, Allow=ALLOW)
        SipUri.parse(request.uri)
    except ParseError as fault:
        return Response.to_request(request, fault.status, _reason(fault))
    if request.method == "INVITE" and _is_spent(request):
        return _refuse(request, 483)
    if request.has("Require") and request.method not in ("ACK", "CANCEL"):
        unknown = sorted(request.tokens("Require") - SUPPORTED_TAGS)
        if unknown:
            return _refuse(request, 420, Unsupported=", ".join(unknown))
    if request.method == "INVITE" and request.has("Accept") and not _accepts_sdp(request):
        return _refuse(request, 406, Accept=ACCEPT)
    if request.body and request.method in ("INVITE", "UPDATE"):
        return _inspect_body(request)
    return None


def options_answer(request: Request) -> Response:
    """Answer an OPTIONS: what can be asked of us (RFC 3261 11.2).

    The answer has no body, so no Accept can refuse it: sipsak asks for text/plain alone.
    """
    response = Response.to_request(request, 200)
    response.add("Allow", ALLOW)
    response.add("Accept", ACCEPT)
    response.add("Supported", SUPPORTED)
    return response


def _check_syntax(request: Request) -> None:
    if request.defect is not None:
        raise request.defect
    if request.cseq.method != request.method:
        raise ParseError("the method of CSeq is another one")
    if not request.call_id:
        raise ParseError("Call-ID is empty")
    NameAddr.check(request.one("From"))
    NameAddr.check(request.one("To"))
    if request.has("Require") and sum(map(len, request.lines("Require"))) > MAX_REQUIRE:
        raise ParseError("Require is too long")
    forwards = request.first("Max-Forwards")
    if forwards is not None and not (forwards == USUAL_FORWARDS or _is_hop_count(forwards)):
        raise ParseError("malformed Max-Forwards")


def _is_hop_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS and int(text) <= MAX_FORWARDS


def _is_spent(request: Request) -> bool:
    return int(request.first("Max-Forwards") or 1) == 0 and request.to.tag is None


def _inspect_body(request: Request) -> Response | None:
    if request.first("Content-Encoding") not in (None, "", "identity"):
        return _refuse(request, 415, **{"Accept-Encoding": "identity"})
    if request.content_type not in ("application/sdp", "multipart/mixed"):
        return _refuse(request, 415, Accept=ACCEPT)
    return None


def _accepts_sdp(request: Request) -> bool:
    types = (value.partition(";")[0].strip().lower() for value in request.values("Accept"))
    return any(each in ("application/sdp", "application/*", "*/*") for each in types)


def _refuse(request: Request, status: int, **headers: str) -> Response:
    response = Response.to_request(request, status)
    for name, value in headers.items():
        response.add(name, value)
    return response


def _reason(fault: ParseError) -> str:
    return fault.reason[:1].upper() + fault.reason[1:]
