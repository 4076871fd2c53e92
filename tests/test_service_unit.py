"""The systemd unit: what it promises the manager, its hardening, and that the daemon works under that."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from config.loader import known_keys

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT: Final = Path(__file__).parent.parent
UNIT: Final = ROOT / "systemd" / "roost.service"
WORST: Final = 2.0
"""Exposure by `systemd-analyze security` that the unit must not exceed; it had 1.1 when this was written."""
START_LIMIT: Final = 20.0
PR_SET_MDWE: Final = 65
"""prctl(2): what MemoryDenyWriteExecute= uses since systemd 254; before, it is a seccomp filter to the same end."""

DENIED: Final = f"""
import ctypes, mmap, sys
assert ctypes.CDLL(None).prctl({PR_SET_MDWE}, 1, 0, 0, 0) == 0
try:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
except PermissionError:
    pass
else:
    sys.exit("memory that can be written and run is still to be had")
"""
DAEMON: Final = "sys.argv[1:] = ['run']\nimport runpy\nrunpy.run_module('daemon', run_name='__main__')"
CALL: Final = """
import asyncio
import regex
from sip.media.supervisor import MediaPolicy, MediaSupervisor
async def call():
    supervisor = MediaSupervisor(MediaPolicy(workers=0, ports=(9800, 9899)))
    await supervisor.start()
    try:
        bridge = await supervisor.open()
        bridge.close()
    finally:
        await supervisor.close()
regex.compile(r'\\d+(?:a|b)*').match('1ab', timeout=1)
asyncio.run(call())
"""


class _Unit(ConfigParser):
    """A unit file; of an option that is given several times all values are kept, one a line."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def service() -> dict[str, str]:
    """Return the unit's [Service] section; the last value of each option."""
    unit = _Unit(strict=False, interpolation=None, comment_prefixes=("#",), delimiters=("=",))
    unit.read(UNIT)
    return dict(unit["Service"])


@pytest.fixture
def deny_write_execute() -> None:
    """Skip where the kernel cannot be asked for it (before Linux 6.3)."""
    child = f"import ctypes, sys; sys.exit(ctypes.CDLL(None).prctl({PR_SET_MDWE}, 1, 0, 0, 0) != 0)"
    if subprocess.run([sys.executable, "-c", child], check=False, timeout=START_LIMIT).returncode != 0:
        pytest.skip("the kernel has no PR_SET_MDWE")


@pytest.fixture
def run(tmp_path: Path) -> Callable[[str, dict[str, str]], subprocess.Popen[bytes]]:
    """Start Python with a program, on free ports, its working directory the test's."""

    def start(program: str, environ: dict[str, str]) -> subprocess.Popen[bytes]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("ROOST_")}
        own |= {"PYTHONPATH": str(ROOT), "ROOST_SIP_LISTEN": "udp:127.0.0.1:0", "ROOST_API_LISTEN": "127.0.0.1:0"}
        return subprocess.Popen(
            [sys.executable, "-c", program], cwd=tmp_path, env=own | environ, stderr=subprocess.PIPE
        )

    return start


def test_manager_is_told_and_watches() -> None:
    """Readiness, reload and watchdog are the daemon's own word (sd_notify(3))."""
    unit = service()

    assert ("notify", "main") == (unit["Type"], unit["NotifyAccess"])
    assert "kill -HUP $MAINPID" in unit["ExecReload"]
    assert int(unit["WatchdogSec"]) > 0
    assert "on-failure" == unit["Restart"]
    assert ("roost", "roost", "roost") == (unit["User"], unit["StateDirectory"], unit["ConfigurationDirectory"])


def test_no_privilege_is_given_by_default() -> None:
    """A capability is for ports below 1024 alone, and has a drop-in of its own."""
    unit = service()

    assert ("", "", "yes") == (
        unit["AmbientCapabilities"],
        unit["CapabilityBoundingSet"],
        unit["NoNewPrivileges"],
    )


def test_every_credential_of_the_unit_is_a_secret_that_can_be_set() -> None:
    """A credential of another name would be handed over and never read."""
    loaded = re.findall(r"^LoadCredential=([^:]+):roost\.(.+)$", UNIT.read_text(), re.MULTILINE)
    secrets = {key.path for key in known_keys() if key.rule.secret}

    assert {(name, name) for name in secrets} == set(loaded)


def test_exposure_stays_low() -> None:
    """The figure of `systemd-analyze security` is kept."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    done = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager", str(UNIT)],
        capture_output=True,
        text=True,
        check=False,
        timeout=START_LIMIT,
    )
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze knows no --offline")
    figure = re.search(r"Overall exposure level for roost\.service: ([\d.]+)", done.stdout)

    assert figure is not None, done.stderr
    assert float(figure[1]) <= WORST


@pytest.mark.usefixtures("deny_write_execute")
def test_daemon_works_without_memory_that_is_written_and_run(
    run: Callable[[str, dict[str, str]], subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    """Under MemoryDenyWriteExecute= it gets ready, and its own look at SIP and store feeds the watchdog."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(START_LIMIT)
        process = run(DENIED + DAEMON, {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "4000000"})
        try:
            ready, fed = manager.recv(4096).decode(), manager.recv(4096).decode()
        finally:
            process.terminate()
            _, errors = process.communicate(timeout=START_LIMIT)

    assert ready.startswith("READY=1\n"), errors
    assert fed.startswith("WATCHDOG=1\n"), errors
    assert 0 == process.returncode


@pytest.mark.usefixtures("deny_write_execute")
def test_media_workers_run_without_memory_that_is_written_and_run(
    run: Callable[[str, dict[str, str]], subprocess.Popen[bytes]],
) -> None:
    """The restriction goes over to the workers, and pjsua2, ctypes and regex live with it."""
    pytest.importorskip("pjsua2", reason="pjsua2-pybind11 has no wheel for this Python")
    process = run(DENIED + CALL, {})
    _, errors = process.communicate(timeout=START_LIMIT)

    assert 0 == process.returncode, errors.decode()


def test_ports_below_1024_take_one_capability() -> None:
    """The drop-in gives what binding needs and nothing else."""
    lines = (UNIT.parent / "privileged-ports.conf").read_text().splitlines()

    assert [
        "[Service]",
        "AmbientCapabilities=CAP_NET_BIND_SERVICE",
        "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
        "PrivateUsers=no",
    ] == [line for line in lines if not line.startswith("#")]
