"""How long a connection is waited for: its first message, the rest of a message, any sign of life (RFC 5626 4.4).

It is told what happens and when, and says until when that will do; whoever owns the connection has the timer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MESSAGE_TIMEOUT: Final = 30.0  # seconds in which a message must be whole, the first one from the connection's opening
IDLE_TIMEOUT: Final = 7_500.0  # seconds of silence that a connection may last: over two default registrations
HANDSHAKE_TIMEOUT: Final = 10.0  # seconds for TLS, before anything is known of the peer
STALL_TIMEOUT: Final = 30.0  # seconds that a peer may leave unread what waits for it
KEEPALIVE: Final = 90.0  # seconds between CRLFs of ours; RFC 5626 4.4.1 has a client send its own after 95 to 120


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """The waits of a connection, in seconds."""

    message: float = MESSAGE_TIMEOUT
    idle: float = IDLE_TIMEOUT
    stall: float = STALL_TIMEOUT
    handshake: float = HANDSHAKE_TIMEOUT
    keepalive: float = KEEPALIVE
    """After how long without traffic a CRLF is sent, for NATs; 0 is never."""


class Patience:
    """The patience with one connection, opened at `now`."""

    __slots__ = ("_heard", "_limits", "_since", "greeted")

    def __init__(self, limits: StreamLimits, now: float) -> None:
        self._limits = limits
        self._heard = now
        self._since: float | None = now
        self.greeted = False
        """Whether a whole message has come: until then the peer is nobody."""

    @property
    def deadline(self) -> float:
        """When the connection is to be closed, if nothing more happens."""
        return self._heard + self._limits.idle if self._since is None else self._since + self._limits.message

    def heard(self, now: float, *, whole: bool, waiting: bool) -> None:
        """Take note of bytes: whether they ended a message, and whether part of one now waits for its rest.

        Keepalives are signs of life, but they put no message off.
        """
        self._heard = now
        if whole:
            self.greeted = True
            self._since = now if waiting else None
        elif waiting and self._since is None:
            self._since = now
