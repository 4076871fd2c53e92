"""Dialogs as their UAC sees them: who is who, in which order, and along which way (RFC 3261 12).

A dialog builds requests and checks those of the peer; it sends nothing. Via is put on by whoever sends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from sip.errors import ParseError
from sip.headers import NameAddr
from sip.message import Request
from sip.route import way_along
from sip.uri import SipUri

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sip.message import Message, Response

MAX_ROUTES: Final = 16  # proxies on the way; Max-Forwards allows 70, nobody records more than a few
_REFRESHING: Final = frozenset({"INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY"})


class DialogId(NamedTuple):
    """What names a dialog, on our side (RFC 3261 12)."""

    call_id: str
    local_tag: str
    remote_tag: str

    @staticmethod
    def of_request(request: Request) -> DialogId:
        """Return the dialog that an incoming request names: its To is us. Raises ParseError."""
        return DialogId(request.call_id, request.to.tag or "", request.from_.tag or "")

    @staticmethod
    def of_response(response: Response) -> DialogId:
        """Return the dialog that a response to our request names: its From is us. Raises ParseError."""
        return DialogId(response.call_id, response.from_.tag or "", response.to.tag or "")


@dataclass(slots=True, eq=False)
class Dialog:
    """The state of one dialog (RFC 3261 12.1.2)."""

    id: DialogId
    local: NameAddr
    """Our From, with its tag."""
    remote: NameAddr
    """Our To, with the peer's tag."""
    contact: str
    """Our Contact value."""
    remote_target: str
    """The URI that the peer wants to be reached at."""
    route_set: tuple[str, ...]
    """Route values, first hop first."""
    local_cseq: int
    remote_cseq: int | None = None
    """The peer's last; None until it has sent a request."""

    @classmethod
    def from_response(cls, request: Request, response: Response) -> Dialog:
        """Make the dialog that a 1xx or 2xx with a To tag establishes (RFC 3261 12.1.2). Raises ParseError."""
        cseq = request.cseq
        return cls(
            id=DialogId.of_response(response),
            local=request.from_,
            remote=response.to,
            contact=request.one("Contact"),
            remote_target=_target(response) or request.uri,
            route_set=_recorded(response),
            local_cseq=cseq.number,
        )

    def confirm(self, response: Response) -> None:
        """Take over what the 2xx says, in the place of what an earlier 1xx said (RFC 3261 13.2.2.4).

        Raises ParseError, and then nothing has changed.
        """
        route_set, target = _recorded(response), _target(response)
        self.route_set = route_set
        self.remote_target = target or self.remote_target

    def refresh(self, message: Message) -> None:
        """Take the peer's new Contact from a target refresh request or its 2xx (RFC 3261 12.2). Raises ParseError."""
        self.remote_target = _target(message) or self.remote_target

    def request(self, method: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Request:
        """Build the next request within the dialog (RFC 3261 12.2.1.1)."""
        self.local_cseq += 1
        request = self._build(method, self.local_cseq)
        if method in _REFRESHING:
            request.set("Contact", self.contact)
        for name, value in (headers or {}).items():
            request.set(name, value)
        request.body = body
        return request

    def ack(self, invite: Request, body: bytes = b"", content_type: str = "application/sdp") -> Request:
        """Build the ACK of a 2xx to this INVITE, with the answer where the 2xx held an offer (RFC 3261 13.2.2.4)."""
        request = self._build("ACK", invite.cseq.number)
        # RFC 3261 13.2.2.4: MUST contain the same credentials as the INVITE.
        for name in ("Authorization", "Proxy-Authorization"):
            request.set(name, *invite.lines(name))
        if body:
            request.set("Content-Type", content_type)
            request.body = body
        return request

    def accept(self, request: Request) -> int | None:
        """Check the order of the peer's request; returns the status to refuse it with (RFC 3261 12.2.2).

        An ACK or CANCEL repeats its INVITE's number and is let pass. Raises ParseError.
        """
        number = request.cseq.number
        if request.method in ("ACK", "CANCEL"):
            return None
        # RFC 3261 12.2.2: a lower CSeq is out of order and MUST be rejected with a 500.
        if self.remote_cseq is not None and number <= self.remote_cseq:
            return 500
        self.remote_cseq = number
        if request.method in _REFRESHING:
            self.refresh(request)
        return None

    @property
    def next_hop(self) -> str:
        """The URI that requests of this dialog go to: the first route, or the peer itself (RFC 3261 8.1.2)."""
        return NameAddr.parse(self.route_set[0]).uri if self.route_set else self.remote_target

    def _build(self, method: str, number: int) -> Request:
        uri, routes = way_along(self.route_set, self.remote_target)
        request = Request(method, uri)
        request.set("Max-Forwards", "70")
        request.set("Route", *routes)
        request.set("From", str(self.local))
        request.set("To", str(self.remote))
        request.set("Call-ID", self.id.call_id)
        request.set("CSeq", f"{number} {method}")
        return request


def _target(message: Message) -> str | None:
    contact = message.first("Contact")
    if contact is None:
        return None
    uri = NameAddr.parse(message.values("Contact")[0]).uri
    SipUri.parse(uri)
    return uri


def _recorded(response: Response) -> tuple[str, ...]:
    """Return the route set of a response: its Record-Route values in reverse, parameters and all."""
    values = response.values("Record-Route")
    if len(values) > MAX_ROUTES:
        raise ParseError("too many Record-Route values")
    for value in values:
        SipUri.parse(NameAddr.parse(value).uri)
    return tuple(reversed(values))
