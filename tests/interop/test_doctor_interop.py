"""`roost doctor` beside a daemon that runs."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from roost_process import REPOSITORY

if TYPE_CHECKING:
    from roost_process import Roost

pytestmark = pytest.mark.interop


def doctor(roost: Roost) -> tuple[int, dict[str, Any]]:
    words = ["doctor", "--config", str(roost.directory / "roost.toml"), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "daemon", *words],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, json.loads(done.stdout)


def test_daemon_is_found_up_and_down(own_roost: Roost) -> None:
    """While it runs its ports are its own, and it is asked how it is; when it has ended they are free."""
    status, up = doctor(own_roost)
    own_roost.stop()
    status_down, down = doctor(own_roost)

    assert (0, 0) == (status, status_down), up
    assert f"pid {own_roost.pid} serves" in up["findings"][0]["message"]
    assert 3 == sum(f"held by Roost (pid {own_roost.pid})" in row["message"] for row in up["findings"])
    assert "none runs" in down["findings"][0]["message"]
    assert 3 == sum("is free" in row["message"] for row in down["findings"])
    for found in (up, down):
        assert "whole: 1 accounts, 0 devices, 0 contacts" in [row["message"] for row in found["findings"]]


def test_killed_daemon_leaves_a_database_that_can_be_read(own_roost: Roost) -> None:
    """What is in the write-ahead log counts, and the look leaves it for the next start."""
    own_roost.create_device()
    own_roost.kill()
    _, found = doctor(own_roost)

    assert "whole: 1 accounts, 1 devices, 0 contacts" in [row["message"] for row in found["findings"]]
    own_roost.start()
    assert 1 == len(own_roost.on_account("GET", "/devices").data)
