"""Reads that are shared: whoever wants what is being read already waits for that.

When something that all clients ask for has to be read anew, it is so read once and not once for each of them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable

T = TypeVar("T")


class SharedReads(Generic[T]):
    """Reads under way, by what they read. Each ends by itself, also when nobody waits for it any more."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, asyncio.Task[T]] = {}

    async def read(self, key: Hashable, start: Callable[[], Coroutine[None, None, T]]) -> T:
        """Return what the read of `key` brings, or raise what it raises; `start` begins one where there is none."""
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.get_running_loop().create_task(start())
            task.add_done_callback(lambda done: self._ended(key, done))
        return await asyncio.shield(task)

    def _ended(self, key: Hashable, task: asyncio.Task[T]) -> None:
        del self._tasks[key]
        if not task.cancelled():
            task.exception()  # has been told to whoever waited; nobody may have
