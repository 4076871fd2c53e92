"""The ways to a URI, opened one after the other as each turns out to lead nowhere (RFC 3263 4.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sip.errors import TransportFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sip.flow import Flow
    from sip.locate import Hop


class Ways:
    """What is left to try."""

    def __init__(self, hops: Sequence[Hop], connect: Callable[[Hop], Awaitable[Flow]]) -> None:
        self._left = list(reversed(hops))
        self._connect = connect
        self._flow: Flow | None = None

    @property
    def more(self) -> bool:
        """Whether anything is left."""
        return bool(self._left)

    @property
    def flow(self) -> Flow:
        """The way that was opened last. Raises TransportFailed where none was."""
        if self._flow is None:
            raise TransportFailed("no way is open")
        return self._flow

    async def next(self) -> Flow:
        """Open the next way that can be opened. Raises TransportFailed where there is none."""
        first: TransportFailed | None = None
        while self._left:
            try:
                self._flow = await self._connect(self._left.pop())
            except TransportFailed as failure:
                first = first or failure
            else:
                return self._flow
        raise first or TransportFailed("no way is left")
