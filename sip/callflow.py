"""The quickcall as a state machine: what happens in goes to what is to be done (RFC 3261 9, 13-15; RFC 3725).

Leg A is the device, leg B the number. The machine sees legs and descriptions, never messages or sockets: inputs and
effects are values (`sip.callevents`). Every leg that it had invited is cancelled, or acknowledged and ended, before it
reports the end, whatever order things happen in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from sip import callevents as ev
from sip.errors import LocalProtocolError, ParseError
from sip.outcome import ANSWERED_ELSEWHERE, Ending, Outcome, Side, best_told, hung_up, refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sip.calllimits import CallLimits
    from sip.mediaplan import MediaPlan

MAX_ROUNDS: Final = 4  # offers after the first ones until both phones agree; two suffice where phones keep their ports
MAX_BRANCHES: Final = 32  # phones rung at once; a user has a handful


@dataclass(slots=True)
class _Exchange:
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


class Callflow:
    """One call. `handle` takes an input and returns the effects, to be run in order."""

    def __init__(self, media: MediaPlan, limits: CallLimits, chance: Callable[[], float]) -> None:
        self.state = ev.State.IDLE
        self.ending: Ending | None = None
        self._media = media
        self._limits = limits
        self._chance = chance
        self._out: list[ev.Effect] = []
        self._pending: dict[ev.Branch, bool] = {}
        """Branches without a final answer, and whether they were cancelled."""
        self._failures: dict[Side, list[Ending]] = {Side.A: [], Side.B: []}
        self._legs: dict[Side, ev.Leg] = {}
        self._byes: set[ev.Leg] = set()
        self._ringing: set[Side] = set()
        self._exchange: _Exchange | None = None
        self._rounds = 0

    def handle(self, event: ev.Input) -> list[ev.Effect]:
        """Let the input happen. Raises LocalProtocolError for what only we can do wrong."""
        handler = self._TABLE.get((self.state, type(event))) or self._ANYWHERE.get(type(event))
        if handler is None:
            raise LocalProtocolError(f"{type(event).__name__} in state {self.state.value}")
        handler(self, event)
        if self.state is ev.State.ENDING and not self._pending and not self._byes:
            self._enter(ev.State.ENDED)
            self._out.append(ev.Report(ev.Stage.ENDED, ending=self.ending))
        effects, self._out = self._out, []
        return effects

    @property
    def legs(self) -> tuple[ev.Leg, ...]:
        """The legs that are up and in use."""
        return tuple(self._legs.values())

    # Setting up

    def _start(self, event: ev.Start) -> None:
        if not 0 < event.branches <= MAX_BRANCHES:
            raise LocalProtocolError(f"a call cannot ring {event.branches} branches")
        self._enter(ev.State.CALLING_A)
        self._invite(Side.A, event.branches, self._media.first_offer())

    def _invite(self, side: Side, count: int, offer: bytes) -> None:
        for index in range(count):
            branch = ev.Branch(side, index)
            self._pending[branch] = False
            self._out.append(ev.Invite(branch, offer))

    def _ring(self, event: ev.Ringing) -> None:
        side = event.branch.side
        if side not in self._ringing and not self._pending.get(event.branch, True):
            self._ringing.add(side)
            self._out.append(ev.Report(ev.Stage.RINGING, side))

    def _win(self, event: ev.Answered) -> None:
        """Take the first 2xx of the side that is being called, and cancel its other branches."""
        side = event.leg.branch.side
        if side is not _CALLED[self.state] or self._pending.get(event.leg.branch, True):
            self._drop_late(event)
            return
        del self._pending[event.leg.branch]
        self._legs[side] = event.leg
        self._out.append(ev.Ack(event.leg))
        self._cancel_all(side, ANSWERED_ELSEWHERE)
        try:
            told = self._media.answered(side, event.body)
        except ParseError:
            self._end(refused(side, 488))
            return
        self._out.append(ev.Report(ev.Stage.ANSWERED, side))
        if side is Side.A:
            self._enter(ev.State.ROUTING_B)
            self._out.append(ev.Route())
        else:
            self._settle(told)

    def _drop_late(self, event: ev.Answered) -> None:
        """Acknowledge and end a leg that nobody waits for: a 2xx that crossed our CANCEL, or a fork's second."""
        self._pending.pop(event.leg.branch, None)
        self._out.append(ev.Ack(event.leg))
        self._bye(event.leg, ANSWERED_ELSEWHERE if self.ending is None else self.ending.reason)

    def _fail(self, event: ev.Failed) -> None:
        if self._pending.pop(event.branch, None) is None:
            return
        side = event.branch.side
        self._failures[side].append(event.ending)
        if side is _CALLED.get(self.state) and not any(branch.side is side for branch in self._pending):
            self._end(best_told(self._failures[side]))

    def _call_b(self, event: ev.Routed) -> None:
        if not 0 < event.branches <= MAX_BRANCHES:
            raise LocalProtocolError(f"a call cannot ring {event.branches} branches")
        self._enter(ev.State.CALLING_B)
        self._invite(Side.B, event.branches, self._media.offer(Side.B))

    def _no_route(self, event: ev.Unroutable) -> None:
        self._end(event.ending)

    # Joining the legs

    def _settle(self, told: Side | None) -> None:
        """Offer the side that has to hear of the other's media, until both agree."""
        if told is None:
            self._enter(ev.State.CONNECTED)
            self._out.append(ev.Report(ev.Stage.CONNECTED))
            return
        self._rounds += 1
        if self._rounds > MAX_ROUNDS:
            self._end(refused(told, 488))
            return
        self._enter(ev.State.CONNECTING)
        self._reoffer(told)

    def _reoffer(self, side: Side) -> None:
        leg = self._legs[side]
        self._exchange = _Exchange(leg, "INVITE")
        self._out.append(ev.Reoffer(leg, "INVITE", self._media.offer(side)))

    def _settled(self, event: ev.Reanswered) -> None:
        self._exchange = None
        self._out.append(ev.Ack(event.leg))
        side = event.leg.branch.side
        try:
            told = self._media.answered(side, event.body or b"")
        except ParseError:
            self._end(refused(side, 488))
            return
        self._settle(told)

    def _unsettled(self, event: ev.Refused) -> None:
        """Try again where both offered at once, end the call where the leg will not have it."""
        if event.ending.status != 491:
            self._end(event.ending)
            return
        self._enter(ev.State.GLARE)

    def _retry(self, _event: ev.TimedOut) -> None:
        side = self._exchange.target.branch.side if self._exchange else Side.A
        self._settle(side)

    # Offers of the phones

    def _hold(self, event: ev.Offered) -> None:
        """Answer a device that is kept waiting: it stays held, whatever it offers."""
        if event.leg != self._legs.get(Side.A):
            self._out.append(ev.Respond(event.key, 491))
            return
        try:
            body = self._media.repeat(Side.A) if event.body is None else self._media.hold(Side.A, event.body)
        except ParseError as fault:
            self._out.append(ev.Respond(event.key, fault.status))
            return
        refreshes = event.method == "UPDATE" and event.body is None
        self._out.append(ev.Respond(event.key, 200, None if refreshes else body))

    def _pass_offer(self, event: ev.Offered) -> None:
        """Let the other leg answer an offer, unless one is on its way already (RFC 3261 14.2, RFC 3311 5.2)."""
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
        self._exchange = _Exchange(target, event.method, event.leg, event.key, offered=event.body is not None)
        self._out.append(ev.Reoffer(target, event.method, body))

    def _refuse_offer(self, event: ev.Offered) -> None:
        known = event.leg in self._legs.values() and self.ending is None
        self._out.append(ev.Respond(event.key, 491 if known else 481))

    def _pass_answer(self, event: ev.Reanswered) -> None:
        exchange = self._exchange
        if exchange is None or exchange.target != event.leg:
            self._ack_late(event)
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
        if exchange.method == "INVITE":
            self._out.append(ev.Ack(event.leg))
        self._exchange = None

    def _pass_refusal(self, event: ev.Refused) -> None:
        exchange = self._exchange
        if exchange is None or exchange.target != event.leg:
            return
        self._exchange = None
        self._out.append(ev.Respond(exchange.key, event.ending.status))
        # RFC 3261 12.2.1.2: with a 481 or a 408 the dialog is over.
        if event.ending.status in (408, 481):
            self._end(event.ending)

    def _pass_ack(self, event: ev.Acked) -> None:
        exchange = self._exchange
        if exchange is None or not exchange.answered or exchange.origin != event.leg:
            return
        side = event.leg.branch.side
        try:
            body = None if event.body is None else self._media.pass_answer(side, event.body)
        except ParseError:
            self._end(refused(side, 488))
            return
        self._exchange = None
        self._out.append(ev.Ack(exchange.target, body))

    def _pass_withdrawal(self, event: ev.Withdrawn) -> None:
        exchange = self._exchange
        if exchange is not None and exchange.origin == event.leg and not exchange.answered:
            self._out.append(ev.CancelReoffer(exchange.target))

    def _pass_message(self, event: ev.Said) -> None:
        self._out.append(ev.Relay(self._legs[event.leg.branch.side.other], event.key))

    def _refuse_message(self, event: ev.Said) -> None:
        known = event.leg in self._legs.values() and self.ending is None
        self._out.append(ev.Respond(event.key, 480 if known else 481))

    def _ack_late(self, event: ev.Reanswered) -> None:
        if event.method == "INVITE":
            self._out.append(ev.Ack(event.leg))

    # Ending

    def _hang_up(self, event: ev.HungUp) -> None:
        """Take a BYE: of a leg in use it ends the call, of any other it ends what we were ending ourselves."""
        self._byes.discard(event.leg)
        side = event.leg.branch.side
        if self.ending is None and self._legs.get(side) == event.leg:
            del self._legs[side]
            self._end(hung_up(side, connected=self.state is ev.State.CONNECTED, cause=event.cause))

    def _lose(self, event: ev.Lost) -> None:
        if event.leg in self._legs.values():
            self._end(event.ending)

    def _finish_bye(self, event: ev.ByeDone) -> None:
        self._byes.discard(event.leg)

    def _stop(self, event: ev.Stop) -> None:
        self._end(event.ending)

    def _ring_no_more(self, _event: ev.TimedOut) -> None:
        side = _CALLED[self.state]
        rang = side in self._ringing
        self._end(Ending(Outcome.NO_ANSWER if rang else Outcome.TIMEOUT, side, 408, 19 if rang else 18))

    def _take_too_long(self, _event: ev.TimedOut) -> None:
        side = self._exchange.target.branch.side if self._exchange else Side.B
        self._end(Ending(Outcome.TIMEOUT, side, 408, 102))

    def _talk_no_more(self, _event: ev.TimedOut) -> None:
        self._end(Ending(Outcome.LIMIT, None, 200, 31))

    def _forget(self, _event: ev.TimedOut) -> None:
        self._pending.clear()
        self._byes.clear()

    def _end(self, ending: Ending) -> None:
        """Cancel every branch and end every leg; the call is over when all of them are."""
        self.ending = ending
        self._enter(ev.State.ENDING)
        exchange, self._exchange = self._exchange, None
        if exchange is not None and exchange.answered:
            self._out.append(ev.Ack(exchange.target))
        elif exchange is not None and exchange.origin is not None:
            self._out.append(ev.Respond(exchange.key, 487))  # RFC 3261 15.1.2
        for side in Side:
            self._cancel_all(side, ending.reason)
        for leg in self._legs.values():
            self._bye(leg, ending.reason)
        self._legs.clear()

    def _cancel_all(self, side: Side, reason: str) -> None:
        for branch, cancelled in self._pending.items():
            if branch.side is side and not cancelled:
                self._pending[branch] = True
                self._out.append(ev.Cancel(branch, reason))

    def _bye(self, leg: ev.Leg, reason: str) -> None:
        self._byes.add(leg)
        self._out.append(ev.Bye(leg, reason))

    def _enter(self, state: ev.State) -> None:
        self.state = state
        self._out.append(ev.Wait(self._limits.patience(state, self._chance)))

    def _ignore(self, _event: ev.Input) -> None:
        """Let it pass: it came too late to matter."""

    _TABLE: ClassVar[Mapping[tuple[ev.State, type[ev.Input]], Callable[..., None]]] = {
        (ev.State.IDLE, ev.Start): _start,
        (ev.State.CALLING_A, ev.Ringing): _ring,
        (ev.State.CALLING_A, ev.Answered): _win,
        (ev.State.CALLING_A, ev.TimedOut): _ring_no_more,
        (ev.State.ROUTING_B, ev.Routed): _call_b,
        (ev.State.ROUTING_B, ev.Unroutable): _no_route,
        (ev.State.ROUTING_B, ev.Offered): _hold,
        (ev.State.ROUTING_B, ev.TimedOut): _take_too_long,
        (ev.State.CALLING_B, ev.Ringing): _ring,
        (ev.State.CALLING_B, ev.Answered): _win,
        (ev.State.CALLING_B, ev.Offered): _hold,
        (ev.State.CALLING_B, ev.TimedOut): _ring_no_more,
        (ev.State.CONNECTING, ev.Reanswered): _settled,
        (ev.State.CONNECTING, ev.Refused): _unsettled,
        (ev.State.CONNECTING, ev.TimedOut): _take_too_long,
        (ev.State.GLARE, ev.Offered): _hold,
        (ev.State.GLARE, ev.TimedOut): _retry,
        (ev.State.CONNECTED, ev.Offered): _pass_offer,
        (ev.State.CONNECTED, ev.Withdrawn): _pass_withdrawal,
        (ev.State.CONNECTED, ev.Reanswered): _pass_answer,
        (ev.State.CONNECTED, ev.Refused): _pass_refusal,
        (ev.State.CONNECTED, ev.Acked): _pass_ack,
        (ev.State.CONNECTED, ev.Said): _pass_message,
        (ev.State.CONNECTED, ev.TimedOut): _talk_no_more,
        (ev.State.ENDING, ev.TimedOut): _forget,
        (ev.State.ENDING, ev.Stop): _ignore,
        (ev.State.ENDED, ev.Stop): _ignore,
    }
    # What may come at any time, since peers and the network choose when.
    _ANYWHERE: ClassVar[Mapping[type[ev.Input], Callable[..., None]]] = {
        ev.Answered: _drop_late,
        ev.Failed: _fail,
        ev.HungUp: _hang_up,
        ev.Lost: _lose,
        ev.ByeDone: _finish_bye,
        ev.Stop: _stop,
        ev.Reanswered: _ack_late,
        ev.Offered: _refuse_offer,
        ev.Said: _refuse_message,
        **dict.fromkeys((ev.Ringing, ev.Refused, ev.Acked, ev.Withdrawn, ev.Routed, ev.Unroutable), _ignore),
    }


_CALLED: Final[Mapping[ev.State, Side]] = {ev.State.CALLING_A: Side.A, ev.State.CALLING_B: Side.B}
