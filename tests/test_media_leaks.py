"""What is left of workers and their calls when they are over: nothing, without the collector of cycles."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections import Counter
from pathlib import Path

import pytest
from fast_loop import FastLoop

from sip.io.exchange import ClientTransaction
from sip.media.link import Link
from sip.media.live import LiveBridge
from sip.media.process import WorkerProcess
from sip.media.supervisor import MediaPolicy, MediaSupervisor

pytest.importorskip("pjsua2", reason="pjsua2-pybind11 has no wheel for this Python")

OURS = (LiveBridge, Link, WorkerProcess, ClientTransaction)
CALLS = 12
SPEED = 4
TIMERS = 40.0
"""Seconds, by the fast clock, after which the last timer of SIP's transactions is over."""


def test_workers_that_are_over_leave_nothing() -> None:
    """Those that were let go, and those that were killed: no object, no descriptor, no port."""
    gc.collect()
    gc.disable()
    loop = FastLoop(SPEED)
    try:
        left, ports, descriptors = loop.run_until_complete(_many_workers())
    finally:
        loop.close()
        gc.enable()

    assert not left
    assert 25 == ports
    assert descriptors <= 0


async def _many_workers() -> tuple[Counter[str], int, int]:
    supervisor = MediaSupervisor(MediaPolicy(workers=0, ports=(9900, 9999)))
    await supervisor.start()
    before = _descriptors()
    for number in range(CALLS):
        bridge = await supervisor.open()
        if number % 2:
            lost = asyncio.Event()
            bridge.listen(lost.set, lambda _side, _digit: None)
            os.kill(bridge.pid, signal.SIGKILL)
            await lost.wait()
        bridge.close()
    del bridge
    await asyncio.sleep(TIMERS)
    left = Counter(type(each).__name__ for each in gc.get_objects() if isinstance(each, OURS))
    descriptors = _descriptors() - before
    ports = supervisor.room
    await supervisor.close()
    return left, ports, descriptors


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
