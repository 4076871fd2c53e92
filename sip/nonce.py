"""Nonces of digest authentication, signed so that none is kept, counted so that none is replayed (RFC 7616 5.4)."""

from __future__ import annotations

import hashlib
import hmac
from enum import Enum
from typing import Final

from sip.errors import LocalProtocolError

SALT_BYTES: Final = 4  # of chance in a nonce, so that two phones challenged in one second get two nonces
NONCE_LENGTH: Final = 48  # characters: 8 of time, 8 of salt, 32 of signature
MAX_NONCES: Final = 8  # nonces whose count is kept for one device: more phones than that on one account take turns


class NonceState(Enum):
    """What a nonce is worth."""

    FRESH = "fresh"
    STALE = "stale"
    """Signed by us, but past its lifetime."""
    FORGED = "forged"
    """Not signed with our key."""


class NonceSigner:
    """Makes nonces that prove by themselves when we made them: nothing is kept for a challenge (RFC 7616 5.4).

    Times are wall clock seconds, so that nonces outlive a restart with the same key.
    """

    __slots__ = ("_keyed", "_lifetime")

    def __init__(self, key: bytes, lifetime: float) -> None:
        if not 16 <= len(key) <= hashlib.blake2s.MAX_KEY_SIZE:
            raise LocalProtocolError("the key of the nonces needs 16 to 32 bytes")
        self._keyed = hashlib.blake2s(key=key, digest_size=16)
        self._lifetime = lifetime

    def issue(self, now: float, salt: bytes) -> str:
        """Return a nonce made now with SALT_BYTES of chance."""
        if len(salt) != SALT_BYTES:
            raise LocalProtocolError(f"the salt of a nonce has {SALT_BYTES} bytes")
        head = f"{int(now):08x}{salt.hex()}"
        return head + self._signature(head)

    def check(self, nonce: str, now: float) -> NonceState:
        """Return what the nonce is worth. A clock that was set back makes no nonce stale before its time."""
        head = nonce[:16]
        if not nonce.isascii() or not hmac.compare_digest(self._signature(head), nonce[16:]):
            return NonceState.FORGED
        return NonceState.FRESH if abs(now - int(head[:8], 16)) <= self._lifetime else NonceState.STALE

    def _signature(self, head: str) -> str:
        keyed = self._keyed.copy()
        keyed.update(head.encode("ascii"))
        return keyed.hexdigest()


class NonceCounts:
    """The highest nonce count of each nonce that a device used last: kept by whoever keeps the device.

    A nonce that had to be forgotten is never taken again, nor any other that is not younger: so a recorded answer
    cannot come back. A device with more than MAX_NONCES phones only sees more challenges.
    """

    __slots__ = ("_count", "_forgotten", "_number", "_others")

    def __init__(self) -> None:
        self._number, self._count = -1, 0
        self._others: tuple[tuple[int, int], ...] = ()
        """Of the other nonces, the last used first: nearly always none."""
        self._forgotten = -1

    def take(self, nonce: str, count: int) -> bool:
        """Note the use of a nonce of ours, and tell whether it was a new one: the count grew, by any step.

        An answer of the old form, which has no count, passes 0 and so can use its nonce once.
        """
        number = int(nonce[:16], 16)  # time and salt, from which the signature follows
        if number != self._number:
            return self._take_other(number, count)
        if count <= self._count:
            return False
        self._count = count
        return True

    def _take_other(self, number: int, count: int) -> bool:
        others = {self._number: self._count, **dict(self._others)} if self._number >= 0 else {}
        last = others.pop(number, None)
        if _time_of(number) <= self._forgotten if last is None else count <= last:
            return False
        if len(others) == MAX_NONCES:
            oldest, _ = others.popitem()
            self._forgotten = max(self._forgotten, _time_of(oldest))
        self._number, self._count, self._others = number, count, tuple(others.items())
        return True


def _time_of(number: int) -> int:
    return number >> 8 * SALT_BYTES
