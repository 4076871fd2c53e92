"""A backup while phones register, and a restore of it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from roost_process import Roost
from sip_user import User

from sip.digest import Credentials
from sip.flow import Address, Flow, Transport
from sip.io.client import ask
from sip.io.endpoint import Endpoint, new_token
from sip.message import Request

if TYPE_CHECKING:
    from roost_process import Device

pytestmark = pytest.mark.interop

DEVICES = 300
PHONES = 8  # that register at the same time
CONTACTS = 40  # that each device gets
BACKUPS = 4
REPOSITORY = Path(__file__).parents[2]


class Storm:
    """Phones that register one contact after the other, and remember when each was answered."""

    def __init__(self, roost: Roost, devices: list[Device]) -> None:
        self._server = Address(*roost.sip)
        self._devices = devices
        self.answered: dict[str, float] = {}
        """Contacts by the moment of their 200."""

    async def rage(self) -> None:
        """Register all the contacts, or until cancelled."""
        endpoint = Endpoint(User())
        local = await endpoint.listen(Transport.UDP, Address("127.0.0.1", 0))
        flow = Flow.between(Transport.UDP, local, self._server)
        try:
            await asyncio.gather(*(self._phone(endpoint, flow) for _ in range(PHONES)))
        finally:
            await endpoint.close()

    async def _phone(self, endpoint: Endpoint, flow: Flow) -> None:
        while self._devices:
            await self._register(endpoint, flow, self._devices.pop())

    async def _register(self, endpoint: Endpoint, flow: Flow, device: Device) -> None:
        account = device.account
        aor = f"sip:{account.username}@{account.realm}"
        for _ in range(CONTACTS):
            contact = f"sip:{time.monotonic_ns()}@{flow.local}"
            request = Request("REGISTER", f"sip:{account.realm}")
            for name, value in (
                ("Max-Forwards", "70"),
                ("From", f"<{aor}>;tag={new_token()}"),
                ("To", f"<{aor}>"),
                ("Call-ID", new_token()),
                ("CSeq", "1 REGISTER"),
                ("Contact", f"<{contact}>;expires=3600"),
            ):
                request.set(name, value)
            response = await ask(endpoint, request, flow, credentials=Credentials(account.username, account.password))
            if response.status == 200:
                self.answered[contact] = time.monotonic()


def run(roost: Roost, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command with the daemon's configuration."""
    command = [sys.executable, "-m", "daemon", *words, "--config", str(roost.directory / "roost.toml")]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)


def contacts_in(path: Path) -> set[str]:
    """Return the contacts that are registered in a database."""
    connection = sqlite3.connect(path)
    found = {contact for (contact,) in connection.execute("SELECT contact FROM bindings")}
    connection.close()
    return found


async def test_backup_during_a_storm_has_every_binding_answered_before_it_began(
    tmp_path: Path,
) -> None:
    """A 200 is a promise (RFC 3261 10); phones go on being answered while the backups are made."""
    roost = Roost(tmp_path / "roost", {"sip": {"max_contacts": CONTACTS}}).create().start()
    storm = Storm(roost, [roost.create_device() for _ in range(DEVICES)])
    raging = asyncio.create_task(storm.rage())
    try:
        for number in range(BACKUPS):
            await asyncio.sleep(0.3)
            began = time.monotonic()
            copy = tmp_path / f"copy{number}.db"
            done = await asyncio.to_thread(run, roost, "backup", str(copy), "--json")
            ended = time.monotonic()
            before = {contact for contact, moment in storm.answered.items() if moment < began}
            meanwhile = [moment for moment in storm.answered.values() if began < moment < ended]

            assert done.returncode == 0, done.stderr
            assert len(before) > PHONES
            assert before <= contacts_in(copy)
            assert json.loads(done.stdout)["bindings"] == len(contacts_in(copy))
            assert meanwhile
    finally:
        raging.cancel()
        await asyncio.gather(raging, return_exceptions=True)
        roost.stop()


def test_restored_daemon_knows_the_phones_of_the_backup(own_roost: Roost, tmp_path: Path) -> None:
    """While it runs the restore is refused and says what to do; afterwards phone and device are there again."""
    device = own_roost.create_device()
    asyncio.run(register_once(own_roost, device))
    copy = tmp_path / "copy.db"
    assert run(own_roost, "backup", str(copy)).returncode == 0
    own_roost.on_account("DELETE", f"/devices/{device.id}")
    refused = run(own_roost, "restore", str(copy))
    own_roost.stop()
    restored = run(own_roost, "restore", str(copy))
    own_roost.start()

    assert refused.returncode == 1
    assert "stop the daemon first (systemctl stop roost)" in refused.stderr
    assert restored.returncode == 0, restored.stderr
    assert own_roost.registered() == {device.id}


async def register_once(roost: Roost, device: Device) -> None:
    """Register until the first answer."""
    storm = Storm(roost, [device])
    raging = asyncio.create_task(storm.rage())
    while not storm.answered:
        await asyncio.sleep(0.01)
    raging.cancel()
    await asyncio.gather(raging, return_exceptions=True)
