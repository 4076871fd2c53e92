"""Workers that are warm: started before they are needed, so that a call waits for none."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from sip.media.process import WorkerFailed, WorkerProcess

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Sequence

log = structlog.get_logger(__name__)

BACKOFF: Final = (1.0, 2.0, 5.0, 15.0, 60.0)
"""Seconds before another one is warmed up after so many failures in a row; by chance up to half as much again."""

STARTS: Final = 2
"""Workers that are started at once: each start takes a core for a tenth of a second, which phones want as well."""
QUEUE_LIMIT: Final = 8.0
"""Seconds that a call waits for the starts of others."""


class StartsBusy(Exception):
    """So many workers are being started that none could be for this call."""


class WorkerPool:
    """Keeps so many workers warm, and sees every one of its workers out."""

    def __init__(self, size: int, sounds: Sequence[int], chance: Callable[[], float], faults: Counter[str]) -> None:
        self._size = size
        self._sounds = sounds
        self._chance = chance
        self._faults = faults
        self._warm: list[WorkerProcess] = []
        self._filler: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._starts = asyncio.Semaphore(STARTS)
        self._closing = False

    def __len__(self) -> int:
        return len(self._warm)

    def fill(self) -> None:
        """Warm up as many as are missing, one after the other."""
        if self._closing or self._filler is not None or len(self._warm) >= self._size:
            return
        self._filler = asyncio.create_task(self._fill(), name="media-workers")
        self._filler.add_done_callback(self._filled)

    async def take(self) -> WorkerProcess:
        """Return a worker that runs: a warm one, or else a new one. Raises WorkerFailed and StartsBusy.

        The next one is warmed up by `fill`, when the call has what it needs: a start takes what the processor has.
        """
        if self._closing:
            raise WorkerFailed("the daemon is stopping")
        worker = self._warm.pop(0) if self._warm else await self._new()
        worker.on_end = _nothing
        return worker

    def dismiss(self, worker: WorkerProcess, then: Callable[[], None]) -> None:
        """Let a worker end; `then` is called when it has."""
        task = asyncio.create_task(_end(worker, then), name=f"media-worker-{worker.pid}-end")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End every worker, and return when the last is gone."""
        self._closing = True
        if self._filler is not None:
            self._filler.cancel()
            await asyncio.gather(self._filler, return_exceptions=True)
        warm, self._warm = self._warm, []
        for worker in warm:
            self.dismiss(worker, _nothing)
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _fill(self) -> None:
        failures = 0
        while len(self._warm) < self._size:
            try:
                worker = await self._new()
            except (WorkerFailed, StartsBusy) as failure:
                delay = BACKOFF[min(failures, len(BACKOFF) - 1)] * (1 + self._chance() / 2)
                failures += 1
                self._faults["start"] += 1
                log.warning("media.worker_failed", reason=str(failure), again_in=round(delay, 1))
                await asyncio.sleep(delay)
                continue
            failures = 0
            worker.on_end = partial(self._lost, worker)
            self._warm.append(worker)
            log.debug("media.worker_warm", pid=worker.pid)

    def _filled(self, _task: asyncio.Task[None]) -> None:
        self._filler = None

    def _lost(self, worker: WorkerProcess) -> None:
        """Replace a warm worker that died. Its death is told at once, so none that is dead is ever given out."""
        if worker in self._warm:
            self._warm.remove(worker)
            self._faults["warm"] += 1
            log.warning("media.worker_lost", pid=worker.pid)
            self.dismiss(worker, self.fill)

    async def _new(self) -> WorkerProcess:
        try:
            await asyncio.wait_for(self._starts.acquire(), QUEUE_LIMIT)
        except (TimeoutError, asyncio.TimeoutError):
            raise StartsBusy(f"no media worker could be started within {QUEUE_LIMIT:g} s; try again later") from None
        worker = WorkerProcess(self._sounds)
        try:
            await worker.start()
        except BaseException:
            self.dismiss(worker, _nothing)
            raise
        finally:
            self._starts.release()
        return worker


async def _end(worker: WorkerProcess, then: Callable[[], None]) -> None:
    await worker.stop()
    then()


def _nothing() -> None:
    """Do nothing."""
