"""Addresses-of-record: whom a registration is for (RFC 3261 6, 10.3)."""

from __future__ import annotations

from sip.errors import ParseError
from sip.uri import SipUri, unescape


class Aor(str):
    """An address-of-record, `user@domain`, in the canonical form under which bindings are kept.

    The user is unescaped and lower-cased, as Kazoo compares SIP usernames; the domain is lower-cased; scheme, port
    and parameters are gone (RFC 3261 10.3, step 5).
    """

    __slots__ = ()

    @classmethod
    def of(cls, user: str, domain: str) -> Aor:
        """Build the AOR of a username, unescaped, in a domain."""
        return cls(f"{user.lower()}@{domain.lower()}")

    @classmethod
    def parse(cls, text: str) -> Aor:
        """Return the AOR that a SIP URI names. Raises ParseError where the URI is none, or has no user."""
        return cls.from_uri(SipUri.parse(text))

    @classmethod
    def from_uri(cls, uri: SipUri) -> Aor:
        """Return the AOR of a URI. Raises ParseError where it has no user."""
        if uri.user is None:
            raise ParseError("an address-of-record needs a user part", status=404)
        return cls.of(unescape(uri.user), uri.host)

    @property
    def user(self) -> str:
        """The part before the last `@`."""
        return self.rpartition("@")[0]

    @property
    def domain(self) -> str:
        """The part after the last `@`."""
        return self.rpartition("@")[2]
