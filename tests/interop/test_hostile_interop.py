"""SIPVicious learns nothing, is slowed, and disturbs nobody else."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from roost_process import Roost

from daemon.demo_phones import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sipp_phone import SippPhone

pytestmark = pytest.mark.interop

SCAN_LIMIT = 10
CRACK_LIMIT = 4
"""Seconds that svcrack gets; against a registrar without defences it tries a hundred passwords in one."""
NEIGHBOUR = "127.0.0.77"
"""The address of a phone that did nothing wrong; SIPVicious always sends from 127.0.0.1."""


@pytest.fixture(params=[True, False], ids=["strangers-dropped", "strangers-answered"])
def besieged(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Roost]:
    """Run a daemon for one siege, in both settings of `sip.drop_strangers`."""
    settings = {"sip": {"drop_strangers": request.param}}
    daemon = Roost(tmp_path / "roost", settings).create().start()
    yield daemon
    assert daemon.stop() == 0


@pytest.fixture
def scan(peer: Callable[[str], None], tmp_path: Path) -> Callable[..., str]:
    """Run one of SIPVicious's tools against the daemon and return what it printed."""

    def run(roost: Roost, tool: str, *words: str, limit: int = SCAN_LIMIT) -> str:
        peer(tool)
        # Its sessions go to the home directory.
        environment = {"HOME": str(tmp_path), "PATH": "/usr/local/bin:/usr/bin:/bin"}
        try:
            done = subprocess.run(
                # Its own choice is port 5060 of all addresses, which other tests need.
                [tool, *words, "-P", str(free_port()), "-p", str(roost.sip_port), roost.host],
                capture_output=True, text=True, stdin=subprocess.DEVNULL,
                env=environment, timeout=limit, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as stopped:
            return ((stopped.stdout or b"") + (stopped.stderr or b"")).decode()
        return done.stdout + done.stderr

    return run


def written(path: Path, lines: list[str]) -> str:
    """Write the lines to the file and return its name."""
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


@pytest.mark.parametrize("method", ["OPTIONS", "INVITE", "MESSAGE", "CANCEL"])
def test_svmap_does_not_find_a_daemon_that_drops_strangers(
    scan: Callable[..., str], tmp_path: Path, method: str
) -> None:
    """A known scanner gets no answer to whatever it asks, known to us or not."""
    daemon = Roost(tmp_path / "roost", {"sip": {"drop_strangers": True}}).create().start()
    try:
        output = scan(daemon, "svmap", "-m", method)
    finally:
        daemon.stop()

    assert "found nothing" in output
    assert f"{daemon.host}:{daemon.sip_port}" not in output


@pytest.mark.parametrize("method", ["REGISTER", "INVITE", "OPTIONS"])
def test_svwar_cannot_tell_a_device_from_a_made_up_name(
    besieged: Roost, scan: Callable[..., str], tmp_path: Path, method: str
) -> None:
    """Known and unknown extensions are answered alike, or not at all."""
    known = [besieged.create_device().account.username for _ in range(3)]
    names = written(tmp_path / "names", ["nobody", *known, "ghost"])

    output = scan(besieged, "svwar", "--force", "-d", names, "-m", method)

    listed = [line.split("|")[1].strip() for line in output.splitlines() if line.startswith("|")]
    assert not set(listed) & set(known) or set(known) | {"nobody", "ghost"} <= set(listed)


@pytest.mark.parametrize("reuse", [False, True], ids=["new-nonces", "one-nonce"])
def test_svcrack_does_not_find_a_password_in_its_list(
    besieged: Roost, scan: Callable[..., str], sipp_phone: Callable[..., SippPhone], tmp_path: Path, *, reuse: bool
) -> None:
    """The right password comes too late; a phone at another address registers meanwhile as ever."""
    victim, other = besieged.create_device(), besieged.create_device()
    words = written(tmp_path / "words", [*(f"wrong-{number}" for number in range(200)), victim.account.password])
    options = ["-n"] if reuse else []

    output = scan(besieged, "svcrack", *options, "-u", victim.account.username, "-d", words, limit=CRACK_LIMIT)

    assert victim.account.password not in output
    assert besieged.registered() == set()
    for device in (victim, other):
        assert sipp_phone(besieged, device, host=NEIGHBOUR).register().status == 200
    assert besieged.registered() == {victim.id, other.id}
