"""Every way through the quickcall state machine ends, says how, and leaves nothing (RFC 3261 9, 15; RFC 3398)."""

# ruff: noqa: E501 - the tables are read by their columns

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from callflow_world import (
    A0,
    A1,
    ANSWERED_A,
    B0,
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
    World,
    run,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from sip import callevents as ev
from sip.outcome import Ending, Outcome, Side, hung_up, refused, unheard, unreachable

if TYPE_CHECKING:
    from collections.abc import Sequence

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
