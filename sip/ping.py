"""The OPTIONS that asks a phone whether it is there (RFC 3261 11)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sip.aor import domain_of, user_of
from sip.message import Request
from sip.notify import request_uri
from sip.route import way_along
from sip.uri import escape_user

if TYPE_CHECKING:
    from sip.location import Binding
    from sip.notify import NotifyOrigin


def build_ping(binding: Binding, origin: NotifyOrigin) -> Request:
    """Build the OPTIONS for a binding, along its Path; Via is put on by whoever sends.

    Raises ParseError where the contact is no SIP URI.
    """
    user = escape_user(user_of(binding.aor))
    identity = f"sip:{user}@{domain_of(binding.aor)}"
    uri, routes = way_along(binding.path, request_uri(binding.contact, user))
    request = Request("OPTIONS", uri)
    request.set("Max-Forwards", "70")
    request.set("Route", *routes)
    request.set("From", f"<sip:{domain_of(binding.aor)}>;tag={origin.from_tag}")
    request.set("To", f"<{identity}>")
    request.set("Call-ID", origin.call_id)
    request.set("CSeq", f"{origin.cseq} OPTIONS")
    request.set("Contact", origin.contact)
    return request
