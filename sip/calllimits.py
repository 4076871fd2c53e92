"""How long a quickcall may stay in each of its states; no dialog outlives them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sip.callevents import State
from sip.timers import LINGER

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class CallLimits:
    """How long a call may stay in a state, in seconds."""

    ring_a: float = 30.0
    ring_b: float = 120.0
    """PBXs divert a call that nobody takes to a mailbox within a minute."""
    route: float = 10.0
    """Directory and DNS."""
    connect: float = LINGER
    """A re-INVITE answered by the phone itself; timer B of one."""
    talk: float = 12 * 3600.0
    """No conversation is longer; a call that nobody ended is."""
    end: float = LINGER + 8.0
    """After a CANCEL, 64*T1 (RFC 3261 9.1) and a margin."""
    probe: float = 60.0
    """Between two OPTIONS to each leg while connected; 32 later (timer F) one that did not answer ends its call."""

    def patience(self, state: State, chance: Callable[[], float]) -> float | None:
        """Return how long to stay in a state; None for those that nothing is waited for in."""
        if state is State.GLARE:
            return 2.1 + 1.9 * chance()  # RFC 3261 14.1: the owner of the Call-ID waits 2.1 to 4 seconds
        return {
            State.CALLING_A: self.ring_a,
            State.ROUTING_B: self.route,
            State.CALLING_B: self.ring_b,
            State.CONNECTING: self.connect,
            State.CONNECTED: self.talk,
            State.ENDING: self.end,
        }.get(state)
