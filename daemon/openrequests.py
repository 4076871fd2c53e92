"""The requests of a call's phones that wait for the other leg, and the answers on their way back (RFC 3261 12.2.2).

Of a session timer (RFC 4028) the phones' own words go across: who refreshes, how often, and what is too short.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sip import callevents as ev
from sip.invite import ALLOW
from sip.message import Response
from sip.sdp import CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from daemon.leg import LiveLeg
    from sip.io.exchange import ServerTransaction
    from sip.message import Message, Request

MAX_OPEN: Final = 16  # requests of one call's phones that wait at once
OF_INFO: Final = ("Content-Type", "Content-Disposition", "Info-Package")
OF_TIMER: Final = ("Session-Expires", "Min-SE")
TIMER: Final = "timer"
"""The option tag of session timers."""


@dataclass(slots=True)
class _Open:
    """A request that waits."""

    leg: ev.Leg
    request: Request
    transaction: ServerTransaction
    told: Mapping[str, str]
    """Headers of the other leg's answer."""


class OpenRequests:
    """Those of one call. `feed` takes the inputs of its state machine."""

    def __init__(self, feed: Callable[[ev.Input], None], lose: Callable[[ev.Leg, int], None]) -> None:
        self._feed = feed
        self._lose = lose
        self._open: dict[int, _Open] = {}
        self._keys = 0

    def __len__(self) -> int:
        return len(self._open)

    def take(self, leg: ev.Leg, request: Request, transaction: ServerTransaction) -> None:
        """Let the machine hear of an INVITE, UPDATE or INFO."""
        if len(self._open) >= MAX_OPEN:
            transaction.respond(refusal(request, 500))
            return
        self._keys += 1
        key = self._keys
        self._open[key] = _Open(leg, request, transaction, {})
        if request.method == "INFO":
            self._feed(ev.Said(leg, key))
            return
        if request.method == "INVITE":
            transaction.respond(Response.to_request(request, 100))
            transaction.on_cancel = lambda: self._feed(ev.Withdrawn(leg))
            transaction.on_failure = lambda _failure: self._lose(leg, 408)
        self._feed(ev.Offered(leg, key, request.method, request.body or None))

    def close(self) -> None:
        """Answer whatever still waits for the other leg, and tell of nothing any more: the call is over."""
        for found in self._open.values():
            if found.transaction.request is not None:
                found.transaction.respond(refusal(found.request, 481))
        self._open.clear()
        self._feed = self._lose = _tell_nobody

    def timer_headers(self, key: int) -> Mapping[str, str]:
        """Return what the request says of session timers, for the one that passes it on."""
        return session_timer(self._open[key].request) if key in self._open else {}

    def keep_timer(self, key: int, response: Response) -> None:
        """Note what the other leg's answer says of session timers, for our answer."""
        if key in self._open:
            self._open[key].told = session_timer(response)

    def respond(self, effect: ev.Respond, legs: Mapping[ev.Leg, LiveLeg]) -> None:
        """Answer a request."""
        found = self._open.pop(effect.key)
        request, transaction = found.request, found.transaction
        if transaction.request is None:
            return  # cancelled: it has its 487
        response = refusal(request, effect.status)
        for name, value in found.told.items():
            response.set(name, value)
        if response.success and request.method in ("INVITE", "UPDATE"):
            leg = legs[found.leg]
            response.set("Contact", leg.dialog.contact)
            response.set("Allow", ALLOW)
            if effect.body:
                response.set("Content-Type", CONTENT_TYPE)
                response.body = effect.body
            if request.method == "INVITE":
                leg.accepted = transaction
        transaction.respond(response)

    def relay(self, effect: ev.Relay, legs: Mapping[ev.Leg, LiveLeg]) -> None:
        """Send an INFO on, and its answer back."""
        request = self._open[effect.key].request
        headers = {name: value for name in OF_INFO if (value := request.first(name)) is not None}

        def on_final(status: int, _response: Response | None) -> None:
            if effect.key in self._open:
                self.respond(ev.Respond(effect.key, status), legs)

        legs[effect.leg].send(request.method, on_final, headers, request.body)


def _tell_nobody(*_what: object) -> None:
    """Take what comes when the call is over."""


def session_timer(message: Message) -> Mapping[str, str]:
    """Return the headers of a message that make a session timer (RFC 4028 4, 5)."""
    headers = {name: value for name in OF_TIMER if (value := message.first(name)) is not None}
    headers.update({name: TIMER for name in ("Supported", "Require") if TIMER in message.tokens(name)})
    return headers


def refusal(request: Request, status: int) -> Response:
    """Return an answer without a body; after a 500 the phone may try again (RFC 3261 14.2)."""
    response = Response.to_request(request, status)
    if status == 500:
        response.add("Retry-After", "2")  # between 0 and 10 seconds
    return response
