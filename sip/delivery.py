"""What became of a NOTIFY that nobody subscribed to: what the phone said, and whether it then started anew.

A 2xx means that the phone has the NOTIFY, no more. That it obeyed is seen in what it does next: it un-registers or
falls silent, and registers with a new Call-ID; a phone keeps its Call-ID as long as it runs (RFC 3261 10.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from sip.errors import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sip.location import Binding


class DeliveryState(Enum):
    """A delivery as it is told."""

    DELIVERED = "delivered"
    """The phone said 2xx."""
    REJECTED = "rejected"
    """It refused, or did not believe our credentials."""
    UNSUPPORTED = "unsupported"
    """It does not know the request, or its family has none for what was asked."""
    UNREACHABLE = "unreachable"
    """No answer came."""
    REBOOTING = "rebooting"
    """It went away after the NOTIFY, and is not back."""
    REBOOTED = "rebooted"
    """It registered with a new Call-ID."""
    NOT_REGISTERED = "not_registered"
    """There was no contact to send to."""


class Phase(Enum):
    """Where a delivery stands."""

    SENT = "sent"
    """No answer yet."""
    SILENT = "silent"
    """No answer will come; the phone may have restarted at once."""
    LEFT = "left"
    """It un-registered before it answered."""
    HEARD = "heard"
    """It accepted, and may yet restart."""
    AWAY = "away"
    """It accepted, and went away."""
    DELIVERED = "delivered"
    REJECTED = "rejected"
    UNSUPPORTED = "unsupported"
    UNREACHABLE = "unreachable"
    REBOOTED = "rebooted"
    NOT_REGISTERED = "not_registered"


class Input(Enum):
    """What a delivery learns."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    NOT_UNDERSTOOD = "not-understood"
    UNAVAILABLE = "unavailable"
    """Somebody on the way says that the phone cannot be reached."""
    NO_ANSWER = "no-answer"
    """Timer F fired, or the connection closed meanwhile."""
    NOT_SENT = "not-sent"
    UNREGISTERED = "unregistered"
    FELL_SILENT = "fell-silent"
    """The binding expired, or the phone no longer answers OPTIONS, or its connection closed."""
    CAME_BACK = "came-back"
    """It answers again, or registered with the Call-ID it had."""
    RESTARTED = "restarted"
    """It registered with a new Call-ID."""
    WINDOW_OVER = "window-over"
    """What it does from now on has nothing to do with the NOTIFY."""


TOLD: Final[Mapping[Phase, DeliveryState]] = {
    Phase.SENT: DeliveryState.UNREACHABLE,
    Phase.SILENT: DeliveryState.UNREACHABLE,
    Phase.LEFT: DeliveryState.REBOOTING,
    Phase.HEARD: DeliveryState.DELIVERED,
    Phase.AWAY: DeliveryState.REBOOTING,
    Phase.DELIVERED: DeliveryState.DELIVERED,
    Phase.REJECTED: DeliveryState.REJECTED,
    Phase.UNSUPPORTED: DeliveryState.UNSUPPORTED,
    Phase.UNREACHABLE: DeliveryState.UNREACHABLE,
    Phase.REBOOTED: DeliveryState.REBOOTED,
    Phase.NOT_REGISTERED: DeliveryState.NOT_REGISTERED,
}

MOVES: Final[Mapping[Phase, Mapping[Input, Phase]]] = {
    Phase.SENT: {
        Input.ACCEPTED: Phase.HEARD,
        Input.REFUSED: Phase.REJECTED,
        Input.NOT_UNDERSTOOD: Phase.UNSUPPORTED,
        Input.UNAVAILABLE: Phase.UNREACHABLE,
        Input.NO_ANSWER: Phase.SILENT,
        Input.NOT_SENT: Phase.UNREACHABLE,
        Input.UNREGISTERED: Phase.LEFT,
        Input.FELL_SILENT: Phase.SENT,
        Input.CAME_BACK: Phase.SENT,
        Input.RESTARTED: Phase.REBOOTED,
        Input.WINDOW_OVER: Phase.UNREACHABLE,
    },
    Phase.LEFT: {
        Input.ACCEPTED: Phase.AWAY,
        Input.REFUSED: Phase.REJECTED,
        Input.NOT_UNDERSTOOD: Phase.UNSUPPORTED,
        Input.UNAVAILABLE: Phase.LEFT,
        Input.NO_ANSWER: Phase.LEFT,
        Input.NOT_SENT: Phase.UNREACHABLE,
        Input.UNREGISTERED: Phase.LEFT,
        Input.FELL_SILENT: Phase.LEFT,
        Input.CAME_BACK: Phase.SENT,
        Input.RESTARTED: Phase.REBOOTED,
        Input.WINDOW_OVER: Phase.UNREACHABLE,
    },
    Phase.SILENT: {
        Input.UNREGISTERED: Phase.LEFT,
        Input.FELL_SILENT: Phase.SILENT,
        Input.CAME_BACK: Phase.SILENT,
        Input.RESTARTED: Phase.REBOOTED,
        Input.WINDOW_OVER: Phase.UNREACHABLE,
    },
    Phase.HEARD: {
        Input.UNREGISTERED: Phase.AWAY,
        Input.FELL_SILENT: Phase.AWAY,
        Input.CAME_BACK: Phase.HEARD,
        Input.RESTARTED: Phase.REBOOTED,
        Input.WINDOW_OVER: Phase.DELIVERED,
    },
    Phase.AWAY: {
        Input.UNREGISTERED: Phase.AWAY,
        Input.FELL_SILENT: Phase.AWAY,
        Input.CAME_BACK: Phase.HEARD,
        Input.RESTARTED: Phase.REBOOTED,
        # It obeyed as it seems, and is gone for good: sip_status tells the first, the state the second.
        Input.WINDOW_OVER: Phase.UNREACHABLE,
    },
}
"""The phases that are not here are final."""

_NOT_UNDERSTOOD = frozenset({405, 415, 420, 481, 482, 489, 501, 505})
"""A phone that wants a subscription says 481 or 489; one that takes our To for its own From says 482."""
_UNAVAILABLE = frozenset({408, 430, 480, 503, 504})


def input_of_status(status: int) -> Input:
    """Return what a final status says of the NOTIFY."""
    if 200 <= status < 300:
        return Input.ACCEPTED
    if status in _NOT_UNDERSTOOD:
        return Input.NOT_UNDERSTOOD
    return Input.UNAVAILABLE if status in _UNAVAILABLE else Input.REFUSED


@dataclass(slots=True)
class Delivery:
    """One NOTIFY to one binding. Times are readings of the clock that bindings use."""

    sent_at: float
    window: float
    """Seconds after the sending in which a new Call-ID means a restart."""
    watched: bool = True
    """Whether the NOTIFY is one that makes phones restart; an answer to any other one is its end."""
    phase: Phase = Phase.SENT
    answering: bool = True
    """Whether an answer may still come."""
    status: int | None = None
    reason: str = ""
    latency: float | None = None
    """Seconds until the final answer."""

    @property
    def state(self) -> DeliveryState:
        """What is told of the delivery."""
        return TOLD[self.phase]

    @property
    def final(self) -> bool:
        """Whether the state will not change any more."""
        return self.phase not in MOVES

    @property
    def gone(self) -> bool:
        """Whether the phone was seen to leave, or to say nothing."""
        return self.phase in (Phase.LEFT, Phase.AWAY, Phase.SILENT)

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do; None where it has nothing."""
        return None if self.final or self.answering else self.sent_at + self.window

    def settled(self, *, awaits_restart: bool) -> bool:
        """Return whether nothing more is worth waiting for, where a restart is awaited or not."""
        return self.final or (self.phase in (Phase.HEARD, Phase.SILENT) and not awaits_restart)

    def answered(self, status: int, reason: str, now: float) -> None:
        """Take the final answer."""
        self.status, self.reason, self.latency = status, reason, max(0.0, now - self.sent_at)
        self._end_exchange(input_of_status(status), now)

    def unanswered(self, now: float, *, sent: bool) -> None:
        """Learn that no answer will come, or that the NOTIFY never left."""
        self._end_exchange(Input.NO_ANSWER if sent else Input.NOT_SENT, now)

    def learn(self, what: Input) -> None:
        """Take in what the phone does; whatever it does after the end is not ours."""
        if self.final:
            return
        try:
            self.phase = MOVES[self.phase][what]
        except KeyError:
            raise LocalProtocolError(f"a delivery cannot take {what.value} while {self.phase.value}") from None

    def tick(self, now: float) -> None:
        """End the watch for a restart when its time is over."""
        if self.deadline is not None and now >= self.deadline:
            self.learn(Input.WINDOW_OVER)

    def _end_exchange(self, what: Input, now: float) -> None:
        if self.final:
            return
        self.answering = False
        self.learn(what)
        if not self.watched and not self.final:
            self.learn(Input.WINDOW_OVER)
        self.tick(now)


@dataclass(frozen=True, slots=True)
class Watch:
    """How the phone is known again that a NOTIFY went to, whatever it registers as next."""

    contact: str
    instance: str
    host: str
    """Its address, as we see it."""
    call_id: str
    """Of its REGISTER when the NOTIFY was sent."""
    others: frozenset[str] = frozenset()
    """Call-IDs of the device's other contacts."""

    @classmethod
    def of(cls, binding: Binding, siblings: frozenset[str]) -> Watch:
        """Watch the phone of a binding; `siblings` are the Call-IDs of all the device's bindings."""
        others = siblings - {binding.call_id}
        return cls(binding.contact, binding.instance, binding.flow.host, binding.call_id, others)

    @property
    def alone(self) -> bool:
        """Whether the device had no other contact."""
        return not self.others

    def covers(self, binding: Binding) -> bool:
        """Return whether a binding is the one that the NOTIFY went to."""
        return binding.contact == self.contact and binding.instance == self.instance

    def registered(self, binding: Binding, *, gone: bool) -> Input | None:
        """Return what a REGISTER says of the phone; None where it came from another one.

        `gone` says that the phone was seen to leave: then a REGISTER from a new address is its own too, if the device
        had no other phone.
        """
        if binding.call_id == self.call_id:
            return Input.CAME_BACK
        if binding.call_id in self.others:
            return None
        return Input.RESTARTED if self._is_it(binding) or (gone and self.alone) else None

    def _is_it(self, binding: Binding) -> bool:
        if self.instance and binding.instance:
            return self.instance == binding.instance
        return binding.contact == self.contact or binding.flow.host == self.host
