"""The INVITE of a quickcall: its Request-URI, its headers, and what may not stand in it (RFC 3261 8.1.1, 13.2.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sip.headers import TOKEN, header_name
from sip.message import Request
from sip.route import way_along
from sip.sdp import CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sip.headers import NameAddr
    from sip.uri import SipUri

ALLOW: Final = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, NOTIFY"
FIRST_CSEQ: Final = 1
MAX_EXTRA_HEADERS: Final = 32  # an operator's own; more would hardly fit a datagram
MAX_EXTRA_VALUE: Final = 1024  # characters

Headers = tuple[tuple[str, str], ...]

_OURS: Final = frozenset(
    (
        "Via", "From", "To", "Call-ID", "CSeq", "Contact", "Max-Forwards", "Route", "Record-Route", "Require",
        "Proxy-Require", "Supported", "Allow", "Authorization", "Proxy-Authorization", "Content-Type",
        "Content-Length", "Content-Encoding", "Content-Disposition", "MIME-Version",
    )
)  # fmt: skip
"""What an operator's headers must leave alone: the message would no longer be what we think it is."""
_ASKS_FOR_ANSWER: Final = frozenset(("Answer-Mode", "Priv-Answer-Mode", "P-Auto-Answer", "Answer-After"))
_MAY_ASK: Final = frozenset(("Alert-Info", "Call-Info"))
_ASKING: Final = re.compile(r"answer|intercom", re.IGNORECASE)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]+")
_NANP: Final = re.compile(r"\+1[0-9]{10}\Z")


@dataclass(frozen=True, slots=True)
class Invitee:
    """Whom an INVITE is for, and as whom we send it."""

    uri: str
    """The Request-URI."""
    call_id: str
    local: NameAddr
    """From, with our tag."""
    remote: NameAddr
    """To."""
    routes: tuple[str, ...] = ()
    """Route values, first hop first (RFC 3327 5.2, RFC 3261 16.12)."""
    headers: Headers = ()


def build_invite(invitee: Invitee, contact: str, body: bytes) -> Request:
    """Build the INVITE, with the offer as body where there is one. Via is put on by whoever sends.

    Raises ParseError where the first route cannot be read; a registrar takes none like that.
    """
    uri, routes = way_along(invitee.routes, invitee.uri)
    request = Request("INVITE", uri)
    request.set("Max-Forwards", "70")
    request.set("Route", *routes)
    request.set("From", str(invitee.local))
    request.set("To", str(invitee.remote))
    request.set("Call-ID", invitee.call_id)
    request.set("CSeq", f"{FIRST_CSEQ} INVITE")
    request.set("Contact", contact)
    request.set("Allow", ALLOW)
    for name, value in invitee.headers:
        request.set(name, value)
    if body:
        request.set("Content-Type", CONTENT_TYPE)
        request.body = body
    return request


def merge_headers(*sources: Iterable[tuple[str, str]]) -> Headers:
    """Return the headers of all sources, a later one in the place of an earlier one of that name.

    Left out is what is no header name, what is ours to say, and what exceeds the limits; control characters become
    blanks.
    """
    merged: dict[str, str] = {}
    for name, value in (item for source in sources for item in source):
        canonical = header_name(name) if TOKEN.match(name) else ""
        text = _CONTROL.sub(" ", value).strip()
        if canonical and canonical not in _OURS and text and len(text) <= MAX_EXTRA_VALUE:
            merged.pop(canonical, None)
            merged[canonical] = text
    return tuple(merged.items())[:MAX_EXTRA_HEADERS]


def without_auto_answer(headers: Headers) -> Headers:
    """Return the headers without any that asks a phone to answer by itself: leg B must ring (vendors 3)."""
    return tuple(
        (name, value)
        for name, value in headers
        if name not in _ASKS_FOR_ANSWER and not (name in _MAY_ASK and _ASKING.search(value))
    )


def number_in_format(invite_format: str, number: str) -> str:
    """Return an E.164 number as an invite_format wants it (contract 6.5); others are left as they are."""
    if invite_format == "strip_plus":
        return number.removeprefix("+")
    if not _NANP.match(number):
        return number
    return {"npan": number[2:], "1npan": number[1:]}.get(invite_format, number)


def with_user(uri: SipUri, user: str) -> SipUri:
    """Return the URI with another user part, escaped already; host, port and parameters stay."""
    return replace(uri, user=user, password=None)


def add_flag(uri: SipUri, param: str) -> SipUri:
    """Return the URI with a parameter written as `name=value` or `name`; an empty one adds nothing."""
    name, equals, value = param.partition("=")
    return uri.with_params((name.lower(), value if equals else None)) if name else uri
