"""SIP and SIPS URIs (RFC 3261 19.1).

The parts of a URI are kept as they were written, escapes included; only comparison looks through them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from urllib.parse import quote, unquote

from sip.errors import ParseError

MAX_URI = 2048  # characters; the longest URI seen from a phone is under 300
MEMO_ENTRIES = 1024  # distinct URIs whose parse is kept, such as Request-URIs, which all phones share
MEMO_LENGTH = 256

_URI = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):"
    r"(?:(?P<user>[^\s<>\"@:]+)(?::(?P<password>[^\s<>\"@]*))?@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<params>(?:;[^\s<>\"?;]*)*)"
    r"(?:\?(?P<headers>[^\s<>\"]*))?\Z"
)
_SCHEMES = ("sip", "sips")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*\Z")
_MUST_MATCH = ("user", "ttl", "method", "maddr", "transport")

Params = tuple[tuple[str, "str | None"], ...]


@dataclass(slots=True, eq=False)
class SipUri:
    """A sip: or sips: URI. `==` is the comparison of RFC 3261 19.1.4, which is not transitive.

    Treat a URI as frozen: it is shared by all who parsed the same text. (To freeze it costs as much as to parse it.)
    """

    scheme: str
    """`sip` or `sips`."""
    user: str | None
    """The user part with its escapes and parameters, without a password."""
    password: str | None
    host: str
    """Without the brackets of an IPv6 reference."""
    port: int | None
    """None where the URI names none, which is not the same as 5060."""
    params: Params = ()
    """Name in lower case and value, or None for a flag, in order."""
    headers: str = ""
    """What follows the `?`: never obeyed, only kept and compared."""

    @staticmethod
    def parse(text: str) -> SipUri:
        """Parse a SIP or SIPS URI. Raises ParseError, with status 416 for another scheme (RFC 3261 8.2.2.1)."""
        return _parse_memoised(text) if len(text) <= MEMO_LENGTH else _parse(text)

    def param(self, name: str) -> str | None:
        """Return the value of a parameter; empty for a flag, None where it is absent."""
        for key, value in self.params:
            if key == name:
                return value or ""
        return None

    def with_params(self, *added: tuple[str, str | None]) -> SipUri:
        """Return the URI with these parameters, each in the place of one of the same name."""
        names = {name for name, _ in added}
        return replace(self, params=(*(item for item in self.params if item[0] not in names), *added))

    @property
    def host_port(self) -> str:
        """The host and, where one is named, the port, as they stand in the URI."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    def __str__(self) -> str:
        userinfo = ""
        if self.user is not None:
            userinfo = self.user if self.password is None else f"{self.user}:{self.password}"
            userinfo += "@"
        params = "".join(f";{name}" if value is None else f";{name}={value}" for name, value in self.params)
        return f"{self.scheme}:{userinfo}{self.host_port}{params}" + (f"?{self.headers}" if self.headers else "")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SipUri):
            return NotImplemented
        return self._identity() == other._identity() and self._params_match(other) and self._headers_match(other)

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[str, str | None, str | None, str, int | None]:
        user = None if self.user is None else unescape(self.user)
        return self.scheme, user, self.password, self.host.lower(), self.port

    def _params_match(self, other: SipUri) -> bool:
        mine, theirs = dict(self.params), dict(other.params)
        for name in mine.keys() | theirs.keys():
            in_both = name in mine and name in theirs
            if not in_both and name not in _MUST_MATCH:
                continue
            if not in_both or unescape(mine[name] or "").lower() != unescape(theirs[name] or "").lower():
                return False
        return True

    def _headers_match(self, other: SipUri) -> bool:
        return sorted(unescape(self.headers).split("&")) == sorted(unescape(other.headers).split("&"))


def unescape(text: str) -> str:
    """Resolve %-escapes (RFC 3261 19.1.4). An escaped null stays escaped, so that it ends no string anywhere."""
    if "%" not in text:
        return text
    return unquote(text, errors="surrogateescape").replace("\0", "%00")


def escape_user(text: str) -> str:
    """Escape what may not stand in the user part of a URI (RFC 3261 25.1, user)."""
    return quote(text, safe="!~*'()&=+$,;?/", errors="surrogateescape")


def _parse(text: str) -> SipUri:
    if len(text) > MAX_URI:
        raise ParseError("the URI is too long", status=414)
    match = _URI.match(text)
    if match is None:
        raise _fault(text)
    scheme, user, password, host, digits, params, headers = match.groups()
    scheme = scheme.lower()
    if scheme not in _SCHEMES:
        raise _fault(text)
    port = int(digits) if digits else None
    if port is not None and not 0 < port < 65536:
        raise ParseError("the port of the URI is out of range", offset=match.start("port"))
    found = tuple([_param(item) for item in params[1:].split(";")]) if params else ()
    return SipUri(scheme, user, password, host.strip("[]"), port, found, headers or "")


def _fault(text: str) -> ParseError:
    scheme = text.partition(":")[0].lower()
    if scheme in _SCHEMES:
        return ParseError("malformed SIP URI", offset=len(scheme) + 1)
    if _SCHEME.match(scheme) and ":" in text:
        return ParseError("the URI scheme is not supported", status=416)
    return ParseError("not a URI")


def _param(item: str) -> tuple[str, str | None]:
    name, equals, value = item.partition("=")
    return name.lower(), value if equals else None


_parse_memoised = lru_cache(maxsize=MEMO_ENTRIES)(_parse)
