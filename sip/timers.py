"""The timers of RFC 3261 17 and RFC 6026, and the queue that holds those that run.

All SIP timers have one of a handful of durations, so each duration is a first-in-first-out lane: setting a timer and
taking a due one cost the same whether ten or a million run.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

T1: Final = 0.5  # seconds: the round trip that RFC 3261 17.1.1.1 assumes
T2: Final = 4.0  # longest interval between retransmissions of a non-INVITE request or a response to INVITE
T4: Final = 5.0  # how long a message stays in the network
LINGER: Final = 64 * T1  # timers B, D, F, H, J, L and M
TIMER_C: Final = 180.0  # how long a proxy may let a phone ring (RFC 3261 16.6, step 11)

Item = TypeVar("Item")


class Timer(Enum):
    """The timers of the four transactions (RFC 3261 table 4, RFC 6026 7)."""

    A = "INVITE request retransmission"
    B = "INVITE transaction timeout"
    C = "wait for a 2xx to an INVITE that was given up"
    D = "wait for response retransmissions"
    E = "non-INVITE request retransmission"
    F = "non-INVITE transaction timeout"
    G = "INVITE response retransmission"
    H = "wait for ACK"
    I = "wait for ACK retransmissions"  # noqa: E741 - its name in the RFC
    J = "wait for non-INVITE request retransmissions"
    K = "wait for non-INVITE response retransmissions"
    L = "wait for accepted INVITE request retransmissions"
    M = "wait for retransmission of 2xx to INVITE"


class TimerLanes(Generic[Item]):
    """Items that come due, kept by duration. Nothing is cancelled: who takes a due item checks if it still matters."""

    __slots__ = ("_lanes",)

    def __init__(self) -> None:
        self._lanes: dict[float, deque[tuple[float, Item]]] = {}

    def __len__(self) -> int:
        return sum(len(lane) for lane in self._lanes.values())

    def set(self, delay: float, item: Item, now: float) -> float:
        """Let the item come due `delay` seconds from now; returns when."""
        lane = self._lanes.get(delay)
        if lane is None:
            lane = self._lanes[delay] = deque()
        due = now + delay
        lane.append((due, item))
        return due

    def next_due(self) -> float | None:
        """Return when the next item comes due, None where none waits."""
        return min((lane[0][0] for lane in self._lanes.values() if lane), default=None)

    def take_due(self, now: float) -> Iterator[Item]:
        """Take the items that are due, those of a lane in order."""
        for lane in list(self._lanes.values()):
            while lane and lane[0][0] <= now:
                yield lane.popleft()[1]
