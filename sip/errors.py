"""What can go wrong in SIP: their faults, our faults, and silence.

An expected outcome (401, 423, busy, not registered) is a value, never one of these.
"""

from __future__ import annotations


class SipError(Exception):
    """The root of every error that the SIP stack raises."""


class ParseError(SipError):
    """The peer sent something that is not what the grammar allows.

    `reason` says what is wrong in a few words fit for a log line or a Warning; `offset` is where in the text it was
    seen; `status` is the SIP status that answers a request which carries the fault.
    """

    def __init__(self, reason: str, offset: int = 0, status: int = 400) -> None:
        super().__init__(f"{reason} (at {offset})" if offset else reason)
        self.reason = reason
        self.offset = offset
        self.status = status


class LocalProtocolError(SipError):
    """We were about to break the protocol ourselves: a bug of ours, never the peer's fault."""


class TransactionTimeout(SipError):
    """No final response came in time (RFC 3261 17.1, timers B and F)."""


class TransportFailed(SipError):
    """The flow could not carry the message: refused, closed, or too large (RFC 3261 18.4)."""


class ConnectionLost(TransportFailed):
    """The connection closed while an answer was awaited: the message may have arrived."""
