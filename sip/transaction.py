"""The four transactions as tables (RFC 3261 17, with the Accepted states of RFC 6026).

A transaction is told events and answers with what to do; it holds no message, socket or clock. An event that its state
has no row for is absorbed where a peer or a late timer can cause it, and a LocalProtocolError where only we can.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - the compiled build evaluates it
from dataclasses import dataclass
from enum import Enum
from typing import Final

from sip.errors import LocalProtocolError
from sip.timers import LINGER, T1, T2, T4, TIMER_C, Timer


class State(Enum):
    """The states of RFC 3261 figures 5 to 8, and of RFC 6026."""

    __hash__ = object.__hash__  # members are looked up for every message; Enum's own hash is written in Python

    CALLING = "calling"
    TRYING = "trying"
    PROCEEDING = "proceeding"
    COMPLETED = "completed"
    CONFIRMED = "confirmed"
    ACCEPTED = "accepted"
    ABANDONED = "abandoned"
    """Ours: an INVITE of ours that was given up, whose 2xx would still make a dialog (RFC 3261 13.2.2.4)."""
    TERMINATED = "terminated"


class Event(Enum):
    """What can happen to a transaction."""

    __hash__ = object.__hash__

    REQUEST = "the request came again"
    ACK = "the ACK came"
    PROVISIONAL = "a 1xx came"
    SUCCESS = "a 2xx came"
    FAILURE = "a 3xx-6xx came"
    SEND_PROVISIONAL = "we answer 1xx"
    SEND_SUCCESS = "we answer 2xx"
    SEND_FAILURE = "we answer 3xx-6xx"
    RETRANSMIT = "timer A, E or G"
    GIVE_UP = "timer B, F or H"
    FORGET = "timer C, D, I, J, K, L or M"
    TRANSPORT_ERROR = "the flow failed"


class Effect(Enum):
    """What the owner of a transaction has to do, in this order."""

    SEND = "send what was sent last, or is now to be sent"
    SEND_ACK = "send the ACK of a final response that is no 2xx"
    DELIVER = "hand the message to the transaction user"
    TIME_OUT = "tell the transaction user that nothing came"
    FAIL = "tell the transaction user that the flow failed"


EVENT_OF_TIMER: Final[Mapping[Timer, Event]] = {
    Timer.A: Event.RETRANSMIT, Timer.E: Event.RETRANSMIT, Timer.G: Event.RETRANSMIT,
    Timer.B: Event.GIVE_UP, Timer.F: Event.GIVE_UP, Timer.H: Event.GIVE_UP,
    Timer.C: Event.FORGET, Timer.D: Event.FORGET, Timer.I: Event.FORGET, Timer.J: Event.FORGET,
    Timer.K: Event.FORGET, Timer.L: Event.FORGET, Timer.M: Event.FORGET,
}  # fmt: skip

Row = tuple[State, tuple[Effect, ...]]


@dataclass(frozen=True, slots=True)
class Machine:
    """One kind of transaction."""

    name: str
    start: State
    table: Mapping[tuple[State, Event], Row]
    timers: Mapping[State, tuple[Timer, ...]]
    """The timers that run in a state; those of the state before stop."""
    backoff: float
    """Longest interval between retransmissions; infinite where it doubles without end (RFC 3261 17.1.1.2)."""


_SEND, _ACK, _DELIVER = (Effect.SEND,), (Effect.SEND_ACK,), (Effect.DELIVER,)
_TIMED_OUT: Row = (State.TERMINATED, (Effect.TIME_OUT,))
_ABANDONED: Row = (State.ABANDONED, (Effect.TIME_OUT,))
_FAILED: Row = (State.TERMINATED, (Effect.FAIL,))
_OVER: Row = (State.TERMINATED, ())

INVITE_CLIENT: Final = Machine(
    "INVITE client",
    State.CALLING,
    {
        (State.CALLING, Event.RETRANSMIT): (State.CALLING, _SEND),
        (State.CALLING, Event.GIVE_UP): _ABANDONED,
        (State.CALLING, Event.TRANSPORT_ERROR): _FAILED,
        (State.CALLING, Event.PROVISIONAL): (State.PROCEEDING, _DELIVER),
        (State.CALLING, Event.SUCCESS): (State.ACCEPTED, _DELIVER),
        (State.CALLING, Event.FAILURE): (State.COMPLETED, (Effect.SEND_ACK, Effect.DELIVER)),
        (State.PROCEEDING, Event.PROVISIONAL): (State.PROCEEDING, _DELIVER),
        (State.PROCEEDING, Event.SUCCESS): (State.ACCEPTED, _DELIVER),
        (State.PROCEEDING, Event.FAILURE): (State.COMPLETED, (Effect.SEND_ACK, Effect.DELIVER)),
        (State.PROCEEDING, Event.GIVE_UP): _ABANDONED,
        (State.PROCEEDING, Event.TRANSPORT_ERROR): _FAILED,
        # RFC 3261 16.7, step 5: a proxy may send the 2xx of another phone after a refusal.
        (State.COMPLETED, Event.SUCCESS): (State.COMPLETED, _DELIVER),
        (State.COMPLETED, Event.FAILURE): (State.COMPLETED, _ACK),
        (State.COMPLETED, Event.TRANSPORT_ERROR): _OVER,
        (State.COMPLETED, Event.FORGET): _OVER,
        (State.ACCEPTED, Event.SUCCESS): (State.ACCEPTED, _DELIVER),
        (State.ACCEPTED, Event.FORGET): _OVER,
        (State.ABANDONED, Event.SUCCESS): (State.ABANDONED, _DELIVER),
        (State.ABANDONED, Event.FAILURE): (State.COMPLETED, _ACK),
        (State.ABANDONED, Event.TRANSPORT_ERROR): _OVER,
        (State.ABANDONED, Event.FORGET): _OVER,
    },
    {
        State.CALLING: (Timer.A, Timer.B),
        State.COMPLETED: (Timer.D,),
        State.ACCEPTED: (Timer.M,),
        State.ABANDONED: (Timer.C,),
    },
    backoff=float("inf"),
)

NON_INVITE_CLIENT: Final = Machine(
    "non-INVITE client",
    State.TRYING,
    {
        (State.TRYING, Event.RETRANSMIT): (State.TRYING, _SEND),
        (State.TRYING, Event.GIVE_UP): _TIMED_OUT,
        (State.TRYING, Event.TRANSPORT_ERROR): _FAILED,
        (State.TRYING, Event.PROVISIONAL): (State.PROCEEDING, _DELIVER),
        (State.TRYING, Event.SUCCESS): (State.COMPLETED, _DELIVER),
        (State.TRYING, Event.FAILURE): (State.COMPLETED, _DELIVER),
        (State.PROCEEDING, Event.RETRANSMIT): (State.PROCEEDING, _SEND),
        (State.PROCEEDING, Event.GIVE_UP): _TIMED_OUT,
        (State.PROCEEDING, Event.TRANSPORT_ERROR): _FAILED,
        (State.PROCEEDING, Event.PROVISIONAL): (State.PROCEEDING, _DELIVER),
        (State.PROCEEDING, Event.SUCCESS): (State.COMPLETED, _DELIVER),
        (State.PROCEEDING, Event.FAILURE): (State.COMPLETED, _DELIVER),
        (State.COMPLETED, Event.FORGET): _OVER,
    },
    {
        State.TRYING: (Timer.E, Timer.F),
        State.PROCEEDING: (Timer.E, Timer.F),
        State.COMPLETED: (Timer.K,),
    },
    backoff=T2,
)

# RFC 3261 13.3.1.4 has the UAS core repeat a 2xx until its ACK comes; here the Accepted state does it with timer G,
# and gives up with timer H, so that no user of the stack has to.
INVITE_SERVER: Final = Machine(
    "INVITE server",
    State.PROCEEDING,
    {
        (State.PROCEEDING, Event.REQUEST): (State.PROCEEDING, _SEND),
        (State.PROCEEDING, Event.SEND_PROVISIONAL): (State.PROCEEDING, _SEND),
        (State.PROCEEDING, Event.SEND_SUCCESS): (State.ACCEPTED, _SEND),
        (State.PROCEEDING, Event.SEND_FAILURE): (State.COMPLETED, _SEND),
        (State.PROCEEDING, Event.TRANSPORT_ERROR): _FAILED,
        (State.COMPLETED, Event.REQUEST): (State.COMPLETED, _SEND),
        (State.COMPLETED, Event.RETRANSMIT): (State.COMPLETED, _SEND),
        (State.COMPLETED, Event.ACK): (State.CONFIRMED, ()),
        (State.COMPLETED, Event.GIVE_UP): _OVER,
        (State.COMPLETED, Event.TRANSPORT_ERROR): _OVER,
        (State.ACCEPTED, Event.REQUEST): (State.ACCEPTED, _SEND),
        (State.ACCEPTED, Event.RETRANSMIT): (State.ACCEPTED, _SEND),
        (State.ACCEPTED, Event.ACK): (State.CONFIRMED, ()),
        (State.ACCEPTED, Event.GIVE_UP): _TIMED_OUT,
        (State.ACCEPTED, Event.TRANSPORT_ERROR): _FAILED,
        (State.CONFIRMED, Event.FORGET): _OVER,
    },
    {
        State.COMPLETED: (Timer.G, Timer.H),
        State.ACCEPTED: (Timer.G, Timer.H),
        State.CONFIRMED: (Timer.L,),
    },
    backoff=T2,
)

NON_INVITE_SERVER: Final = Machine(
    "non-INVITE server",
    State.TRYING,
    {
        (State.TRYING, Event.SEND_PROVISIONAL): (State.PROCEEDING, _SEND),
        (State.TRYING, Event.SEND_SUCCESS): (State.COMPLETED, _SEND),
        (State.TRYING, Event.SEND_FAILURE): (State.COMPLETED, _SEND),
        (State.PROCEEDING, Event.REQUEST): (State.PROCEEDING, _SEND),
        (State.PROCEEDING, Event.SEND_PROVISIONAL): (State.PROCEEDING, _SEND),
        (State.PROCEEDING, Event.SEND_SUCCESS): (State.COMPLETED, _SEND),
        (State.PROCEEDING, Event.SEND_FAILURE): (State.COMPLETED, _SEND),
        (State.PROCEEDING, Event.TRANSPORT_ERROR): _FAILED,
        (State.COMPLETED, Event.REQUEST): (State.COMPLETED, _SEND),
        (State.COMPLETED, Event.TRANSPORT_ERROR): _OVER,
        (State.COMPLETED, Event.FORGET): _OVER,
    },
    {State.COMPLETED: (Timer.J,)},
    backoff=T2,
)

_OURS = frozenset({Event.SEND_PROVISIONAL, Event.SEND_SUCCESS, Event.SEND_FAILURE})
_ONLY_UNRELIABLE = frozenset({Timer.A, Timer.E})  # RFC 3261 17.1: no request is repeated over a reliable transport
_ZERO_IF_RELIABLE = frozenset({Timer.D, Timer.I, Timer.J, Timer.K})
_DELAYS: Final[Mapping[Timer, float]] = {Timer.C: TIMER_C, Timer.I: T4, Timer.K: T4}


class Transaction:
    """A transaction's place in its machine.

    After every `step`, `entered` says whether the state changed; then the timers of `due_timers` are to be started and
    those that were started under an older `generation` mean nothing any more.
    """

    __slots__ = ("_interval", "_machine", "_reliable", "entered", "generation", "state")

    def __init__(self, machine: Machine, *, reliable: bool) -> None:
        self._machine = machine
        self._reliable = reliable
        self._interval = T1
        self.state = machine.start
        self.generation = 0
        self.entered = True

    def step(self, event: Event) -> tuple[Effect, ...]:
        """Let the event happen; returns what is to be done. Raises LocalProtocolError for an answer out of turn."""
        row = self._machine.table.get((self.state, event))
        if row is None:
            if event in _OURS:
                raise LocalProtocolError(f"{self._machine.name} in state {self.state.value}: {event.value}")
            self.entered = False
            return ()
        state, effects = row
        self.entered = state is not self.state
        if self.entered:
            self.state = state
            self.generation += 1
            if state is State.PROCEEDING:
                self._interval = T2  # RFC 3261 17.1.2.2: in Proceeding, timer E fires every T2
        elif event is Event.RETRANSMIT:
            self._interval = min(2 * self._interval, self._machine.backoff)
        return effects

    def timers(self) -> list[tuple[Timer, float]]:
        """Return the timers that run in the state just entered, with their delays in seconds."""
        return [(timer, self._delay(timer)) for timer in self._machine.timers.get(self.state, ()) if self._runs(timer)]

    def repeat_delay(self) -> float:
        """Return when the next retransmission is due after one was just made."""
        return self._interval

    @property
    def over(self) -> bool:
        """Whether the transaction has ended and is to be forgotten."""
        return self.state is State.TERMINATED

    def _runs(self, timer: Timer) -> bool:
        if timer is Timer.G and self._reliable:
            return self.state is State.ACCEPTED  # RFC 3261 13.3.1.4: a 2xx is repeated whatever the transport
        return not (self._reliable and timer in _ONLY_UNRELIABLE)

    def _delay(self, timer: Timer) -> float:
        if EVENT_OF_TIMER[timer] is Event.RETRANSMIT:
            return self._interval
        if self._reliable and timer in _ZERO_IF_RELIABLE:
            return 0.0
        return _DELAYS.get(timer, LINGER)


def event_of_response(status: int) -> Event:
    """Return the event that a received response is."""
    if status < 200:
        return Event.PROVISIONAL
    return Event.SUCCESS if status < 300 else Event.FAILURE


def event_of_answer(status: int) -> Event:
    """Return the event that sending a response is."""
    if status < 200:
        return Event.SEND_PROVISIONAL
    return Event.SEND_SUCCESS if status < 300 else Event.SEND_FAILURE
