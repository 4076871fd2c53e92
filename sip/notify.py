"""NOTIFYs that nobody subscribed to: check-sync and its kin (RFC 6665 8.2; RFC 3327 5.3 for the way there).

Via is put on by whoever sends.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sip.aor import user_of
from sip.errors import LocalProtocolError
from sip.message import Request
from sip.route import way_along
from sip.uri import SipUri, escape_user

if TYPE_CHECKING:
    from sip.aor import Aor
    from sip.vendor import NotifyForm

MAX_VALUE: Final = 256  # characters of an Event or Content-Type; the longest in use has under 80
MAX_BODY: Final = 16_384  # bytes; phones of fewer megabytes than that have to read it

_WORD: Final = r"[A-Za-z0-9.!%*_+`'~-]+"
_QUOTED: Final = r'"[^"\\\x00-\x1f\x7f]*"'
_PARAMS: Final = rf"(?:[ \t]*;[ \t]*{_WORD}(?:[ \t]*=[ \t]*(?:{_WORD}|{_QUOTED}))?)*"
_EVENT: Final = re.compile(rf"{_WORD}{_PARAMS}\Z")
_MEDIA_TYPE: Final = re.compile(rf"{_WORD}/{_WORD}{_PARAMS}\Z")


@dataclass(frozen=True, slots=True)
class NotifyTarget:
    """The binding that a NOTIFY goes to."""

    contact: str
    """The Contact URI as the phone wrote it."""
    aor: Aor
    realm: str
    """Of the phone's account; stands in To and From (contract 6.1)."""
    path: tuple[str, ...] = ()
    """First hop first."""
    user_agent: str = ""
    call_id: str = ""
    """Of the REGISTER that last set the binding."""


@dataclass(frozen=True, slots=True)
class NotifyOrigin:
    """What is ours in a NOTIFY."""

    call_id: str
    from_tag: str
    contact: str
    """A Contact value that the phone can reach us at."""
    cseq: int = 1


def check_sync(target: NotifyTarget, form: NotifyForm, origin: NotifyOrigin) -> Request:
    """Build the NOTIFY in the form of the phone's vendor. Raises ParseError where the contact is no SIP URI."""
    body = form.body_for(target.call_id)
    request = _notify(target, origin, form.event, form.content_type, body)
    request.set("Subscription-State", form.subscription_state)
    for name, value in form.headers:
        request.set(name, value)
    return request


def notify(
    target: NotifyTarget, origin: NotifyOrigin, *, event: str, content_type: str = "", body: bytes = b""
) -> Request:
    """Build a NOTIFY of any event, which `notify_faults` has found nothing wrong with.

    Raises ParseError where the contact is no SIP URI.
    """
    if faults := notify_faults(event=event, content_type=content_type, body=body):
        raise LocalProtocolError(f"an unchecked NOTIFY: {faults}")
    return _notify(target, origin, event, content_type, body)


def notify_faults(*, event: str, content_type: str = "", body: bytes = b"") -> dict[str, str]:
    """Return what is wrong with a NOTIFY that a client asks for, by parameter; nothing in most cases."""
    faults: dict[str, str] = {}
    if len(event) > MAX_VALUE or not _EVENT.match(event):
        faults["event"] = "must be an event package, with parameters at most: check-sync;reboot=true"
    if content_type and (len(content_type) > MAX_VALUE or not _MEDIA_TYPE.match(content_type)):
        faults["content_type"] = "must be a media type, such as text/plain"
    if body and not content_type:
        faults["content_type"] = "is needed where there is a body"
    if len(body) > MAX_BODY:
        faults["body"] = f"must not be longer than {MAX_BODY} bytes"
    return faults


def _notify(target: NotifyTarget, origin: NotifyOrigin, event: str, content_type: str, body: bytes) -> Request:
    user = escape_user(user_of(target.aor))
    identity = f"sip:{user}@{target.realm}"
    uri, routes = way_along(target.path, request_uri(target.contact, user))
    request = Request("NOTIFY", uri, body=body)
    request.set("Max-Forwards", "70")
    request.set("Route", *routes)
    request.set("From", f"<{identity}>;tag={origin.from_tag}")
    request.set("To", f"<{identity}>")
    request.set("Call-ID", origin.call_id)
    request.set("CSeq", f"{origin.cseq} NOTIFY")
    request.set("Contact", origin.contact)
    request.set("Event", event)
    request.set("Subscription-State", "terminated")
    request.set("X-KAZOO-AOR", identity)
    if content_type:
        request.set("Content-Type", content_type)
    return request


def request_uri(contact: str, user: str) -> str:
    """Return the Request-URI for a contact, with the user, escaped, put in where it has none (contract 6.1).

    Raises ParseError. What RFC 3261 19.1.1 does not allow in a Request-URI, headers and a method, is left out.
    """
    uri = SipUri.parse(contact)
    if uri.user is not None and not uri.headers and uri.param("method") is None:
        return contact
    params = tuple(item for item in uri.params if item[0] != "method")
    return str(replace(uri, user=user if uri.user is None else uri.user, params=params, headers=""))
