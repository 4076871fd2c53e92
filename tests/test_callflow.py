"""The quickcall state machine: how two phones are joined, and what each asks of the other (RFC 3261 13-15; RFC 3725)."""

# ruff: noqa: E501 - the tables are read by their columns

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from callflow_world import (
    A0,
    A1,
    ANSWERED_A,
    B0,
    B1,
    CALLING_B,
    CONNECTED,
    CONNECTING,
    DELAYED,
    DEVICE,
    FORWARD,
    FORWARDED,
    HOLD,
    NUMBER,
    STOPPED,
    Plan,
    run,
    told,
)

from sip import callevents as ev
from sip.callflow import MAX_BRANCHES, MAX_ROUNDS, Callflow
from sip.calllimits import CallLimits
from sip.errors import LocalProtocolError
from sip.outcome import ANSWERED_ELSEWHERE, TRANSFERRED, Ending, Outcome, Side, hung_up, refused

if TYPE_CHECKING:
    from collections.abc import Sequence

GIVEN_UP = Ending(Outcome.TIMEOUT, Side.A, 408, 18).reason


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


REFRESH = (*CONNECTED, ev.Offered(DEVICE, 7, "UPDATE", None))
BYES = [ev.Bye(DEVICE, STOPPED.reason), ev.Bye(NUMBER, STOPPED.reason)]


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
    assert [ev.Invite(B1, b"for b")] == told(flow, ev.Routed(1))
    other = ev.Leg(B1, "new")
    assert [ev.Ack(other), ev.Report(ev.Stage.ANSWERED, Side.B), ev.Reoffer(DEVICE, "INVITE", b"for a")] == told(
        flow, ev.Answered(other, b"c")
    )
    assert [ev.Ack(DEVICE)] == told(flow, ev.Reanswered(DEVICE, "INVITE", b"a"))

    assert (DEVICE, other) == flow.legs
    flow.handle(ev.HungUp(DEVICE, None))
    assert flow.ending == hung_up(Side.A, connected=True)


def test_a_branch_that_is_redirected_rings_others_in_its_place() -> None:
    """And when these fail too, the call does, with the most telling of the failures."""
    third = ev.Branch(Side.B, 2)
    flow, effects = run(*CALLING_B, ev.Diverted(B0, 2))
    assert [ev.Invite(B1, b"for b"), ev.Invite(third, b"for b")] == effects
    assert [] == told(flow, ev.Failed(B1, refused(Side.B, 486)))
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

    assert [ev.Report(ev.Stage.ANSWERED, Side.B), ev.Reoffer(DEVICE, "INVITE", b"for a")] == told(
        flow, ev.Pressed(NUMBER, "1")
    )


@pytest.mark.parametrize("event", [ev.Start(0), ev.Start(MAX_BRANCHES + 1), ev.TimedOut()])
def test_our_own_mistakes_are_loud(event: ev.Input) -> None:
    """What no peer can cause is a LocalProtocolError."""
    with pytest.raises(LocalProtocolError):
        run(event)
