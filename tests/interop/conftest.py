"""The real peers and the daemon, as fixtures.

A peer that is not installed skips its test and says so; with ROOST_REQUIRE_PEERS=1 in the environment it fails it.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from roost_process import Roost
from sipp_phone import SippPhone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from roost_process import Device

PACKAGES = {
    "curl": "curl",
    "jq": "jq",
    "sipp": "sip-tester",
    "baresip": "baresip-core",
    "sipsak": "sipsak",
    "sngrep": "sngrep",
    "tshark": "tshark",
    "svmap": "sipvicious",
    "svwar": "sipvicious",
    "svcrack": "sipvicious",
}


def require_peer(program: str) -> None:
    """Skip the test where a real peer is missing, or fail it where peers are required."""
    if shutil.which(program) is not None:
        return
    reason = f"{program} is not installed (apt-get install {PACKAGES[program]})"
    if os.environ.get("ROOST_REQUIRE_PEERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def peer() -> Callable[[str], None]:
    """Ask for a real peer by its program's name."""
    return require_peer


@pytest.fixture(scope="session")
def roost(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roost]:
    """One daemon for all tests that leave it as it was."""
    daemon = Roost(tmp_path_factory.mktemp("roost")).create().start()
    yield daemon
    assert daemon.stop() == 0


@pytest.fixture
def own_roost(tmp_path: Path) -> Iterator[Roost]:
    """One daemon for one test, which may kill it."""
    daemon = Roost(tmp_path / "roost").create().start()
    yield daemon
    if daemon.running:
        assert daemon.stop() == 0


@pytest.fixture
def sipp_phone(tmp_path: Path) -> Iterator[Callable[..., SippPhone]]:
    """Make SIPp phones: `sipp_phone(roost, device, transport="tcp")`; they end with the test."""
    require_peer("sipp")
    phones: list[SippPhone] = []

    def make(daemon: Roost, device: Device, **options: object) -> SippPhone:
        folder = tmp_path / f"sipp{len(phones)}"
        phone = SippPhone(options.pop("account", device.account), daemon.sip, folder, **options)
        phones.append(phone)
        return phone.start()

    yield make
    for phone in phones:
        phone.stop()


@pytest.fixture
def media_roost(tmp_path: Path) -> Iterator[Callable[..., Roost]]:
    """Start daemons with `[media]` settings: `media_roost(workers=0)`; they end with the test."""
    daemons: list[Roost] = []

    def start(**media: object) -> Roost:
        daemons.append(Roost(tmp_path / f"roost{len(daemons)}", {"media": media}).create().start())
        return daemons[-1]

    yield start
    for daemon in daemons:
        if daemon.running:
            assert daemon.stop() == 0
