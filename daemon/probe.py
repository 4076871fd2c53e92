"""Whether the phones of a call are still there: a phone that lost its power sends no BYE (RFC 3261 11, 12.2.1.2)."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from daemon.leg import LiveLeg
    from sip import callevents as ev
    from sip.message import Response


class Probe:
    """Asks each leg by OPTIONS, until `end`."""

    def __init__(
        self,
        every: float,
        legs: Callable[[], Iterable[tuple[ev.Leg, LiveLeg]]],
        lose: Callable[[ev.Leg, int], None],
    ) -> None:
        self._every = every
        self._legs = legs
        self._lose = lose
        self._timer = asyncio.get_running_loop().call_later(every, self._ask)

    def end(self) -> None:
        """Ask no more."""
        self._timer.cancel()

    def _ask(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._every, self._ask)
        for key, leg in self._legs():
            leg.send("OPTIONS", partial(self._answered, key))

    def _answered(self, key: ev.Leg, status: int, _response: Response | None) -> None:
        # RFC 3261 12.2.1.2: a 481 or a 408 means that the dialog is over; any other answer that there is somebody.
        if status in (408, 481):
            self._lose(key, status)
