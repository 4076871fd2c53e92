"""An import while the daemon runs: the phones that it brings register at once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sipp_phone import Account

if TYPE_CHECKING:
    from collections.abc import Callable

    from roost_process import Roost
    from sipp_phone import SippPhone

pytestmark = pytest.mark.interop

REPOSITORY = Path(__file__).parents[2]


def run(roost: Roost, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command with the daemon's configuration."""
    command = [sys.executable, "-m", "daemon", *words, "--config", str(roost.directory / "roost.toml")]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)


def test_phone_of_an_imported_device_registers(
    own_roost: Roost, sipp_phone: Callable[..., SippPhone], tmp_path: Path
) -> None:
    """And a password that an import changes ends the registration with the old one."""
    file = tmp_path / "phones.csv"
    file.write_text("name,username,password\nAnn,1001,secret1\nBob,1002,\n")
    refused = run(own_roost, "import", str(file), "--dry-run")
    done = run(own_roost, "import", str(file), "--json")
    device = own_roost.create_device()
    phone = sipp_phone(own_roost, device, account=Account("1001", "secret1", device.account.realm))
    assert phone.register().status == 200
    before = own_roost.registered()
    file.write_text("username,password\n1001,secret2\n1003,x\n")
    faulty = run(own_roost, "import", str(file), "--update")
    unchanged = own_roost.registered()
    file.write_text("username,password\n1001,secret2\n")
    updated = run(own_roost, "import", str(file), "--update")

    assert refused.stdout == "nothing written; would be 2 created, 0 updated, 0 unchanged, 0 faulty\n"
    assert json.loads(done.stdout)["created"] == 2, done.stderr
    assert len(before) == 1
    assert faulty.returncode == 1
    assert faulty.stdout.startswith("line 3: sip.password: ")
    assert unchanged == before
    assert updated.stdout == "0 created, 1 updated, 0 unchanged, 0 faulty\n"
    assert own_roost.registered() == set()
