"""The quickcall state machine with media that a table can spell, and all that may happen to it."""

from __future__ import annotations

from dataclasses import dataclass, field

from sip import callevents as ev
from sip.callflow import Callflow
from sip.calllimits import CallLimits
from sip.errors import ParseError
from sip.outcome import Ending, Outcome, Side, refused

A0, A1, B0, B1 = ev.Branch(Side.A, 0), ev.Branch(Side.A, 1), ev.Branch(Side.B, 0), ev.Branch(Side.B, 1)
DEVICE, NUMBER, FORWARD = ev.Leg(A0, "desk"), ev.Leg(B0, "far"), ev.Leg(A1, "mobile")
STOPPED = Ending(Outcome.SHUTDOWN, None, 503, 41)


@dataclass
class Plan:
    """Media that a table can spell: each side is told of the other once, and again after an answer `moved`."""

    answers: list[Side] = field(default_factory=list)

    anchored = False

    def invite(self, branch: ev.Branch) -> bytes:
        return b"held" if branch.side is Side.A else self.offer(branch.side)

    def rang(self, branch: ev.Branch, body: bytes) -> None:
        pass

    def choose(self, branch: ev.Branch) -> None:
        pass

    def ask(self, side: Side) -> None:
        pass

    def taken(self, side: Side) -> None:
        pass

    def agreed(self, side: Side, body: bytes) -> None:
        self._check(body)

    def answered(self, side: Side, body: bytes) -> Side | None:
        self._check(body)
        self.answers.append(side)
        return side.other if len(self.answers) < 3 or body == b"moved" else None

    def offer(self, side: Side) -> bytes:
        return f"for {side.value}".encode()

    def pass_offer(self, side: Side, body: bytes) -> bytes:
        return self._check(body)

    def pass_answer(self, side: Side, body: bytes) -> bytes:
        return self._check(body)

    def withdraw(self, side: Side) -> None:
        self.answers = self.answers[:3]

    def renew(self, side: Side) -> None:
        self.answers = self.answers[:1] if side is Side.B else []

    def hold(self, side: Side, body: bytes) -> bytes:
        return self._check(body) + b" held"

    def repeat(self, side: Side) -> bytes:
        return b"again"

    def _check(self, body: bytes) -> bytes:
        if body == b"bad":
            raise ParseError("bad", status=488)
        return body


def run(*events: ev.Input, media: Plan | None = None) -> tuple[Callflow, list[ev.Effect]]:
    """Run the inputs; returns the machine and the effects of the last one, without the timer."""
    flow = Callflow(media or Plan(), CallLimits(), chance=lambda: 0.5)
    effects: list[ev.Effect] = []
    for event in events:
        effects = [effect for effect in flow.handle(event) if not isinstance(effect, ev.Wait)]
    return flow, effects


def told(flow: Callflow, event: ev.Input) -> list[ev.Effect]:
    return [effect for effect in flow.handle(event) if not isinstance(effect, ev.Wait)]


ANSWERED_A = (ev.Start(1), ev.Answered(DEVICE, b"a"))
CALLING_B = (*ANSWERED_A, ev.Routed(1))
CONNECTING = (*CALLING_B, ev.Answered(NUMBER, b"b"))
CONNECTED = (*CONNECTING, ev.Reanswered(DEVICE, "INVITE", b"a"))
HOLD = (*CONNECTED, ev.Offered(DEVICE, 7, "INVITE", b"hold"))
DELAYED = (*CONNECTED, ev.Offered(DEVICE, 7, "INVITE", None), ev.Reanswered(NUMBER, "INVITE", b"offer"))
FORWARDED = (ev.Start(2, frozenset({1})), ev.Answered(FORWARD, b"f"))


class World:
    """The peers and the network as the machine sees them: what may still happen, and what was done about it."""

    def __init__(self) -> None:
        self.flow = Callflow(Plan(), CallLimits(), chance=lambda: 0.0)
        self.open_branches: set[ev.Branch] = set()
        self.cancelled: set[ev.Branch] = set()
        self.legs: list[ev.Leg] = []
        self.acks_due: list[ev.Leg] = []
        self.alive: set[ev.Leg] = set()
        self.byes: set[ev.Leg] = set()
        self.reoffers: list[ev.Reoffer] = []
        self.routing = False
        self.waiting: float | None = None
        self.unanswered: set[int] = set()
        self.ends: list[ev.Report] = []
        self.keys = 100

    def feed(self, event: ev.Input) -> None:
        self._happen(event)
        for effect in self.flow.handle(event):
            self._do(effect)

    def _happen(self, event: ev.Input) -> None:
        match event:
            case ev.Answered(leg):
                self.open_branches.discard(leg.branch)
                self.legs.append(leg)
                self.alive.add(leg)
                self.acks_due.append(leg)
            case ev.Failed(branch) | ev.Diverted(branch):
                self.open_branches.discard(branch)
            case ev.Reanswered(leg, method):
                self._settle_reoffer(leg)
                self.acks_due += [leg] if method == "INVITE" else []
            case ev.Refused(leg):
                self._settle_reoffer(leg)
            case ev.HungUp(leg):
                self.alive.discard(leg)
            case ev.ByeDone(leg):
                self.byes.discard(leg)
            case ev.Offered(key=key) | ev.Said(key=key):
                self.unanswered.add(key)
            case ev.Routed() | ev.Unroutable():
                self.routing = False

    def _settle_reoffer(self, leg: ev.Leg) -> None:
        self.reoffers = [item for item in self.reoffers if item.leg != leg]

    def _do(self, effect: ev.Effect) -> None:
        match effect:
            case ev.Invite(branch):
                self.open_branches.add(branch)
            case ev.Cancel(branch):
                assert branch not in self.cancelled, "cancelled twice"
                self.cancelled.add(branch)
            case ev.Ack(leg):
                self.acks_due.remove(leg)
            case ev.Bye(leg):
                assert leg in self.alive, "BYE to a leg that is over"
                self.alive.discard(leg)
                self.byes.add(leg)
            case ev.Reoffer():
                self.reoffers.append(effect)
            case ev.Respond(key=key) | ev.Relay(key=key):
                self.unanswered.remove(key)
            case ev.Route():
                self.routing = True
            case ev.Wait(seconds):
                self.waiting = seconds
            case ev.Report(ev.Stage.ENDED):
                self.ends.append(effect)

    def possible(self) -> list[ev.Input]:
        """Return what may happen now, in no order."""
        self.keys += 1
        events: list[ev.Input] = [ev.Stop(STOPPED), ev.Reroute()]
        for branch in sorted(self.open_branches, key=str):
            events += [
                ev.Ringing(branch),
                ev.Answered(ev.Leg(branch, "t0"), b"x"),
                ev.Failed(branch, refused(branch.side, 486)),
                ev.Diverted(branch, 2),
                ev.Diverted(branch, 1, frozenset({0})),
            ]
            events.append(ev.Answered(ev.Leg(branch, "t0"), b"bad"))
        for leg in list(self.legs):
            fork = ev.Leg(leg.branch, f"t{len(self.legs)}")
            events.append(ev.Answered(fork, b"x"))
        for leg in sorted(self.alive, key=str):
            events += [ev.Offered(leg, self.keys, "INVITE", b"x"), ev.Offered(leg, self.keys, "UPDATE", None)]
            events += [ev.Offered(leg, self.keys, "INVITE", None), ev.Offered(leg, self.keys, "INVITE", b"bad")]
            events += [ev.Said(leg, self.keys), ev.HungUp(leg, None), ev.Acked(leg, b"x"), ev.Acked(leg, b"bad")]
            events += [
                ev.Pressed(leg, "1"),
                ev.Withdrawn(leg),
                ev.Lost(leg, Ending(Outcome.LOST, leg.branch.side, 481, 41)),
            ]
        for offer in self.reoffers:
            events += [ev.Reanswered(offer.leg, offer.method, body) for body in (b"x", b"moved", b"bad")]
            events += [ev.Refused(offer.leg, refused(offer.leg.branch.side, status)) for status in (488, 491, 481, 405)]
        events += [ev.ByeDone(leg) for leg in sorted(self.byes, key=str)]
        if self.routing:
            events += [
                ev.Routed(2),
                ev.Routed(2, frozenset({0})),
                ev.Unroutable(Ending(Outcome.NO_ROUTE, Side.B, 404, 3)),
            ]
        if self.waiting is not None:
            events.append(ev.TimedOut())
        return events

    def finish(self) -> None:
        """Let everything come to its end."""
        if self.flow.ending is None:
            self.feed(ev.Stop(STOPPED))
        for offer in list(self.reoffers):
            self.feed(ev.Reanswered(offer.leg, offer.method, b"x"))
        for branch in sorted(self.open_branches, key=str):
            self.feed(ev.Failed(branch, refused(branch.side, 487)))
        for leg in sorted(self.byes, key=str):
            self.feed(ev.ByeDone(leg))

    def check(self) -> None:
        """Nothing is left."""
        assert ev.State.ENDED is self.flow.state
        assert [ev.Report(ev.Stage.ENDED, ending=self.flow.ending)] == self.ends
        assert not self.open_branches, "a branch rings on"
        assert not self.acks_due, "a 2xx was not acknowledged"
        assert not self.alive, "a leg was not ended"
        assert not self.unanswered, "a request was not answered"
        assert self.waiting is None
