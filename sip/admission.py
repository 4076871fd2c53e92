"""When a registrar says 503 rather than take one more REGISTER: before it has more than it can answer soon.

A phone that is told when to come again does not repeat its request meanwhile, as one does that hears nothing; and those
told different times do not come again together (RFC 3261 20.33, 21.5.4).
"""

from __future__ import annotations

from typing import Final

NEWCOMERS_SHARE: Final = 0.5  # of the places; who has credentials in hand was let in before, or needs one step only
BUFFER_SHARE: Final = 0.5  # of the receive buffer that may be full before newcomers are refused
BUFFER_FULL: Final = 0.9  # before all are: what comes beyond 1 is lost
LET_IN: Final = 0.25  # of a REGISTER for each that is refused, while the buffer is that full; it costs two refusals,
"""so that a third of the time goes to phones that get in, however many there are."""
MOST_LET_IN: Final = 64.0  # one after the other: what one batch of datagrams holds
RETRY_LEAST: Final = 5  # seconds; by then even a full queue is worked off
RETRY_MOST: Final = 30  # seconds, while no more are refused than taken
RETRY_LONGEST: Final = 300  # seconds, however many are refused: a phone must not be away for longer
WINDOW: Final = 5.0  # seconds for which those taken and those refused are counted
TELL_EVERY: Final = 60.0  # seconds between log lines, for an overload refuses thousands a second


class Admission:
    """Who may still wait for an answer; `most` may at once."""

    __slots__ = ("_let_in", "_most", "_most_newcomers", "_refused", "_retry_most", "_since", "_taken", "_told")

    def __init__(self, most: int) -> None:
        self.limit(most)
        self._told = float("-inf")
        self._let_in = 0.0
        self._taken = self._refused = 0
        self._since = float("-inf")
        self._retry_most = RETRY_MOST

    def limit(self, most: int) -> None:
        """Let so many wait from now on."""
        self._most = most
        self._most_newcomers = most * NEWCOMERS_SHARE

    def admits(self, waiting: int, buffered: float, *, signed: bool) -> bool:
        """Decide on one more REGISTER, of which is known only whether it carries credentials, right or wrong.

        `waiting` do so already; `buffered` is how full the receive buffer is, from 0 to 1. While it is too full some
        are let in all the same, or a crowd that cannot even be refused as fast as it comes would keep everybody out;
        half of these places are kept for those with credentials.
        """
        if signed:
            room, calm, kept = waiting < self._most, buffered < BUFFER_FULL, 0.0
        else:
            room, calm, kept = waiting < self._most_newcomers, buffered < BUFFER_SHARE, MOST_LET_IN / 2
        taken = room and (calm or self._let_in >= kept + 1.0)
        if not taken:
            self._let_in = min(MOST_LET_IN, self._let_in + LET_IN)
        elif not calm:
            self._let_in -= 1.0
        self._taken += taken
        return taken

    def retry_after(self, now: float, chance: float) -> int:
        """Return the seconds for the Retry-After of one that was refused; `chance` is from 0 to 1, anew for each.

        The more are refused for each that is taken, the further they are spread, so that about as many come again as
        can be taken.
        """
        self._refused += 1
        if now - self._since >= WINDOW:
            crowd = self._refused / max(1, self._taken)
            self._retry_most = min(RETRY_LONGEST, max(RETRY_MOST, round(RETRY_MOST * crowd)))
            self._since, self._taken, self._refused = now, 0, 0
        return retry_after(chance, self._retry_most)

    def should_tell(self, now: float) -> bool:
        """Return whether it is time for another log line."""
        if now - self._told < TELL_EVERY:
            return False
        self._told = now
        return True


def retry_after(chance: float, most: int = RETRY_MOST) -> int:
    """Return the seconds for a Retry-After; `chance` is from 0 to 1, anew for each."""
    return RETRY_LEAST + int(chance * (most - RETRY_LEAST + 1) * 0.999)
