"""The quickcall state machine: every way through it ends with nothing left (RFC 3261 9, 13-15; RFC 3725)."""

# ruff: noqa: E501 - the tables are read by their columns

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sip import callevents as ev
from sip.callflow import MAX_BRANCHES, MAX_ROUNDS, Callflow
from sip.calllimits import CallLimits
from sip.errors import LocalProtocolError, ParseError
from sip.outcome import ANSWERED_ELSEWHERE, TRANSFERRED, Ending, Outcome, Side, hung_up, refused, unheard, unreachable

if TYPE_CHECKING:
    from collections.abc import Sequence

A0, A1, B0, B1 = ev.Branch(Side.A, 0), ev.Branch(Side.A, 1), ev.Branch(Side.B, 0), ev.Branch(Side.B, 1)
DEVICE, NUMBER, FORWARD = ev.Leg(A0, "desk"), ev.Leg(B0, "far"), ev.Leg(A1, "mobile")
STOPPED = Ending(Outcome.SHUTDOWN, None, 503, 41)
GIVEN_UP = Ending(Outcome.TIMEOUT, Side.A, 408, 18).reason


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


def _told(flow: Callflow, event: ev.Input) -> list[ev.Effect]:
    return [effect for effect in flow.handle(event) if not isinstance(effect, ev.Wait)]


ANSWERED_A = (ev.Start(1), ev.Answered(DEVICE, b"a"))
CALLING_B = (*ANSWERED_A, ev.Routed(1))
CONNECTING = (*CALLING_B, ev.Answered(NUMBER, b"b"))
CONNECTED = (*CONNECTING, ev.Reanswered(DEVICE, "INVITE", b"a"))


def test_the_device_is_held_then_the_number_is_called_then_both_are_joined() -> None:
    """Third-party call control: offers go A, B, A (RFC 3725)."""
    flow = Callflow(Plan(), CallLimits(ring_a=20.0), chance=lambda: 0.0)

    assert [ev.Wait(20.0), ev.Invite(A0, b"held")] == flow.handle(ev.Start(1))
    assert [ev.Report(ev.Stage.RINGING, Side.A)] == flow.handle(ev.Ringing(A0))
    assert [] == flow.handle(ev.Ringing(A0))
    assert [ev.Ack(DEVICE), ev.Report(ev.Stage.ANSWERED, Side.A), ev.Wait(10.0), ev.Route()] == flow.handle(
        ev.Answered(DEVICE, b"a")
    )
    assert [ev.Wait(120.0), ev.Invite(B0, b"for b")] == flow.handle(ev.Routed(1))
    assert [ev.Ack(NUMBER), ev.Report(ev.Stage.ANSWERED, Side.B), ev.Wait(32.0), ev.Reoffer(DEVICE, "INVITE", b"for a")] == (
        flow.handle(ev.Answered(NUMBER, b"b"))
    )  # fmt: skip
    assert [ev.Ack(DEVICE), ev.Wait(43200.0), ev.Report(ev.Stage.CONNECTED)] == flow.handle(
        ev.Reanswered(DEVICE, "INVITE", b"a")
    )
    assert ev.State.CONNECTED is flow.state


def test_a_device_that_moves_its_media_is_told_to_the_number() -> None:
    """The number was offered the device's first address; it hears of the second."""
    _, effects = run(*CONNECTING, ev.Reanswered(DEVICE, "INVITE", b"moved"))

    assert [ev.Ack(DEVICE), ev.Reoffer(NUMBER, "INVITE", b"for b")] == effects


def test_phones_that_never_agree_are_given_up() -> None:
    """A limit on rounds, or two phones could keep each other offering for ever."""
    flow, _ = run(*CONNECTING)
    legs = [DEVICE, NUMBER]
    for number in range(MAX_ROUNDS):
        flow.handle(ev.Reanswered(legs[number % 2], "INVITE", b"moved"))

    assert flow.ending is not None
    assert Outcome.REJECTED_CODEC is flow.ending.outcome


def test_first_answer_wins_and_the_others_hear_who_won() -> None:
    """CANCEL with the reason that keeps a phone from counting a missed call."""
    winner = ev.Leg(A1, "x")
    _, effects = run(ev.Start(2), ev.Ringing(A0), ev.Answered(winner, b"a"))

    assert [ev.Ack(winner), ev.Cancel(A0, 'SIP;cause=200;text="Call completed elsewhere"')] == effects[:2]


def test_a_2xx_that_crosses_the_cancel_is_acknowledged_and_ended() -> None:
    """RFC 3261 15: the leg exists, so it needs a BYE."""
    flow, effects = run(ev.Start(1), ev.Ringing(A0), ev.TimedOut(), ev.Answered(DEVICE, b"a"))
    assert [ev.Ack(DEVICE), ev.Bye(DEVICE, flow.ending.reason)] == effects  # type: ignore[union-attr]

    assert [ev.Report(ev.Stage.ENDED, ending=flow.ending)] == [
        effect for effect in flow.handle(ev.ByeDone(DEVICE)) if not isinstance(effect, ev.Wait)
    ]


@pytest.mark.parametrize("events", [ANSWERED_A, CALLING_B, CONNECTED], ids=["routing", "calling", "connected"])
def test_the_second_2xx_of_a_fork_is_acknowledged_and_ended(events: Sequence[ev.Input]) -> None:
    """RFC 3261 13.2.2.4; the call itself goes on."""
    fork = ev.Leg(A0, "another")
    flow, effects = run(*events, ev.Answered(fork, b"a"))

    assert [ev.Ack(fork), ev.Bye(fork, 'SIP;cause=200;text="Call completed elsewhere"')] == effects
    assert flow.ending is None


def test_a_2xx_after_the_end_is_still_acknowledged_and_ended() -> None:
    """A fork may answer while its transaction lingers in Accepted (RFC 6026)."""
    flow, _ = run(*CONNECTED, ev.HungUp(DEVICE, None), ev.ByeDone(NUMBER))
    assert ev.State.ENDED is flow.state
    fork = ev.Leg(B0, "late")

    assert [ev.Ack(fork), ev.Bye(fork, 'Q.850;cause=16;text="Normal call clearing"')] == flow.handle(
        ev.Answered(fork, b"b")
    )


BUSY_A, SILENT_A = refused(Side.A, 486), unheard(Side.A)
ENDINGS = [
    pytest.param([ev.Start(1), ev.Failed(A0, BUSY_A)], "busy", Side.A, 486, 17, id="device-busy"),
    pytest.param([ev.Start(1), ev.Failed(A0, refused(Side.A, 603))], "declined", Side.A, 603, 21, id="device-declines"),
    pytest.param([ev.Start(1), ev.Failed(A0, SILENT_A)], "timeout", Side.A, 408, 18, id="device-silent"),
    pytest.param([ev.Start(1), ev.Failed(A0, unreachable(Side.A))], "unreachable", Side.A, 503, 27, id="device-gone"),
    pytest.param([ev.Start(1), ev.Failed(A0, refused(Side.A, 488))], "rejected_codec", Side.A, 488, 88, id="device-codec"),
    pytest.param([ev.Start(2), ev.Failed(A0, BUSY_A), ev.Failed(A1, SILENT_A)], "busy", Side.A, 486, 17, id="best-of-two"),
    pytest.param([ev.Start(1), ev.Ringing(A0), ev.TimedOut()], "no_answer", Side.A, 408, 19, id="device-rings-out"),
    pytest.param([ev.Start(1), ev.TimedOut()], "timeout", Side.A, 408, 18, id="device-never-rings"),
    pytest.param([ev.Start(1), ev.Answered(DEVICE, b"bad")], "rejected_codec", Side.A, 488, 88, id="device-answers-badly"),
    pytest.param([ev.Start(1), ev.Stop(STOPPED)], "shutdown", None, 503, 41, id="stopped-while-ringing"),
    pytest.param([*ANSWERED_A, ev.Unroutable(Ending(Outcome.NO_ROUTE, Side.B, 404, 3))], "no_route", Side.B, 404, 3, id="no-route"),
    pytest.param([*ANSWERED_A, ev.TimedOut()], "timeout", Side.B, 408, 102, id="look-up-hangs"),
    pytest.param([*ANSWERED_A, ev.HungUp(DEVICE, None)], "cancelled", Side.A, 487, 16, id="device-hangs-up-early"),
    pytest.param([*CALLING_B, ev.HungUp(DEVICE, None)], "cancelled", Side.A, 487, 16, id="device-hangs-up-while-ringing"),
    pytest.param([*CALLING_B, ev.Failed(B0, refused(Side.B, 486))], "busy", Side.B, 486, 17, id="number-busy"),
    pytest.param([*CALLING_B, ev.Failed(B0, refused(Side.B, 404, 1))], "not_found", Side.B, 404, 1, id="number-unknown"),
    pytest.param([*CALLING_B, ev.Failed(B0, refused(Side.B, 407))], "unauthorized", Side.B, 407, 21, id="route-wants-another-password"),
    pytest.param([*CALLING_B, ev.Ringing(B0), ev.TimedOut()], "no_answer", Side.B, 408, 19, id="number-rings-out"),
    pytest.param([*CALLING_B, ev.Answered(NUMBER, b"bad")], "rejected_codec", Side.B, 488, 88, id="number-answers-badly"),
    pytest.param([*CALLING_B, ev.Stop(STOPPED)], "shutdown", None, 503, 41, id="stopped-while-calling"),
    pytest.param([*CALLING_B, ev.Lost(DEVICE, unheard(Side.A))], "timeout", Side.A, 408, 18, id="device-dies-held"),
    pytest.param([*CONNECTING, ev.Refused(DEVICE, refused(Side.A, 488))], "rejected_codec", Side.A, 488, 88, id="re-invite-refused"),
    pytest.param([*CONNECTING, ev.Refused(DEVICE, unheard(Side.A))], "timeout", Side.A, 408, 18, id="re-invite-unheard"),
    pytest.param([*CONNECTING, ev.Reanswered(DEVICE, "INVITE", b"bad")], "rejected_codec", Side.A, 488, 88, id="re-invite-answered-badly"),
    pytest.param([*CONNECTING, ev.TimedOut()], "timeout", Side.A, 408, 102, id="re-invite-hangs"),
    pytest.param([*CONNECTING, ev.HungUp(NUMBER, 16)], "cancelled", Side.B, 487, 16, id="number-hangs-up-before-joined"),
    pytest.param([*CONNECTED, ev.HungUp(DEVICE, None)], "answered", Side.A, 200, 16, id="device-hangs-up"),
    pytest.param([*CONNECTED, ev.HungUp(NUMBER, 31)], "answered", Side.B, 200, 31, id="number-hangs-up-with-cause"),
    pytest.param([*CONNECTED, ev.Lost(NUMBER, Ending(Outcome.LOST, Side.B, 481, 41))], "lost", Side.B, 481, 41, id="number-lost"),
    pytest.param([*CONNECTED, ev.TimedOut()], "limit", None, 200, 31, id="longest-call"),
    pytest.param([*CONNECTED, ev.Stop(STOPPED)], "shutdown", None, 503, 41, id="stopped-while-talking"),
]  # fmt: skip


@pytest.mark.parametrize(("events", "outcome", "side", "status", "cause"), ENDINGS)
def test_every_ending_says_what_it_was(
    events: Sequence[ev.Input], outcome: str, side: Side | None, status: int, cause: int
) -> None:
    """Outcome, leg, SIP status and Q.850 cause (RFC 3398 8.2.6.1)."""
    world = World()
    for event in events:
        world.feed(event)
    world.finish()

    assert Ending(Outcome(outcome), side, status, cause) == world.flow.ending
    world.check()


def test_the_waiting_device_hears_why_the_number_failed() -> None:
    """Reason with the SIP status and the Q.850 cause (RFC 3326)."""
    _, effects = run(*CALLING_B, ev.Failed(B0, refused(Side.B, 486)))

    assert [ev.Bye(DEVICE, 'SIP;cause=486;text="Busy Here", Q.850;cause=17;text="User busy"')] == effects


def test_a_device_that_hangs_up_cancels_the_number() -> None:
    """RFC 3261 9: what rings is cancelled, and the hung-up leg gets nothing more."""
    flow, effects = run(*CALLING_B, ev.HungUp(DEVICE, None))

    assert [
        ev.Cancel(B0, 'SIP;cause=487;text="Request Terminated", Q.850;cause=16;text="Normal call clearing"')
    ] == effects
    assert ev.State.ENDING is flow.state


def test_who_gave_up_waits_no_longer_than_the_limit() -> None:
    """Neither CANCEL nor BYE answered: the call is over all the same."""
    flow, effects = run(*CALLING_B, ev.Stop(STOPPED), ev.TimedOut())

    assert [ev.Report(ev.Stage.ENDED, ending=STOPPED)] == effects
    assert ev.State.ENDED is flow.state


def test_glare_while_joining_is_waited_out() -> None:
    """A 491 is tried again by the owner of the Call-ID after 2.1 to 4 seconds (RFC 3261 14.1)."""
    flow, _ = run(*CONNECTING)
    assert [ev.Wait(2.1 + 1.9 * 0.5)] == flow.handle(ev.Refused(DEVICE, refused(Side.A, 491)))
    assert [ev.Respond(5, 200, b"theirs held")] == flow.handle(ev.Offered(DEVICE, 5, "INVITE", b"theirs"))

    assert ev.Reoffer(DEVICE, "INVITE", b"for a") in flow.handle(ev.TimedOut())


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param((*CALLING_B, ev.Offered(DEVICE, 1, "INVITE", b"x")), ev.Respond(1, 200, b"x held"), id="held"),
        pytest.param((*CALLING_B, ev.Offered(DEVICE, 1, "INVITE", None)), ev.Respond(1, 200, b"again"), id="held-no-offer"),
        pytest.param((*CALLING_B, ev.Offered(DEVICE, 1, "UPDATE", None)), ev.Respond(1, 200), id="held-refresh"),
        pytest.param((*CALLING_B, ev.Offered(DEVICE, 1, "INVITE", b"bad")), ev.Respond(1, 488), id="held-nonsense"),
        pytest.param((*CONNECTING, ev.Offered(NUMBER, 1, "INVITE", b"x")), ev.Respond(1, 491), id="while-joining"),
        pytest.param((*CONNECTED, ev.Offered(DEVICE, 1, "INVITE", b"x")), ev.Reoffer(NUMBER, "INVITE", b"x", 1), id="passed-on"),
        pytest.param((*CONNECTED, ev.Offered(NUMBER, 1, "UPDATE", b"x")), ev.Reoffer(DEVICE, "UPDATE", b"x", 1), id="update"),
        pytest.param((*CONNECTED, ev.Offered(NUMBER, 1, "INVITE", None)), ev.Reoffer(DEVICE, "INVITE", None, 1), id="no-offer"),
        pytest.param((*CONNECTED, ev.Offered(DEVICE, 1, "INVITE", b"bad")), ev.Respond(1, 488), id="nonsense"),
        pytest.param((*CALLING_B, ev.Said(DEVICE, 1)), ev.Respond(1, 480), id="info-without-far-end"),
        pytest.param((*CONNECTED, ev.Said(DEVICE, 1)), ev.Relay(NUMBER, 1), id="info"),
        pytest.param((*CONNECTED, ev.Stop(STOPPED), ev.Said(DEVICE, 1)), ev.Respond(1, 481), id="info-too-late"),
        pytest.param((*CONNECTED, ev.Stop(STOPPED), ev.Offered(DEVICE, 1, "INVITE", b"x")), ev.Respond(1, 481), id="offer-too-late"),
    ],
)  # fmt: skip
def test_what_a_phone_asks_in_mid_call(events: Sequence[ev.Input], expected: ev.Effect) -> None:
    """Offers and INFO go to the other leg once there is one, and are answered honestly before."""
    assert [expected] == run(*events)[1]


HOLD = (*CONNECTED, ev.Offered(DEVICE, 7, "INVITE", b"hold"))
REFRESH = (*CONNECTED, ev.Offered(DEVICE, 7, "UPDATE", None))
BYES = [ev.Bye(DEVICE, STOPPED.reason), ev.Bye(NUMBER, STOPPED.reason)]
DELAYED = (*CONNECTED, ev.Offered(DEVICE, 7, "INVITE", None), ev.Reanswered(NUMBER, "INVITE", b"offer"))


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param((*HOLD, ev.Reanswered(NUMBER, "INVITE", b"y")), [ev.Respond(7, 200, b"y"), ev.Ack(NUMBER)], id="answer"),
        pytest.param((*HOLD, ev.Refused(NUMBER, refused(Side.B, 488))), [ev.Respond(7, 488)], id="refusal"),
        pytest.param((*HOLD, ev.Refused(NUMBER, refused(Side.B, 491))), [ev.Respond(7, 491)], id="glare-far-away"),
        pytest.param((*HOLD, ev.Offered(NUMBER, 8, "INVITE", b"x")), [ev.Respond(8, 491)], id="glare-here"),
        pytest.param((*HOLD, ev.Offered(DEVICE, 8, "UPDATE", b"x")), [ev.Respond(8, 500)], id="two-of-one-leg"),
        pytest.param((*HOLD, ev.Withdrawn(DEVICE)), [ev.Respond(7, 487), ev.CancelReoffer(NUMBER)], id="withdrawn"),
        pytest.param((*HOLD, ev.Withdrawn(DEVICE), ev.Refused(NUMBER, refused(Side.B, 487))), [], id="withdrawn-in-time"),
        pytest.param((*HOLD, ev.Withdrawn(DEVICE), ev.Withdrawn(DEVICE)), [], id="withdrawn-twice"),
        pytest.param((*HOLD, ev.Withdrawn(DEVICE), ev.Offered(DEVICE, 8, "INVITE", b"x")), [ev.Respond(8, 500)], id="anew-too-soon"),
        pytest.param((*HOLD, ev.Withdrawn(DEVICE), ev.Stop(STOPPED)), [*BYES], id="withdrawn-then-ended"),
        pytest.param((*REFRESH, ev.Refused(NUMBER, refused(Side.B, 405))), [ev.Respond(7, 200)], id="refresh-of-a-leg-without-update"),
        pytest.param((*REFRESH, ev.Refused(NUMBER, refused(Side.B, 422))), [ev.Respond(7, 422)], id="refresh-refused"),
        pytest.param(DELAYED, [ev.Respond(7, 200, b"offer")], id="delayed-offer"),
        pytest.param((*DELAYED, ev.Acked(DEVICE, b"y")), [ev.Ack(NUMBER, b"y")], id="delayed-answer"),
        pytest.param((*DELAYED, ev.Acked(DEVICE, None)), [ev.Ack(NUMBER)], id="delayed-answer-missing"),
    ],
)  # fmt: skip
def test_an_offer_and_its_answer_cross_the_call(events: Sequence[ev.Input], expected: list[ev.Effect]) -> None:
    """Whatever one phone offers, the other answers; one at a time (RFC 3261 14.2, RFC 3264 4)."""
    assert expected == run(*events)[1]


def test_an_offer_accepted_although_it_was_withdrawn_is_undone() -> None:
    """A 200 that crosses our CANCEL (RFC 3261 9.1): the leg is offered anew what the other one really has."""
    flow, effects = run(*HOLD, ev.Withdrawn(DEVICE), ev.Reanswered(NUMBER, "INVITE", b"y"))
    assert [ev.Ack(NUMBER), ev.Reoffer(NUMBER, "INVITE", b"for b")] == effects

    effects = flow.handle(ev.Reanswered(NUMBER, "INVITE", b"y"))
    assert ev.Ack(NUMBER) == effects[0]
    assert ev.State.CONNECTED is flow.state
    assert not [effect for effect in effects if isinstance(effect, ev.Report)], "it was connected before"


def test_another_number_takes_the_place_of_the_first() -> None:
    """A transfer ends the number's leg, finds the other number, and tells the device of its media."""
    flow, effects = run(*CONNECTED, ev.Reroute())
    assert [ev.Bye(NUMBER, TRANSFERRED.reason), ev.Route()] == effects
    assert [ev.Invite(B1, b"for b")] == _told(flow, ev.Routed(1))
    other = ev.Leg(B1, "new")
    assert [ev.Ack(other), ev.Report(ev.Stage.ANSWERED, Side.B), ev.Reoffer(DEVICE, "INVITE", b"for a")] == _told(
        flow, ev.Answered(other, b"c")
    )
    assert [ev.Ack(DEVICE)] == _told(flow, ev.Reanswered(DEVICE, "INVITE", b"a"))

    assert (DEVICE, other) == flow.legs
    flow.handle(ev.HungUp(DEVICE, None))
    assert flow.ending == hung_up(Side.A, connected=True)


def test_a_branch_that_is_redirected_rings_others_in_its_place() -> None:
    """And when these fail too, the call does, with the most telling of the failures."""
    third = ev.Branch(Side.B, 2)
    flow, effects = run(*CALLING_B, ev.Diverted(B0, 2))
    assert [ev.Invite(B1, b"for b"), ev.Invite(third, b"for b")] == effects
    assert [] == _told(flow, ev.Failed(B1, refused(Side.B, 486)))
    flow.handle(ev.Failed(third, refused(Side.B, 404)))

    assert flow.ending == refused(Side.B, 486)


def test_a_branch_that_was_given_up_is_not_redirected() -> None:
    """Its 3xx came after the CANCEL."""
    flow, effects = run(*CALLING_B, ev.Stop(STOPPED), ev.Diverted(B0, 2))

    assert [] == effects
    assert ev.State.ENDING is flow.state


def test_a_transfer_that_fails_ends_the_call() -> None:
    """Nobody is left to talk to; the call was answered all the same, so the failure is told as the transfer's."""
    flow, _ = run(*CONNECTED, ev.Reroute(), ev.Routed(1), ev.Failed(B1, refused(Side.B, 486)))

    assert refused(Side.B, 486) == flow.ending


def test_no_transfer_while_an_offer_is_on_its_way() -> None:
    """Its answer would have nowhere to go."""
    assert [] == run(*HOLD, ev.Reroute())[1]


FORWARDED = (ev.Start(2, frozenset({1})), ev.Answered(FORWARD, b"f"))


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param(FORWARDED, [ev.Ack(FORWARD), ev.Ask(FORWARD)], id="answered-is-not-taken"),
        pytest.param((*FORWARDED, ev.Pressed(FORWARD, "5")), [], id="another-key"),
        pytest.param((*FORWARDED, ev.Pressed(FORWARD, "1")), [ev.Cancel(A0, ANSWERED_ELSEWHERE), ev.Report(ev.Stage.ANSWERED, Side.A), ev.Route()], id="taken"),
        pytest.param((*FORWARDED, ev.Answered(DEVICE, b"a")), [ev.Bye(FORWARD, ANSWERED_ELSEWHERE), ev.Ack(DEVICE), ev.Report(ev.Stage.ANSWERED, Side.A), ev.Route()], id="the-desk-was-faster"),
        pytest.param((*FORWARDED, ev.HungUp(FORWARD, None)), [], id="hung-up-and-the-desk-rings-on"),
        pytest.param((*FORWARDED, ev.Failed(A0, refused(Side.A, 486))), [], id="desk-busy-and-the-key-may-come"),
        pytest.param((*FORWARDED, ev.TimedOut()), [ev.Cancel(A0, GIVEN_UP), ev.Bye(FORWARD, GIVEN_UP)], id="no-key-in-time"),
    ],
)  # fmt: skip
def test_a_forwarded_call_is_taken_by_a_key(events: Sequence[ev.Input], expected: list[ev.Effect]) -> None:
    """A mailbox answers too, but presses nothing (contract 6.5)."""
    assert expected == run(*events)[1]


def test_the_numbers_forwarding_is_taken_by_a_key_too() -> None:
    flow, effects = run(*ANSWERED_A, ev.Routed(1, frozenset({0})), ev.Answered(NUMBER, b"b"))
    assert [ev.Ack(NUMBER), ev.Ask(NUMBER)] == effects

    assert [ev.Report(ev.Stage.ANSWERED, Side.B), ev.Reoffer(DEVICE, "INVITE", b"for a")] == _told(
        flow, ev.Pressed(NUMBER, "1")
    )


def test_who_was_asked_and_hung_up_has_declined() -> None:
    flow, _ = run(*FORWARDED, ev.Failed(A0, refused(Side.A, 480)), ev.HungUp(FORWARD, None))

    assert refused(Side.A, 603) == flow.ending


def test_a_leg_that_does_not_know_its_dialog_ends_the_call() -> None:
    """RFC 3261 12.2.1.2: with a 481 or a 408 the dialog is over."""
    flow, effects = run(*HOLD, ev.Refused(NUMBER, refused(Side.B, 481)))

    assert ev.Respond(7, 481) == effects[0]
    assert ev.State.ENDING is flow.state


def test_an_open_request_is_answered_before_the_end() -> None:
    """RFC 3261 15.1.2: 487 to what is pending."""
    _, effects = run(*HOLD, ev.HungUp(NUMBER, None))

    assert ev.Respond(7, 487) == effects[0]


@pytest.mark.parametrize("event", [ev.Start(0), ev.Start(MAX_BRANCHES + 1), ev.TimedOut()])
def test_our_own_mistakes_are_loud(event: ev.Input) -> None:
    """What no peer can cause is a LocalProtocolError."""
    with pytest.raises(LocalProtocolError):
        run(event)


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


@settings(max_examples=600, deadline=None)
@given(
    begin=st.sampled_from(
        [
            (ev.Start(1),),
            (ev.Start(3),),
            (ev.Start(2, frozenset({1})),),
            FORWARDED,
            ANSWERED_A,
            CALLING_B,
            CONNECTING,
            CONNECTED,
            HOLD,
            DELAYED,
        ]
    ),
    choices=st.lists(st.integers(0, 10_000), max_size=25),
)
def test_whatever_happens_in_whatever_order_nothing_is_left(begin: Sequence[ev.Input], choices: list[int]) -> None:
    """Every leg is cancelled, or acknowledged and ended; every request is answered once; the end is told once."""
    world = World()
    for event in begin:
        world.feed(event)
    for choice in choices:
        events = world.possible()
        world.feed(events[choice % len(events)])
    world.finish()

    world.check()


def test_an_early_hang_up_is_no_answered_call() -> None:
    """Only two joined legs make a call that was answered."""
    assert Outcome.CANCELLED is hung_up(Side.A, connected=False).outcome
    assert Outcome.ANSWERED is hung_up(Side.A, connected=True).outcome
