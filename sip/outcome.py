"""How a call ended: whose doing it was, as a SIP status and as a Q.850 cause (RFC 3326, RFC 3398 8.2.6.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from sip.headers import quote
from sip.message import reason_phrase

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sip.message import Message


class Side(Enum):
    """The two legs of a quickcall."""

    A = "a"
    """The device."""
    B = "b"
    """The number."""

    @property
    def other(self) -> Side:
        """The leg at the other end."""
        return Side.B if self is Side.A else Side.A


class Outcome(Enum):
    """Every way a call can end; the better explained ones first, which is the order `best_told` picks by."""

    ANSWERED = "answered"
    """Both legs were connected, and one of them hung up."""
    BUSY = "busy"
    DECLINED = "declined"
    REJECTED_CODEC = "rejected_codec"
    UNAUTHORIZED = "unauthorized"
    NOT_FOUND = "not_found"
    REDIRECTED = "redirected"
    """The phone says to call somebody else, and we do not."""
    NO_ANSWER = "no_answer"
    NOT_REGISTERED = "not_registered"
    NO_ROUTE = "no_route"
    FAILED = "failed"
    UNREACHABLE = "unreachable"
    """The flow broke, or the peer says that it cannot be had."""
    TIMEOUT = "timeout"
    """Nothing came back at all."""
    CANCELLED = "cancelled"
    """A party, or who asked for the call, gave up before it was connected."""
    LOST = "lost"
    """A leg died while connected."""
    WORKER_LOST = "worker_lost"
    """The process that had the call's media died."""
    LIMIT = "limit"
    """The longest time that a call may last."""
    SHUTDOWN = "shutdown"
    ANSWERED_ELSEWHERE = "answered_elsewhere"
    """Of a leg: another phone was faster."""
    TRANSFERRED = "transferred"
    """Of a leg: another number took its place."""


@dataclass(frozen=True, slots=True)
class Ending:
    """An end, and what it is told as."""

    outcome: Outcome
    side: Side | None
    """Whose doing it was; None for ours."""
    status: int
    """The SIP status that says it best, 200 where nothing went wrong."""
    cause: int
    """Q.850."""

    @property
    def reason(self) -> str:
        """The Reason header that tells the other leg (RFC 3326 2)."""
        text = f"Q.850;cause={self.cause};text={quote(Q850.get(self.cause, 'Interworking'))}"
        if self.status >= 300:
            text = f"SIP;cause={self.status};text={quote(reason_phrase(self.status))}, {text}"
        return text


ANSWERED_ELSEWHERE: Final = 'SIP;cause=200;text="Call completed elsewhere"'
"""The Reason by which a phone that is cancelled does not count a missed call."""

ELSEWHERE: Final = Ending(Outcome.ANSWERED_ELSEWHERE, None, 487, 26)
TRANSFERRED: Final = Ending(Outcome.TRANSFERRED, None, 200, 16)

Q850: Final[Mapping[int, str]] = {
    1: "Unallocated number", 3: "No route to destination", 16: "Normal call clearing", 17: "User busy",
    18: "No user responding", 19: "No answer from user", 20: "Subscriber absent", 21: "Call rejected",
    22: "Number changed", 23: "Redirection to new destination", 25: "Exchange routing error",
    26: "Non-selected user clearing", 27: "Destination out of order", 28: "Invalid number format",
    31: "Normal, unspecified", 38: "Network out of order", 41: "Temporary failure", 63: "Service not available",
    65: "Bearer capability not implemented", 79: "Service not implemented", 88: "Incompatible destination",
    102: "Recovery on timer expiry", 127: "Interworking, unspecified",
}  # fmt: skip
"""The causes that we send, and their texts."""

_CAUSES: Final[Mapping[int, int]] = {
    300: 23, 301: 22, 302: 23, 305: 23, 380: 23,
    400: 41, 401: 21, 402: 21, 403: 21, 404: 1, 405: 63, 406: 79, 407: 21, 408: 102, 410: 22, 413: 127, 414: 127,
    415: 79, 416: 127, 420: 127, 421: 127, 423: 127, 480: 18, 481: 41, 482: 25, 483: 25, 484: 28, 485: 1, 486: 17,
    487: 16, 488: 88, 500: 41, 501: 79, 502: 38, 503: 41, 504: 102, 505: 127, 513: 127, 600: 17, 603: 21, 604: 1,
    606: 88,
}  # fmt: skip
_OUTCOMES: Final[Mapping[int, Outcome]] = {
    401: Outcome.UNAUTHORIZED, 403: Outcome.DECLINED, 404: Outcome.NOT_FOUND, 407: Outcome.UNAUTHORIZED,
    408: Outcome.NO_ANSWER, 410: Outcome.NOT_FOUND, 415: Outcome.REJECTED_CODEC, 480: Outcome.NO_ANSWER,
    484: Outcome.NOT_FOUND, 486: Outcome.BUSY, 487: Outcome.CANCELLED, 488: Outcome.REJECTED_CODEC,
    502: Outcome.UNREACHABLE, 503: Outcome.UNREACHABLE, 504: Outcome.UNREACHABLE, 600: Outcome.BUSY,
    603: Outcome.DECLINED, 604: Outcome.NOT_FOUND, 606: Outcome.REJECTED_CODEC,
}  # fmt: skip
_CAUSE = re.compile(r"\s*Q\.850\s*;.*?\bcause\s*=\s*(\d{1,3})\b", re.IGNORECASE)


def refused(side: Side, status: int, cause: int | None = None) -> Ending:
    """Return the end that a final response of this status is; `cause` is what the peer itself said, if it did."""
    outcome = Outcome.REDIRECTED if status < 400 else _OUTCOMES.get(status, Outcome.FAILED)
    return Ending(outcome, side, status, _CAUSES.get(status, 127) if cause is None else cause)


def unheard(side: Side) -> Ending:
    """Return the end of a leg that never answered a request (RFC 3261 8.1.3.1: as if it were a 408)."""
    return Ending(Outcome.TIMEOUT, side, 408, 18)


def unreachable(side: Side) -> Ending:
    """Return the end of a leg whose flow cannot carry a request (RFC 3261 8.1.3.1: as if it were a 503)."""
    return Ending(Outcome.UNREACHABLE, side, 503, 27)


def hung_up(side: Side, *, connected: bool, cause: int | None = None) -> Ending:
    """Return the end by a BYE, before or after the legs were connected."""
    outcome = Outcome.ANSWERED if connected else Outcome.CANCELLED
    return Ending(outcome, side, 200 if connected else 487, 16 if cause is None else cause)


def best_told(endings: Iterable[Ending]) -> Ending:
    """Return the most telling of several failures: that a phone is busy says more than that another is silent."""
    order = list(Outcome)
    return min(endings, key=lambda ending: order.index(ending.outcome))


def told_cause(message: Message) -> int | None:
    """Return the Q.850 cause in a message's Reason, None where there is none."""
    matches = (_CAUSE.match(value) for value in message.values("Reason"))
    return next((int(match[1]) for match in matches if match and int(match[1]) < 128), None)
