"""An event loop whose clock goes faster than time, so that a test sees SIP's slow timers come due."""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selectors import SelectorKey


class FastLoop(asyncio.SelectorEventLoop):
    """A second of its clock takes a `speed`th of a second."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        super().__init__(_FastSelector(speed))

    def time(self) -> float:
        """Return the loop's own time."""
        return super().time() * self._speed


class _FastSelector(selectors.EpollSelector):
    def __init__(self, speed: float) -> None:
        super().__init__()
        self._speed = speed

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        return super().select(None if timeout is None else timeout / self._speed)
