"""Who gets a media worker and who does not; the workers themselves are tested with real RTP elsewhere."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import pytest
from fast_loop import FastLoop

from sip.media.supervisor import MediaPolicy, MediaSupervisor, NoMedia, NoRoom

if TYPE_CHECKING:
    from pathlib import Path


async def test_without_pjsua2_a_call_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything else starts all the same, and the refusal says what can be done instead."""
    monkeypatch.setitem(sys.modules, "pjsua2", None)
    supervisor = MediaSupervisor(MediaPolicy())
    await supervisor.start()
    with pytest.raises(NoMedia, match=r"pjsua2-pybind11.*media=bypass") as refusal:
        await supervisor.open()
    await supervisor.close()

    assert not isinstance(refusal.value, NoRoom), "it does not pass by itself"
    assert (0, 0) == (supervisor.calls, supervisor.warm)


async def test_a_worker_that_does_not_start_is_told_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interpreter that ends at once, each time: the call is refused and holds nothing."""
    pytest.importorskip("pjsua2", reason="pjsua2-pybind11 has no wheel for this Python")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    supervisor = MediaSupervisor(MediaPolicy(workers=0))
    await supervisor.start()
    room = supervisor.room
    with pytest.raises(NoMedia, match="it ended without a word"):
        await supervisor.open()
    await supervisor.close()

    assert {"start": 3} == supervisor.faults
    assert (0, room) == (supervisor.calls, supervisor.room)


def test_a_crowd_of_calls_starts_two_workers_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The others wait their turn, and are told to come again where that takes too long: phones need the processor."""
    pytest.importorskip("pjsua2", reason="pjsua2-pybind11 has no wheel for this Python")
    interpreter = tmp_path / "python"
    interpreter.write_text(f"#!/bin/sh\necho >> {tmp_path}/starts\nexec sleep 30\n")
    interpreter.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(interpreter))
    loop = FastLoop(20)
    try:
        refused, starts = loop.run_until_complete(_crowd(tmp_path / "starts"))
    finally:
        loop.close()

    assert 2 == starts
    assert 3 == sum("try again later" in str(refusal) for refusal in refused)


async def _crowd(starts: Path) -> tuple[list[NoMedia], int]:
    supervisor = MediaSupervisor(MediaPolicy(workers=0))
    await supervisor.start()
    calls = [asyncio.ensure_future(supervisor.open()) for _ in range(5)]
    done, _ = await asyncio.wait(calls, timeout=9)
    count = len(starts.read_text().splitlines())
    await asyncio.wait(calls)
    await supervisor.close()
    return [refusal for call in done if isinstance(refusal := call.exception(), NoRoom)], count
