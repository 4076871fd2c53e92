"""Header fields: their names, and the grammar that many of them share (RFC 3261 7.3, 20, 25.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from sip.errors import ParseError

MAX_USUAL_CSEQ: Final = 24  # characters of a CSeq that is remembered: ten digits and a method that we know
MAX_NAME: Final = 256  # characters of a header name; RFC 4475 has one of 109

_COMPACT = {
    "a": "Accept-Contact", "b": "Referred-By", "c": "Content-Type", "d": "Request-Disposition",
    "e": "Content-Encoding", "f": "From", "i": "Call-ID", "j": "Reject-Contact", "k": "Supported",
    "l": "Content-Length", "m": "Contact", "o": "Event", "r": "Refer-To", "s": "Subject", "t": "To",
    "u": "Allow-Events", "v": "Via", "x": "Session-Expires", "y": "Identity",
}  # fmt: skip
_IRREGULAR = {
    "call-id": "Call-ID", "cseq": "CSeq", "mime-version": "MIME-Version", "www-authenticate": "WWW-Authenticate",
    "min-se": "Min-SE", "rack": "RAck", "rseq": "RSeq", "p-asserted-identity": "P-Asserted-Identity",
    "x-kazoo-aor": "X-KAZOO-AOR", "x-kazoo-invite-format": "X-KAZOO-INVITE-FORMAT",
}  # fmt: skip

TOKEN: Final = re.compile(r"[A-Za-z0-9.!%*_+`'~-]+\Z")
_QUOTED: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_PARAM: Final = re.compile(
    r"\s*;\s*(?P<name>[^\s;=,\"<>]+)\s*(?:=\s*(?P<value>\"(?:[^\"\\]|\\.)*\"|<[^<>]*>|[^\s;,\"<>]*))?\s*"
)
PLAIN: Final = r"!#-+\--:?-~"
"""Printable ASCII within a character class, without what separates parameters or needs quotes: blank " , ; < = >

Classes of ASCII alone are tables to `re`; one with `\\s` or a `^` is asked item by item, for every character.
"""
_PLAIN_PARAM = rf";[{PLAIN}][={PLAIN}]*"  # as phones write it, without blanks
_PLAIN_PARAMS: Final = re.compile(rf"(?:{_PLAIN_PARAM})+\Z")
_PIECE: Final = re.compile(r'[^,"<]+|"[^"\\]*(?:\\.[^"\\]*)*"?|<[^>]*>?|,', re.DOTALL)
_IPV6: Final = re.compile(r"\[[0-9A-Fa-f:.]+\]\Z")
_BARE_URI: Final = re.compile(r"[^\s?,]+\Z")
# The form that nearly every phone sends. An empty alternative costs less than a `?`.
_BRACKETED: Final = re.compile(r'(?:"([^"\\]*)"\s*|)<([!-;=?-~]+)>')
_USUAL: Final = re.compile(rf"{_BRACKETED.pattern}(?:{_PLAIN_PARAM})*\Z")
_DISPLAY: Final = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f,;:@<>\[\]()\\\"]*\Z")
_CSEQ: Final = re.compile(r"([0-9]{1,10})\s+([A-Za-z0-9.!%*_+`'~-]+)\Z")

Params = tuple[tuple[str, "str | None"], ...]


@lru_cache(maxsize=512)  # looked up for every line of every message
def header_name(name: str) -> str:
    """Return the canonical spelling of a header name or compact form; case is of no account (RFC 3261 7.3.1)."""
    low = name.strip(" \t").lower()
    if len(low) == 1 and low in _COMPACT:
        return _COMPACT[low]
    return _IRREGULAR.get(low) or "-".join(part.capitalize() for part in low.split("-"))


@dataclass(slots=True, init=False)
class NameAddr:
    """A name-addr or addr-spec with its header parameters: From, To, Contact, Route (RFC 3261 20.10)."""

    display: str
    """Unquoted; empty where there is none."""
    uri: str
    """As it was written, not yet parsed."""
    params: Params = ()
    """Name in lower case and unquoted value, or None for a flag."""

    def __init__(self, display: str, uri: str, params: Params = ()) -> None:
        self.display = display
        self.uri = uri
        self.params = params

    @staticmethod
    def parse(text: str) -> NameAddr:
        """Parse one value. Raises ParseError."""
        if (usual := _BRACKETED.match(text)) is not None:
            display, uri = usual.groups("")
            end = usual.end()
            return NameAddr(display, uri, parse_params(text[end:].strip()) if end < len(text) else ())
        return _parse_name_addr(text)

    @staticmethod
    def check(text: str) -> None:
        """Raise ParseError where `parse` would."""
        if not _USUAL.match(text):
            NameAddr.parse(text)

    def param(self, name: str) -> str | None:
        """Return the value of a header parameter; empty for a flag, None where it is absent."""
        return param_of(self.params, name)

    @property
    def tag(self) -> str | None:
        """The tag parameter (RFC 3261 19.3)."""
        return self.param("tag")

    def with_param(self, name: str, value: str | None) -> NameAddr:
        """Return a copy with the parameter set."""
        kept = tuple(item for item in self.params if item[0] != name)
        return NameAddr(self.display, self.uri, (*kept, (name, value)))

    def __str__(self) -> str:
        display = f"{quote(self.display)} " if self.display else ""
        params = "".join(f";{key}" if value is None else f";{key}={_param_text(value)}" for key, value in self.params)
        return f"{display}<{self.uri}>{params}"


class CSeq(NamedTuple):
    """A CSeq value (RFC 3261 20.16)."""

    number: int
    method: str

    @staticmethod
    def parse(text: str) -> CSeq:
        """Parse a CSeq value. Raises ParseError where the number does not fit 31 bits (RFC 3261 8.1.1.5)."""
        return _usual_cseq(text) if len(text) <= MAX_USUAL_CSEQ else _parse_cseq(text)

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


def split_values(text: str) -> list[str]:
    """Split a header value at its commas, except those within quotes or angle brackets (RFC 3261 7.3.1)."""
    if "," not in text:
        return [text]
    if '"' not in text and "<" not in text:
        return [part.strip() for part in text.split(",")]
    parts: list[str] = []
    start = 0
    for piece in _PIECE.finditer(text):
        if piece[0] == ",":
            parts.append(text[start : piece.start()].strip())
            start = piece.end()
    parts.append(text[start:].strip())
    return parts


def split_first(text: str) -> tuple[str, str]:
    """Return the first value of a header, and in one piece what follows its comma, empty where nothing does."""
    if "," in text:
        for piece in _PIECE.finditer(text):
            if piece[0] == ",":
                return text[: piece.start()].strip(), text[piece.end() :].strip()
    return text, ""


def param_of(params: Params, name: str) -> str | None:
    """Return the value of a parameter; empty for a flag, None where it is absent."""
    for key, value in params:
        if key == name:
            return value or ""
    return None


def parse_params(text: str) -> Params:
    """Parse `;name=value` parameters; names in lower case, values unquoted. Raises ParseError."""
    params = parse_params_verbatim(text)
    return tuple((name, value and unquote(value)) for name, value in params) if '"' in text else params


def parse_params_verbatim(text: str) -> Params:
    """Parse `;name=value` parameters; names in lower case, values with their quotes. Raises ParseError."""
    if not text:
        return ()
    if _PLAIN_PARAMS.match(text):
        pieces = [piece.partition("=") for piece in text[1:].split(";")]
        return tuple([(name.lower(), value if equals else None) for name, equals, value in pieces])
    params: list[tuple[str, str | None]] = []
    position = 0
    while position < len(text):
        match = _PARAM.match(text, position)
        if match is None:
            raise ParseError("malformed parameters", offset=position)
        params.append((match["name"].lower(), match["value"]))
        position = match.end()
    return tuple(params)


def parse_seconds(text: str, *, default: int) -> int:
    """Read a delta-seconds, leniently: quoted is read, more than 2**32-1 or no number at all is the default.

    Phones send `expires="3600"` and `Expires: 3600User-Agent: ...`; RFC 3261 10.3 step 6 asks for the default where
    the value is malformed.
    """
    digits = text.strip().strip('"')
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 10:
        return default
    seconds = int(digits)
    return seconds if seconds < 2**32 else default


def quote(text: str) -> str:
    """Return the text as a quoted-string (RFC 3261 25.1)."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def unquote(text: str) -> str:
    """Return what a quoted-string means; other text is returned as it is."""
    if len(text) < 2 or text[0] != '"':
        return text
    inner = text[1:-1]
    return re.sub(r"\\(.)", r"\1", inner, flags=re.DOTALL) if "\\" in inner else inner


def _parse_cseq(text: str) -> CSeq:
    match = _CSEQ.match(text)
    if match is None:
        raise ParseError("malformed CSeq")
    digits, method = match.groups()
    number = int(digits)
    if number >= 2**31:
        raise ParseError("the CSeq number is out of range")
    return CSeq(number, method)


_usual_cseq = lru_cache(maxsize=4096)(_parse_cseq)  # asked for by several steps of a request; and phones count alike


def _parse_name_addr(text: str) -> NameAddr:
    text = text.strip()
    if (quoted := _QUOTED.match(text)) is not None:
        display, rest = unquote(quoted[0]), text[quoted.end() :].lstrip()
        before, bracket, rest = rest.partition("<")
    else:
        before, bracket, rest = text.partition("<")
        display = before.rstrip()
    uri, closing, params = rest.partition(">")
    if not bracket and quoted is None and ">" not in before and '"' not in before.partition(";")[0]:
        return _parse_addr_spec(text)
    if not closing or "<" in uri or (quoted is not None and before):
        raise ParseError("malformed address")
    if quoted is None and not _DISPLAY.match(display):
        raise ParseError("the display name has characters that need quotes")
    return NameAddr(display, uri.strip(), parse_params(params.lstrip()))


def _parse_addr_spec(text: str) -> NameAddr:
    # RFC 3261 20: without angle brackets every parameter is the header's, and none of "," "?" may stand in the URI.
    uri, semicolon, params = text.partition(";")
    uri = uri.rstrip()
    if not uri or not _BARE_URI.match(uri):
        raise ParseError("the address needs angle brackets")
    return NameAddr("", uri, parse_params(semicolon + params))


def _param_text(value: str) -> str:
    return value if TOKEN.match(value) or _IPV6.match(value) else quote(value)
