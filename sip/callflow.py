"""The quickcall as a state machine: what happens in goes to what is to be done (RFC 3261 9, 13-15; RFC 3725).

Leg A is the device, leg B the number. The machine sees legs and descriptions, never messages or sockets: inputs and
effects are values (`sip.callevents`). Every leg that it had invited is cancelled, or acknowledged and ended, before it
reports the end, whatever order things happen in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from sip import callevents as ev
from sip.errors import LocalProtocolError, ParseError
from sip.midcall import Exchange, Midcall
from sip.outcome import ANSWERED_ELSEWHERE, TRANSFERRED, Ending, Outcome, Side, best_told, hung_up, refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sip.calllimits import CallLimits
    from sip.mediaplan import MediaPlan

MAX_ROUNDS: Final = 4  # offers after the first ones until both phones agree; two suffice where phones keep their ports
MAX_BRANCHES: Final = 32  # phones rung at once; a user has a handful
CONFIRMS: Final = "1"  # the key by which whoever a call was forwarded to takes it (contract 6.5)


class Callflow(Midcall):
    """One call. `handle` takes an input and returns the effects, to be run in order."""

    def __init__(self, media: MediaPlan, limits: CallLimits, chance: Callable[[], float]) -> None:
        super().__init__(media)
        self.state = ev.State.IDLE
        self._limits = limits
        self._chance = chance
        self._pending: dict[ev.Branch, bool] = {}
        """Branches without a final answer, and whether they were cancelled."""
        self._failures: dict[Side, list[Ending]] = {Side.A: [], Side.B: []}
        self._byes: set[ev.Leg] = set()
        self._ringing: set[Side] = set()
        self._invited = {Side.A: 0, Side.B: 0}
        """How many branches a side has had."""
        self._keypress: set[ev.Branch] = set()
        """Branches whose answer counts once a key was pressed."""
        self._asked: ev.Leg | None = None
        """The one of them that has answered."""
        self._asked_told: Side | None = None
        """Who has to hear of its media."""
        self._joined = False
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

    @property
    def joined(self) -> bool:
        """Whether both legs are, or were, joined."""
        return self._joined

    @property
    def settled(self) -> bool:
        """Whether both legs are joined, and nothing is on its way between them."""
        return self.state is ev.State.CONNECTED and self._exchange is None

    # Setting up

    def _start(self, event: ev.Start) -> None:
        self._enter(ev.State.CALLING_A)
        self._invite(Side.A, event)

    def _invite(self, side: Side, event: ev.Start | ev.Routed | ev.Diverted) -> None:
        if not 0 < event.branches <= MAX_BRANCHES:
            raise LocalProtocolError(f"a call cannot ring {event.branches} branches")
        for index in range(event.branches):
            branch = ev.Branch(side, self._invited[side])
            self._invited[side] += 1
            if index in event.keypress:
                self._keypress.add(branch)
            self._pending[branch] = False
            self._out.append(ev.Invite(branch, self._media.invite(branch)))

    def _ring(self, event: ev.Ringing) -> None:
        side = event.branch.side
        if self._pending.get(event.branch, True):
            return
        self._media.rang(event.branch, b"" if event.branch in self._keypress else event.body)
        if side not in self._ringing:
            self._ringing.add(side)
            self._out.append(ev.Report(ev.Stage.RINGING, side))

    def _win(self, event: ev.Answered) -> None:
        """Take the first 2xx of the side that is being called, and cancel its other branches."""
        branch = event.leg.branch
        side = branch.side
        must_press = branch in self._keypress
        if side is not _CALLED[self.state] or self._pending.get(branch, True) or (must_press and self._asked):
            self._drop_late(event)
            return
        del self._pending[branch]
        self._leave_asked()
        self._legs[side] = event.leg
        self._out.append(ev.Ack(event.leg))
        if not must_press:
            self._cancel_all(side, ANSWERED_ELSEWHERE)
        try:
            self._media.choose(branch)
            told = self._media.answered(side, event.body)
        except ParseError:
            self._end(refused(side, 488))
            return
        if must_press:
            self._asked, self._asked_told = event.leg, told
            self._media.ask(side)
            self._out.append(ev.Ask(event.leg))
            return
        self._take(side, told)

    def _take(self, side: Side, told: Side | None) -> None:
        """Go on with the leg that a side has."""
        self._media.taken(side)
        self._out.append(ev.Report(ev.Stage.ANSWERED, side))
        if side is Side.A:
            self._find_number()
        else:
            self._settle(told)

    def _find_number(self) -> None:
        self._enter(ev.State.ROUTING_B)
        self._out.append(ev.Route())

    def _confirm(self, event: ev.Pressed) -> None:
        """Let whoever a call was forwarded to take it by a key, and not a mailbox by answering."""
        if event.leg != self._asked or event.digit != CONFIRMS:
            return
        self._asked = None
        side = event.leg.branch.side
        self._cancel_all(side, ANSWERED_ELSEWHERE)
        self._take(side, self._asked_told)

    def _leave_asked(self) -> None:
        """Let go of a leg that answered and did not press the key, for another phone has answered."""
        leg, self._asked = self._asked, None
        if leg is not None:
            self._bye(leg, ANSWERED_ELSEWHERE)
            self._media.renew(leg.branch.side)

    def _lose_asked(self, side: Side, ending: Ending) -> None:
        """Take the end of such a leg as the failure of its branch."""
        self._asked = None
        del self._legs[side]
        self._media.renew(side)
        self._count_failure(side, ending)

    def _drop_late(self, event: ev.Answered) -> None:
        """Acknowledge and end a leg that nobody waits for: a 2xx that crossed our CANCEL, or a fork's second."""
        self._pending.pop(event.leg.branch, None)
        self._out.append(ev.Ack(event.leg))
        self._bye(event.leg, ANSWERED_ELSEWHERE if self.ending is None else self.ending.reason)

    def _fail(self, event: ev.Failed) -> None:
        if self._pending.pop(event.branch, None) is None:
            return
        self._count_failure(event.branch.side, event.ending)

    def _divert(self, event: ev.Diverted) -> None:
        """Ring others in the place of a branch, unless it was given up meanwhile."""
        cancelled = self._pending.pop(event.branch, True)
        side = event.branch.side
        if not cancelled and side is _CALLED.get(self.state):
            self._invite(side, event)

    def _count_failure(self, side: Side, ending: Ending) -> None:
        self._failures[side].append(ending)
        waits = self._asked is not None or any(branch.side is side for branch in self._pending)
        if side is _CALLED.get(self.state) and not waits:
            self._end(best_told(self._failures[side]))

    def _call_b(self, event: ev.Routed) -> None:
        self._enter(ev.State.CALLING_B)
        self._invite(Side.B, event)

    def _no_route(self, event: ev.Unroutable) -> None:
        self._end(event.ending)

    # Joining the legs

    def _settle(self, told: Side | None) -> None:
        """Offer the side that has to hear of the other's media, until both agree."""
        if told is None:
            self._enter(ev.State.CONNECTED)
            if not self._joined:
                self._joined = True
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
        self._exchange = Exchange(leg, "INVITE")
        self._out.append(ev.Reoffer(leg, "INVITE", self._media.offer(side)))

    def _rejoin(self, side: Side) -> None:
        self._rounds = 0
        self._settle(side)

    def _reroute(self, _event: ev.Reroute) -> None:
        """End the number's leg, and call another one in its place."""
        if self._exchange is not None:
            return
        self._bye(self._legs.pop(Side.B), TRANSFERRED.reason)
        self._media.renew(Side.B)
        self._failures[Side.B].clear()
        self._ringing.discard(Side.B)
        self._rounds = 0
        self._find_number()

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

    # Ending

    def _hang_up(self, event: ev.HungUp) -> None:
        """Take a BYE: of a leg in use it ends the call, of any other it ends what we were ending ourselves."""
        self._byes.discard(event.leg)
        side = event.leg.branch.side
        if self.ending is not None or self._legs.get(side) != event.leg:
            return
        if event.leg == self._asked:
            self._lose_asked(side, refused(side, 603))
            return
        del self._legs[side]
        self._end(hung_up(side, connected=self._joined, cause=event.cause))

    def _lose(self, event: ev.Lost) -> None:
        if event.leg not in self._legs.values():
            return
        if event.leg == self._asked:
            self._bye(event.leg, event.ending.reason)
            self._lose_asked(event.leg.branch.side, event.ending)
            return
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
        self._leave_exchange()
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
        **Midcall.TABLE,
        (ev.State.IDLE, ev.Start): _start,
        (ev.State.CALLING_A, ev.Ringing): _ring,
        (ev.State.CALLING_A, ev.Answered): _win,
        (ev.State.CALLING_A, ev.Pressed): _confirm,
        (ev.State.CALLING_A, ev.TimedOut): _ring_no_more,
        (ev.State.ROUTING_B, ev.Routed): _call_b,
        (ev.State.ROUTING_B, ev.Unroutable): _no_route,
        (ev.State.ROUTING_B, ev.TimedOut): _take_too_long,
        (ev.State.CALLING_B, ev.Ringing): _ring,
        (ev.State.CALLING_B, ev.Answered): _win,
        (ev.State.CALLING_B, ev.Pressed): _confirm,
        (ev.State.CALLING_B, ev.TimedOut): _ring_no_more,
        (ev.State.CONNECTING, ev.Reanswered): _settled,
        (ev.State.CONNECTING, ev.Refused): _unsettled,
        (ev.State.CONNECTING, ev.TimedOut): _take_too_long,
        (ev.State.GLARE, ev.TimedOut): _retry,
        (ev.State.CONNECTED, ev.Reroute): _reroute,
        (ev.State.CONNECTED, ev.TimedOut): _talk_no_more,
        (ev.State.ENDING, ev.TimedOut): _forget,
        (ev.State.ENDING, ev.Stop): _ignore,
        (ev.State.ENDED, ev.Stop): _ignore,
    }
    # What may come at any time, since peers and the network choose when.
    _ANYWHERE: ClassVar[Mapping[type[ev.Input], Callable[..., None]]] = {
        **Midcall.ANYWHERE,
        ev.Answered: _drop_late,
        ev.Failed: _fail,
        ev.Diverted: _divert,
        ev.HungUp: _hang_up,
        ev.Lost: _lose,
        ev.ByeDone: _finish_bye,
        ev.Stop: _stop,
        **dict.fromkeys(
            (ev.Ringing, ev.Refused, ev.Withdrawn, ev.Routed, ev.Unroutable, ev.Pressed, ev.Reroute), _ignore
        ),
    }


_CALLED: Final[Mapping[ev.State, Side]] = {ev.State.CALLING_A: Side.A, ev.State.CALLING_B: Side.B}
