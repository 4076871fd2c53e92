"""Addresses-of-record: whom a registration is for (RFC 3261 6, 10.3)."""

from __future__ import annotations

from typing import NewType

from sip.errors import ParseError
from sip.uri import SipUri, unescape

Aor = NewType("Aor", str)
"""An address-of-record, `user@domain`, in the canonical form under which bindings are kept.

The user is unescaped and lower-cased, as Kazoo compares SIP usernames; the domain is lower-cased; scheme, port and
parameters are gone (RFC 3261 10.3, step 5). No class of its own: each would take 50 bytes more, and so would each place
in a dictionary, which has less room for text that is not plain.
"""


def aor_of(user: str, domain: str) -> Aor:
    """Build the AOR of a username, unescaped, in a domain."""
    return Aor(f"{user.lower()}@{domain.lower()}")


def parse_aor(text: str) -> Aor:
    """Return the AOR that a SIP URI names. Raises ParseError where the URI is none, or has no user."""
    uri = SipUri.parse(text)
    if uri.user is None:
        raise ParseError("an address-of-record needs a user part", status=404)
    return aor_of(unescape(uri.user), uri.host)


def user_of(aor: Aor) -> str:
    """Return the part before the last `@`."""
    return aor.rpartition("@")[0]


def domain_of(aor: Aor) -> str:
    """Return the part after the last `@`."""
    return aor.rpartition("@")[2]
