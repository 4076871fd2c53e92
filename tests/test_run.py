"""`roost run` from outside: what it prints, what it logs, how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

START_LIMIT = 20.0
VARIABLES = {"ROOST_SIP_LISTEN": "udp:127.0.0.1:0", "ROOST_API_LISTEN": "127.0.0.1:0", "ROOST_LOG_FORMAT": "json"}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `roost run` in a folder of the test's own; its output goes to the files `out` and `log` there."""
    started: list[subprocess.Popen[str]] = []

    def run(**variables: str) -> subprocess.Popen[str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("ROOST_", "STATE_"))}
        environ |= {"PYTHONPATH": str(Path(__file__).parent.parent)} | VARIABLES | variables
        with (tmp_path / "out").open("w") as out, (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "daemon", "run"], cwd=tmp_path, env=environ, stdout=out, stderr=log, text=True
            )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()


def wait_for_event(tmp_path: Path, process: subprocess.Popen[str], event: str) -> list[dict[str, object]]:
    """Return the log once it has the event."""
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline:
        lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines() if line.endswith("}")]
        if any(line["event"] == event for line in lines):
            return lines
        assert process.poll() is None, (tmp_path / "log").read_text()
        time.sleep(0.05)
    raise AssertionError(f"no {event}: {(tmp_path / 'log').read_text()}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_first_start_tells_its_owner_and_a_signal_ends_it(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path, number: signal.Signals
) -> None:
    """The API key is printed and not logged; a signal ends the daemon in order, with status 0."""
    process = start()
    wait_for_event(tmp_path, process, "daemon.started")
    printed = (tmp_path / "out").read_text()
    process.send_signal(number)

    assert 0 == process.wait(START_LIMIT)
    (key,) = (line.split()[-1] for line in printed.splitlines() if "API key" in line)
    assert 64 == len(key)
    assert "curl -X PUT http://127.0.0.1:" in printed
    log = (tmp_path / "log").read_text()
    assert key not in log
    assert "daemon.stopped" in log


def test_second_start_tells_nothing_again(start: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    """The key is printed once, by the start that made the account."""
    for printed in (True, False):
        process = start()
        wait_for_event(tmp_path, process, "daemon.started")
        process.terminate()
        process.wait(START_LIMIT)

        assert printed == ("API key" in (tmp_path / "out").read_text())


def test_taken_address_is_told_in_a_sentence(start: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    """A port that somebody else has ends the start with status 1 and a sentence, not with a traceback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        process = start(ROOST_SIP_LISTEN=f"udp:127.0.0.1:{other.getsockname()[1]}")

        assert 1 == process.wait(START_LIMIT)
    log = (tmp_path / "log").read_text()
    assert "Error: cannot start: " in log
    assert "Traceback" not in log


def test_systemd_is_told_when_it_is_ready(start: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    """READY comes with a status line, and STOPPING when it is told to end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(START_LIMIT)
        process = start(NOTIFY_SOCKET=str(tmp_path / "notify"))
        ready = manager.recv(4096).decode()
        process.terminate()
        while (told := manager.recv(4096).decode()).startswith(("STATUS=", "WATCHDOG=")):
            pass
        process.wait(START_LIMIT)

    assert ready.startswith("READY=1\nSTATUS=0 contacts, 0 calls, version ")
    assert told.startswith("STOPPING=1\nSTATUS=stopping: 0 contacts, 0 calls, version ")
