"""Who gets a media worker and who does not; the workers themselves are tested with real RTP elsewhere."""

from __future__ import annotations

import sys

import pytest

from sip.media.supervisor import MediaPolicy, MediaSupervisor, NoMedia, NoRoom


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
