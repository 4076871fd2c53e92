"""Which RTP ports are whose: each worker has a few consecutive ones of the range, so that no two try the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sip.media.bridge import PORTS_PER_CALL

if TYPE_CHECKING:
    from collections.abc import Callable

RESTS: Final = 30.0  # seconds that ports are left alone which somebody else had: another program, or a late packet


class PortRange:
    """The ports from `first` to `last`, in shares of `PORTS_PER_CALL`."""

    def __init__(self, first: int, last: int, choose: Callable[[int], int]) -> None:
        start = first + first % 2  # RFC 3550 11: RTP has the even port, RTCP the next
        self._free = [port for port in range(start, last + 1, PORTS_PER_CALL) if port + PORTS_PER_CALL - 1 <= last]
        self._resting: list[tuple[float, int]] = []
        self._choose = choose

    def __len__(self) -> int:
        return len(self._free)

    def take(self, now: float) -> int | None:
        """Return the first port of a free share, chosen by chance; None where there is none."""
        self._free += [port for until, port in self._resting if until <= now]
        self._resting = [each for each in self._resting if each[0] > now]
        if not self._free:
            return None
        return self._free.pop(self._choose(len(self._free)))

    def give_back(self, port: int) -> None:
        """Take back a share."""
        self._free.append(port)

    def rest(self, port: int, now: float) -> None:
        """Take back a share that somebody else uses."""
        self._resting.append((now + RESTS, port))
