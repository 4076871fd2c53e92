"""SIP messages: bytes in, lazily read values out, and back (RFC 3261 7).

Parsing indexes the header lines and looks at no value. What is wrong with a message that could still be answered is
kept as its `defect`, so that the answer can be made from the same message.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from sip.errors import LocalProtocolError, ParseError
from sip.headers import MAX_NAME, CSeq, NameAddr, header_name, split_first, split_values
from sip.via import Via

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_MESSAGE: Final = 65_535  # bytes: one UDP datagram, and no more by stream
MAX_HEAD: Final = 16_384  # bytes of start line and headers; the longest of RFC 4475 has under 4 KiB
MAX_HEADER_LINES: Final = 256  # RFC 4475's longest has under 60
MAX_HEADER_LINE: Final = 8192  # bytes; cookies of RFC 8760 and certificates of RFC 4474 stay under 4 KiB

_TAG: Final = re.compile(r";\s*tag\s*=", re.IGNORECASE)
_VERSION: Final = re.compile(r"SIP/\d+\.\d+\Z", re.IGNORECASE)
_METHOD: Final = re.compile(r"[A-Za-z0-9.!%*_+`'~-]{1,64}\Z")
_STATUS_LINE: Final = re.compile(r"SIP/2\.0 +([1-6][0-9]{2})(?: (.*))?\Z", re.IGNORECASE | re.DOTALL)

REASONS: Final[dict[int, str]] = {
    100: "Trying", 180: "Ringing", 181: "Call Is Being Forwarded", 182: "Queued", 183: "Session Progress",
    200: "OK", 202: "Accepted", 204: "No Notification", 300: "Multiple Choices", 301: "Moved Permanently",
    302: "Moved Temporarily", 305: "Use Proxy", 380: "Alternative Service", 400: "Bad Request", 401: "Unauthorized",
    402: "Payment Required", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 406: "Not Acceptable",
    407: "Proxy Authentication Required", 408: "Request Timeout", 410: "Gone", 412: "Conditional Request Failed",
    413: "Request Entity Too Large", 414: "Request-URI Too Long", 415: "Unsupported Media Type",
    416: "Unsupported URI Scheme", 420: "Bad Extension", 421: "Extension Required",
    422: "Session Interval Too Small", 423: "Interval Too Brief", 439: "First Hop Lacks Outbound Support",
    480: "Temporarily Unavailable", 481: "Call/Transaction Does Not Exist", 482: "Loop Detected",
    483: "Too Many Hops", 484: "Address Incomplete", 485: "Ambiguous", 486: "Busy Here", 487: "Request Terminated",
    488: "Not Acceptable Here", 489: "Bad Event", 491: "Request Pending", 493: "Undecipherable",
    500: "Server Internal Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable",
    504: "Server Time-out", 505: "Version Not Supported", 513: "Message Too Large", 600: "Busy Everywhere",
    603: "Decline", 604: "Does Not Exist Anywhere", 606: "Not Acceptable",
}  # fmt: skip


class Message:
    """What requests and responses share: header fields and a body.

    Header names are given in their canonical spelling (`Call-ID`, `CSeq`), whatever the peer wrote.
    """

    __slots__ = ("_fields", "_more", "body", "defect")

    def __init__(self, body: bytes = b"") -> None:
        self._fields: dict[str, str] = {}  # the first line of each header: nearly always its only one
        self._more: dict[str, list[str]] | None = None  # the further lines of the headers that have any
        self.body = body
        self.defect: ParseError | None = None
        """The first structural fault that was met while parsing."""

    def first(self, name: str) -> str | None:
        """Return the first value line of a header, None where it is absent."""
        return self._fields.get(name)

    def one(self, name: str) -> str:
        """Return the value of a header that must stand exactly once. Raises ParseError."""
        value = self._fields.get(name)
        if value is None:
            raise ParseError(f"{name} is missing")
        if self._more is not None and name in self._more:
            raise ParseError(f"{name} stands more than once")
        return value

    def lines(self, name: str) -> list[str]:
        """Return the value lines of a header, unsplit."""
        value = self._fields.get(name)
        if value is None:
            return []
        return [value] if self._more is None else [value, *self._more.get(name, ())]

    def values(self, name: str) -> list[str]:
        """Return the comma-separated values of a header over all its lines (RFC 3261 7.3.1)."""
        value = self._fields.get(name)
        if value is None:
            return []
        if self._more is None:
            return split_values(value)
        return [value for line in self.lines(name) for value in split_values(line)]

    def has(self, name: str) -> bool:
        """Return whether the header is present."""
        return name in self._fields

    def names(self) -> Iterable[str]:
        """Return the canonical names of the headers that are present, in order."""
        return self._fields.keys()

    def add(self, name: str, value: str) -> None:
        """Append a header line. Raises LocalProtocolError where the value would break out of its line."""
        self._append(name, _checked(name, value))

    def set(self, name: str, *values: str) -> None:
        """Put these lines in the place of whatever the header had; none removes it."""
        for value in values:
            _checked(name, value)
        if self._more is not None:
            self._more.pop(name, None)
        if values:
            self._fields[name] = values[0]
            for value in values[1:]:
                self._append(name, value)
        else:
            self._fields.pop(name, None)

    def put_first(self, name: str, value: str) -> None:
        """Put this line before all other headers, in the place of whatever the header had."""
        self.set(name)
        self._fields = {name: _checked(name, value), **self._fields}

    def replace_first(self, name: str, value: str) -> None:
        """Put this line in the place of the first that the header has."""
        self._fields[name] = _checked(name, value)

    def put_last(self, name: str, value: str) -> None:
        """Put this line in the place of the last that the header has."""
        more = None if self._more is None else self._more.get(name)
        if more:
            more[-1] = _checked(name, value)
        else:
            self._fields[name] = _checked(name, value)

    def tokens(self, name: str) -> frozenset[str]:
        """Return the values of a header of option tags or methods, in lower case (Supported, Require, Allow)."""
        return frozenset(value.lower() for value in self.values(name) if value)

    @property
    def call_id(self) -> str:
        """The Call-ID. Raises ParseError where it is missing."""
        return self.one("Call-ID")

    @property
    def cseq(self) -> CSeq:
        """The CSeq. Raises ParseError."""
        return CSeq.parse(self.one("CSeq"))

    @property
    def from_(self) -> NameAddr:
        """The From. Raises ParseError."""
        return NameAddr.parse(self.one("From"))

    @property
    def to(self) -> NameAddr:
        """The To. Raises ParseError."""
        return NameAddr.parse(self.one("To"))

    @property
    def via(self) -> Via:
        """The topmost Via. Raises ParseError."""
        line = self._fields.get("Via")
        if line is None:
            raise ParseError("Via is missing")
        return Via.parse(split_first(line)[0])

    @property
    def content_type(self) -> str:
        """The media type of the body in lower case, without parameters; empty where none is said."""
        return (self.first("Content-Type") or "").partition(";")[0].strip().lower()

    def _append(self, name: str, value: str) -> None:
        if name not in self._fields:
            self._fields[name] = value
            return
        if self._more is None:
            self._more = {}
        self._more.setdefault(name, []).append(value)

    def _take(self, other: Message, names: Iterable[str]) -> None:
        """Take over the headers of these names that the other message has."""
        theirs = other._fields
        self._fields = {name: theirs[name] for name in names if name in theirs}
        if other._more is not None:
            self._more = {name: list(lines) for name, lines in other._more.items() if name in self._fields}

    def _encode(self, start_line: str) -> bytes:
        parts = [start_line]
        for name, value in self._fields.items():
            if name == "Content-Length":
                continue
            parts.append(f"{name}: {value}")
            if self._more is not None:
                parts += [f"{name}: {line}" for line in self._more.get(name, ())]
        parts.append(f"Content-Length: {len(self.body)}\r\n\r\n")
        return "\r\n".join(parts).encode("utf-8", "surrogateescape") + self.body


class Request(Message):
    """A SIP request."""

    __slots__ = ("method", "uri", "version")

    def __init__(self, method: str, uri: str, body: bytes = b"", version: str = "SIP/2.0") -> None:
        super().__init__(body)
        self.method = method
        self.uri = uri
        """The Request-URI as it stands in the request line, not yet parsed."""
        self.version = version

    def copy(self) -> Request:
        """Return a request of its own that is the same."""
        again = Request(self.method, self.uri, self.body, self.version)
        again._take(self, self._fields)
        return again

    def encode(self) -> bytes:
        """Return the request as it goes on the wire, with a Content-Length that is true."""
        if not self.uri or any(char in self.uri for char in " \r\n"):
            raise LocalProtocolError(f"the Request-URI would break the request line: {self.uri!r}")
        return self._encode(f"{self.method} {self.uri} {self.version}")

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.uri}>"


class Response(Message):
    """A SIP response."""

    __slots__ = ("reason", "status")

    def __init__(self, status: int, reason: str | None = None, body: bytes = b"") -> None:
        super().__init__(body)
        self.status = status
        self.reason = reason_phrase(status) if reason is None else reason

    @classmethod
    def to_request(cls, request: Request, status: int, reason: str | None = None, *, to_tag: str = "") -> Response:
        """Build the response to a request (RFC 3261 8.2.6.2), with our tag in To where there is none yet."""
        response = cls(status, reason)
        response._take(request, _COPIED)
        to = request.first("To")
        if to_tag and to and status > 100 and not has_tag(to):
            response._fields["To"] = f"{to};tag={to_tag}"
        return response

    @property
    def final(self) -> bool:
        """Whether the response ends its transaction."""
        return self.status >= 200

    @property
    def success(self) -> bool:
        """Whether the response is a 2xx."""
        return 200 <= self.status < 300

    def encode(self) -> bytes:
        """Return the response as it goes on the wire, with a Content-Length that is true."""
        return self._encode(f"SIP/2.0 {self.status} {_checked('reason', self.reason)}")

    def __repr__(self) -> str:
        return f"<Response {self.status} {self.reason}>"


def has_tag(address: str) -> bool:
    """Return whether a From or To has a tag, however it is written."""
    return not address.endswith(">") and _TAG.search(address.rpartition(">")[2]) is not None


def reason_phrase(status: int) -> str:
    """Return the usual reason phrase of a status (RFC 3261 21)."""
    known = REASONS.get(status)
    if known:
        return known
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def parse_message(data: bytes) -> Request | Response:
    """Parse one message: a datagram, or what the stream framing cut out.

    Octets beyond Content-Length are ignored (RFC 3261 18.3). Raises ParseError only where nothing can be answered: no
    start line, or a response that is not one; every other fault is the message's `defect`.
    """
    head, blank, body = data.partition(b"\r\n\r\n")
    too_long = len(head) > MAX_HEAD
    if too_long:
        head = head[: max(0, head.rfind(b"\r\n", 0, MAX_HEAD))]
    lines = head.decode("utf-8", "surrogateescape").split("\r\n")
    text = "".join(lines)
    broken = "\r" in text or "\n" in text  # a bare CR or LF ends a line too
    if broken:
        # What goes back in the answer must not end a line there.
        lines = [line.replace("\r", " ").replace("\n", " ") for line in lines]
    if len(text) > MAX_HEADER_LINE:
        lines[1:] = [line if len(line) <= MAX_HEADER_LINE else "" for line in lines[1:]]  # an empty one is malformed
    message = _start(lines[0])
    if too_long:
        message.defect = ParseError("the header is too long", status=513)
    elif not blank:
        message.defect = ParseError("the header ends without an empty line")
    elif broken:
        message.defect = ParseError("a bare CR or LF stands in the header")
    _index(message, lines)
    _cut_body(message, body)
    return message


def _start(line: str) -> Request | Response:
    if line[:4].upper() == "SIP/":
        match = _STATUS_LINE.match(line)
        if match is None:
            raise ParseError("malformed status line")
        return Response(int(match[1]), match[2] or "")
    method, _, rest = line.partition(" ")
    uri, _, version = rest.rpartition(" ")
    if version == "SIP/2.0" and uri and " " not in uri and (method in _USUAL_METHODS or _METHOD.match(method)):
        return Request(method, uri)
    return _doubtful_request(line)


def _doubtful_request(line: str) -> Request:
    """Read what can be read of a request line that is not by the grammar, so that it can be refused by name."""
    parts = line.split()
    version = next((part for part in reversed(parts) if _VERSION.match(part)), "")
    if len(parts) < 2 or not _METHOD.match(parts[0]) or not version:
        raise ParseError("neither a request nor a response")
    request = Request(parts[0], parts[1])
    if version.upper() != "SIP/2.0":
        request.defect = ParseError("the SIP version is not supported", status=505)
    else:
        request.defect = ParseError("malformed request line")
    return request


def _index(message: Message, lines: list[str]) -> None:
    fields = message._fields
    usual = _USUAL_NAMES
    if len(lines) > MAX_HEADER_LINES:
        _fault(message, "too many header lines")
        del lines[MAX_HEADER_LINES:]
    last = ""
    for line in lines[1:]:
        written, colon, value = line.partition(": ")
        name = usual.get(written)
        if name is None:
            written, colon, value = line.partition(":")
            if line[:1] in _BLANKS and last:
                _unfold(message, last, line)
                continue
            name = header_name(written) if 0 < len(written) <= MAX_NAME and written[0] not in _BLANKS else ""
        if not colon or not name:
            _fault(message, "malformed header line")
            last = ""
            continue
        last = name
        if name in fields:
            message.add(name, value.strip())
        else:
            fields[name] = value.strip()


def _unfold(message: Message, name: str, line: str) -> None:
    """Add a line that begins with a blank to the one before (RFC 3261 7.3.1)."""
    unfolded = f"{message.lines(name)[-1]} {line.strip()}".strip()
    if len(unfolded) > MAX_HEADER_LINE:
        _fault(message, "malformed header line")
    else:
        message.put_last(name, unfolded)


def _fault(message: Message, reason: str) -> None:
    message.defect = message.defect or ParseError(reason)


def _cut_body(message: Message, body: bytes) -> None:
    text = message.first("Content-Length")
    if text is None:
        message.body = body
    elif len(message.lines("Content-Length")) > 1 or not (text.isascii() and text.isdigit()) or len(text) > 9:
        message.defect = message.defect or ParseError("malformed Content-Length")
    elif int(text) > len(body):
        message.defect = message.defect or ParseError("the body is shorter than Content-Length")
    else:
        message.body = body[: int(text)]


def _checked(name: str, value: str) -> str:
    if "\r" in value or "\n" in value:
        raise LocalProtocolError(f"a line break in the value of {name}")
    return value


_BLANKS: Final = (" ", "\t")
_COPIED: Final = ("Via", "From", "To", "Call-ID", "CSeq")
_USUAL_METHODS: Final = frozenset({"REGISTER", "OPTIONS", "INVITE", "ACK", "CANCEL", "BYE", "NOTIFY", "SUBSCRIBE"})
_USUAL_NAMES: Final = {
    name: name
    for name in (
        "Via", "From", "To", "Call-ID", "CSeq", "Contact", "Max-Forwards", "Expires", "Content-Length", "Content-Type",
        "User-Agent", "Authorization", "Allow", "Allow-Events", "Supported", "Accept", "Route", "Path", "Server",
        "Date", "WWW-Authenticate",
    )
}  # fmt: skip
"""As nearly every phone spells them: one look-up, where others cost a call. Each is one text, found again by itself."""
