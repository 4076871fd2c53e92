"""What the phones ask of each other in a call, on its way to the other leg: offers and answers (RFC 3264, RFC 3311).

Only one offer is on its way at a time; who offers meanwhile is told to try later.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from sip import callevents as ev
from sip.errors import ParseError
from sip.outcome import Side, refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sip.mediaplan import MediaPlan
    from sip.outcome import Ending


@dataclass(slots=True)
class Exchange:
    """An offer that is on its way to a leg, ours or the other leg's."""

    target: ev.Leg
    method: str
    origin: ev.Leg | None = None
    """Who made the offer; None where we did."""
    key: int = 0
    """The origin's request, for `Respond`."""
    offered: bool = True
    """Whether the request held the offer; otherwise the answer comes in the ACK."""
    answered: bool = False
    """Whether only the origin's ACK is missing."""
    withdrawn: bool = False
    """Whether the origin has cancelled it, and has its answer."""


class Midcall(ABC):
    """The half of a `sip.callflow.Callflow` that passes on what one leg asks of the other."""

    def __init__(self, media: MediaPlan) -> None:
        self.ending: Ending | None = None
        self._media = media
        self._out: list[ev.Effect] = []
        self._legs: dict[Side, ev.Leg] = {}
        self._exchange: Exchange | None = None

    @abstractmethod
    def _rejoin(self, side: Side) -> None:
        """Offer a side anew what the other one has."""

    @abstractmethod
    def _end(self, ending: Ending) -> None:
        """End the call."""

    def _hold(self, event: ev.Offered) -> None:
        """Answer a device that is kept waiting: it stays held, whatever it offers."""
        if event.leg != self._legs.get(Side.A):
            self._out.append(ev.Respond(event.key, 491))
            return
        self._answer(event)

    def _answer(self, event: ev.Offered) -> None:
        """Answer an offer without asking the other leg."""
        side = event.leg.branch.side
        try:
            body = self._media.repeat(side) if event.body is None else self._media.hold(side, event.body)
        except ParseError as fault:
            self._out.append(ev.Respond(event.key, fault.status))
            return
        refreshes = event.method == "UPDATE" and event.body is None
        self._out.append(ev.Respond(event.key, 200, None if refreshes else body))

    def _pass_offer(self, event: ev.Offered) -> None:
        """Let the other leg answer an offer, unless one is on its way already (RFC 3261 14.2, RFC 3311 5.2)."""
        if self._media.anchored:
            self._answer(event)
            return
        if self._exchange is not None:
            busy_with_same = self._exchange.origin == event.leg
            self._out.append(ev.Respond(event.key, 500 if busy_with_same else 491))
            return
        side = event.leg.branch.side
        try:
            body = None if event.body is None else self._media.pass_offer(side, event.body)
        except ParseError as fault:
            self._out.append(ev.Respond(event.key, fault.status))
            return
        target = self._legs[side.other]
        self._exchange = Exchange(target, event.method, event.leg, event.key, offered=event.body is not None)
        self._out.append(ev.Reoffer(target, event.method, body, event.key))

    def _refuse_offer(self, event: ev.Offered) -> None:
        known = event.leg in self._legs.values() and self.ending is None
        self._out.append(ev.Respond(event.key, 491 if known else 481))

    def _pass_answer(self, event: ev.Reanswered) -> None:
        exchange = self._exchange
        if exchange is None or exchange.target != event.leg:
            self._ack_late(event)
            return
        if exchange.withdrawn:
            self._put_back(exchange, event)
            return
        try:
            body = None if event.body is None else self._media.pass_answer(event.leg.branch.side, event.body)
        except ParseError:
            self._ack_late(event)
            self._end(refused(event.leg.branch.side, 488))
            return
        self._out.append(ev.Respond(exchange.key, 200, body))
        if exchange.method == "INVITE" and not exchange.offered:
            exchange.answered = True  # RFC 3261 13.2.2.4: the answer comes in the ACK, and goes on in ours
            return
        self._ack_late(event)
        self._exchange = None

    def _put_back(self, exchange: Exchange, event: ev.Reanswered) -> None:
        """Undo what the target took from an offer that its maker had cancelled meanwhile."""
        self._ack_late(event)
        self._undo(exchange)
        self._rejoin(event.leg.branch.side)

    def _pass_refusal(self, event: ev.Refused) -> None:
        exchange = self._exchange
        if exchange is None or exchange.target != event.leg:
            return
        status = event.ending.status
        self._undo(exchange)
        if not exchange.withdrawn:
            # A session is refreshed by an UPDATE that offers nothing; who does not know UPDATE is there all the same.
            refreshed = exchange.method == "UPDATE" and not exchange.offered and status in (405, 501)
            self._out.append(ev.Respond(exchange.key, 200 if refreshed else status))
        # RFC 3261 12.2.1.2: with a 481 or a 408 the dialog is over.
        if status in (408, 481):
            self._end(event.ending)

    def _undo(self, exchange: Exchange) -> None:
        """End an exchange as if its offer had never been made."""
        self._exchange = None
        if exchange.offered and exchange.origin is not None:
            self._media.withdraw(exchange.origin.branch.side)

    def _pass_ack(self, event: ev.Acked) -> None:
        exchange = self._exchange
        if exchange is None or not exchange.answered or exchange.origin != event.leg:
            self._agree(event)
            return
        side = event.leg.branch.side
        try:
            body = None if event.body is None else self._media.pass_answer(side, event.body)
        except ParseError:
            self._end(refused(side, 488))
            return
        self._exchange = None
        self._out.append(ev.Ack(exchange.target, body))

    def _agree(self, event: ev.Acked) -> None:
        """Take the answer to an offer of ours that the leg had asked for."""
        side = event.leg.branch.side
        if event.body is None or event.leg != self._legs.get(side):
            return
        try:
            self._media.agreed(side, event.body)
        except ParseError:
            self._end(refused(side, 488))

    def _pass_withdrawal(self, event: ev.Withdrawn) -> None:
        exchange = self._exchange
        if exchange is not None and exchange.origin == event.leg and not exchange.answered and not exchange.withdrawn:
            exchange.withdrawn = True
            self._out.append(ev.Respond(exchange.key, 487))
            self._out.append(ev.CancelReoffer(exchange.target))

    def _pass_message(self, event: ev.Said) -> None:
        self._out.append(ev.Relay(self._legs[event.leg.branch.side.other], event.key))

    def _refuse_message(self, event: ev.Said) -> None:
        known = event.leg in self._legs.values() and self.ending is None
        self._out.append(ev.Respond(event.key, 480 if known else 481))

    def _ack_late(self, event: ev.Reanswered) -> None:
        if event.method == "INVITE":
            self._out.append(ev.Ack(event.leg))

    def _leave_exchange(self) -> None:
        """Answer who waits for an answer; the call is over."""
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            return
        if exchange.answered:
            self._out.append(ev.Ack(exchange.target))
        elif exchange.origin is not None and not exchange.withdrawn:
            self._out.append(ev.Respond(exchange.key, 487))  # RFC 3261 15.1.2

    TABLE: ClassVar[Mapping[tuple[ev.State, type[ev.Input]], Callable[..., None]]] = {
        (ev.State.ROUTING_B, ev.Offered): _hold,
        (ev.State.CALLING_B, ev.Offered): _hold,
        (ev.State.GLARE, ev.Offered): _hold,
        (ev.State.CONNECTED, ev.Offered): _pass_offer,
        (ev.State.CONNECTED, ev.Withdrawn): _pass_withdrawal,
        (ev.State.CONNECTED, ev.Reanswered): _pass_answer,
        (ev.State.CONNECTED, ev.Refused): _pass_refusal,
        (ev.State.CONNECTED, ev.Said): _pass_message,
    }
    """What happens where, of this half."""
    ANYWHERE: ClassVar[Mapping[type[ev.Input], Callable[..., None]]] = {
        ev.Reanswered: _ack_late,
        ev.Offered: _refuse_offer,
        ev.Said: _refuse_message,
        ev.Acked: _pass_ack,
    }
