"""The four transactions, by the rows of RFC 3261 figures 5 to 8 and RFC 6026."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip.errors import LocalProtocolError
from sip.timers import LINGER, T1, T2, T4, TIMER_C, Timer
from sip.transaction import (
    INVITE_CLIENT,
    INVITE_SERVER,
    NON_INVITE_CLIENT,
    NON_INVITE_SERVER,
    Effect,
    Event,
    Machine,
    State,
    Transaction,
)

MACHINES = [INVITE_CLIENT, NON_INVITE_CLIENT, INVITE_SERVER, NON_INVITE_SERVER]


def _after(machine: Machine, *events: Event, reliable: bool = False) -> Transaction:
    transaction = Transaction(machine, reliable=reliable)
    for event in events:
        transaction.step(event)
    return transaction


@pytest.mark.parametrize(
    ("machine", "events", "effects", "state"),
    [
        pytest.param(INVITE_CLIENT, [Event.RETRANSMIT], {Effect.SEND}, State.CALLING, id="invite-repeats"),
        pytest.param(INVITE_CLIENT, [Event.GIVE_UP], {Effect.TIME_OUT}, State.ABANDONED, id="invite-timer-b"),
        pytest.param(
            INVITE_CLIENT, [Event.PROVISIONAL, Event.RETRANSMIT], set(), State.PROCEEDING, id="no-repeat-after-1xx"
        ),
        pytest.param(
            INVITE_CLIENT, [Event.FAILURE], {Effect.SEND_ACK, Effect.DELIVER}, State.COMPLETED, id="failure-is-acked"
        ),
        pytest.param(
            INVITE_CLIENT,
            [Event.FAILURE, Event.FAILURE],
            {Effect.SEND_ACK},
            State.COMPLETED,
            id="told-once-acked-twice",
        ),
        pytest.param(
            INVITE_CLIENT, [Event.SUCCESS, Event.SUCCESS], {Effect.DELIVER}, State.ACCEPTED, id="every-2xx-is-delivered"
        ),
        pytest.param(
            INVITE_CLIENT, [Event.FAILURE, Event.SUCCESS], {Effect.DELIVER}, State.COMPLETED, id="another-phones-2xx"
        ),
        pytest.param(
            INVITE_CLIENT, [Event.GIVE_UP, Event.SUCCESS], {Effect.DELIVER}, State.ABANDONED, id="2xx-after-the-end"
        ),
        pytest.param(
            INVITE_CLIENT,
            [Event.PROVISIONAL, Event.GIVE_UP, Event.FAILURE],
            {Effect.SEND_ACK},
            State.COMPLETED,
            id="refusal-after-the-end",
        ),
        pytest.param(INVITE_CLIENT, [Event.SUCCESS, Event.FAILURE], set(), State.ACCEPTED, id="no-failure-after-2xx"),
        pytest.param(NON_INVITE_CLIENT, [Event.SUCCESS, Event.SUCCESS], set(), State.COMPLETED, id="final-told-once"),
        pytest.param(
            NON_INVITE_CLIENT,
            [Event.PROVISIONAL, Event.RETRANSMIT],
            {Effect.SEND},
            State.PROCEEDING,
            id="repeats-in-proceeding",
        ),
        pytest.param(NON_INVITE_SERVER, [Event.REQUEST], set(), State.TRYING, id="nothing-to-repeat-yet"),
        pytest.param(
            NON_INVITE_SERVER, [Event.SEND_SUCCESS, Event.REQUEST], {Effect.SEND}, State.COMPLETED, id="answer-again"
        ),
        pytest.param(
            INVITE_SERVER, [Event.SEND_FAILURE, Event.ACK, Event.REQUEST], set(), State.CONFIRMED, id="ack-ends-repeats"
        ),
        pytest.param(
            INVITE_SERVER, [Event.SEND_SUCCESS, Event.RETRANSMIT], {Effect.SEND}, State.ACCEPTED, id="2xx-until-ack"
        ),
        pytest.param(
            INVITE_SERVER,
            [Event.SEND_SUCCESS, Event.GIVE_UP],
            {Effect.TIME_OUT},
            State.TERMINATED,
            id="2xx-never-acked",
        ),
    ],
)
def test_rows(machine: Machine, events: list[Event], effects: set[Effect], state: State) -> None:
    """RFC 3261 17.1.1, 17.1.2, 17.2.1, 17.2.2."""
    transaction = _after(machine, *events[:-1])
    done = transaction.step(events[-1])

    assert effects == set(done)
    assert state is transaction.state


def test_invite_repeats_at_doubling_intervals() -> None:
    """RFC 3261 17.1.1.2: timer A doubles without end."""
    transaction = _after(INVITE_CLIENT)
    delays = [dict(transaction.timers())[Timer.A]]
    for _ in range(5):
        transaction.step(Event.RETRANSMIT)
        delays.append(transaction.repeat_delay())

    assert [T1, 2 * T1, 4 * T1, 8 * T1, 16 * T1, 32 * T1] == delays


def test_other_requests_repeat_at_intervals_up_to_t2() -> None:
    """RFC 3261 17.1.2.2: timer E doubles up to T2, and is T2 from the first provisional response on."""
    transaction = _after(NON_INVITE_CLIENT)
    delays = []
    for _ in range(4):
        transaction.step(Event.RETRANSMIT)
        delays.append(transaction.repeat_delay())

    assert [1.0, 2.0, T2, T2] == delays
    assert dict(_after(NON_INVITE_CLIENT, Event.PROVISIONAL).timers())[Timer.E] == T2


@pytest.mark.parametrize(
    ("machine", "events", "reliable", "timers"),
    [
        pytest.param(INVITE_CLIENT, [], True, {Timer.B: LINGER}, id="no-repeats-by-tcp"),
        pytest.param(INVITE_CLIENT, [Event.FAILURE], True, {Timer.D: 0.0}, id="d-is-zero-by-tcp"),
        pytest.param(INVITE_CLIENT, [Event.GIVE_UP], True, {Timer.C: TIMER_C}, id="c-whatever-the-transport"),
        pytest.param(NON_INVITE_CLIENT, [Event.SUCCESS], False, {Timer.K: T4}, id="k"),
        pytest.param(NON_INVITE_SERVER, [Event.SEND_SUCCESS], False, {Timer.J: LINGER}, id="j"),
        pytest.param(NON_INVITE_SERVER, [Event.SEND_SUCCESS], True, {Timer.J: 0.0}, id="j-is-zero-by-tcp"),
        pytest.param(INVITE_SERVER, [Event.SEND_FAILURE], True, {Timer.H: LINGER}, id="no-g-by-tcp"),
        pytest.param(
            INVITE_SERVER, [Event.SEND_SUCCESS], True, {Timer.G: T1, Timer.H: LINGER}, id="2xx-repeats-by-tcp"
        ),
    ],
)
def test_timers_of_a_state(machine: Machine, events: list[Event], reliable: bool, timers: dict[Timer, float]) -> None:
    """RFC 3261 table 4."""
    assert timers == dict(_after(machine, *events, reliable=reliable).timers())


def test_an_answer_after_the_final_one_is_our_bug() -> None:
    """RFC 3261 17.2.2: the transaction user sends one final response."""
    transaction = _after(NON_INVITE_SERVER, Event.SEND_SUCCESS)

    with pytest.raises(LocalProtocolError):
        transaction.step(Event.SEND_FAILURE)


@given(st.sampled_from(MACHINES), st.lists(st.sampled_from([e for e in Event if not e.name.startswith("SEND")])))
def test_no_order_of_outside_events_raises_or_revives(machine: Machine, events: list[Event]) -> None:
    """Whatever peers and timers do, a transaction that is over stays over."""
    transaction = Transaction(machine, reliable=False)
    over = False
    for event in events:
        effects = transaction.step(event)
        assert not (over and effects)
        over = over or transaction.over
        assert over == transaction.over
