"""`roost backup` and `roost restore`, run as their users run them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def roost(tmp_path: Path) -> Run:
    """Run `roost` with these arguments, in a folder of the test's own."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("ROOST_", "STATE_"))}
        environ |= {"PYTHONPATH": str(Path(__file__).parent.parent)}
        command = [sys.executable, "-m", "daemon", *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False
        )

    return run


@pytest.fixture
def master(roost: Run) -> str:
    """Make the master account, and return its id."""
    account: str = json.loads(roost("init", "--name", "Master", "--realm", "a.test", "--json").stdout)["account_id"]
    return account


def test_backup_and_restore(roost: Run, master: str, tmp_path: Path) -> None:
    """What was there at the backup is there after the restore, what came later is in the file kept aside."""
    saved = roost("backup", "copy.db")
    roost("account", "add", "--name", "Later", "--realm", "later.test")
    restored = roost("restore", "copy.db", "--json")
    listed = json.loads(roost("account", "list", "--json").stdout)

    assert saved.returncode == 0, saved.stderr
    assert saved.stdout.startswith("copy.db: 1 accounts, 0 users, 0 devices, 0 bindings; version ")
    assert restored.returncode == 0, restored.stderr
    facts = json.loads(restored.stdout)
    assert facts["accounts"] == 1
    assert (tmp_path / facts["replaced"]).exists()
    assert [row["account_id"] for row in listed] == [master]


def test_backup_says_why_not(roost: Run) -> None:
    """Each reason is a sentence, and the status is 1."""
    missing = roost("backup", "copy.db")
    roost("init", "--name", "Master", "--realm", "a.test")
    roost("backup", "copy.db")
    again = roost("backup", "copy.db")
    forced = roost("backup", "copy.db", "--force")

    assert (missing.returncode, again.returncode, forced.returncode) == (1, 1, 0)
    assert "there is no database at" in missing.stderr
    assert "copy.db is there already: say --force" in again.stderr


@pytest.mark.usefixtures("master")
def test_restore_refuses_a_database_with_its_log_beside_it(roost: Run, tmp_path: Path) -> None:
    """`cp` of a database in use leaves half of it in the -wal file."""
    (tmp_path / "copied.db").write_bytes((tmp_path / "var" / "roost.db").read_bytes())
    (tmp_path / "copied.db-wal").write_bytes(b"x")
    done = roost("restore", "copied.db")

    assert done.returncode == 1
    assert "copied.db-wal is a part of it" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.usefixtures("master")
def test_root_backs_up_without_taking_files_from_the_daemon(roost: Run, tmp_path: Path) -> None:
    """A log that root's reading makes beside the database belongs to the daemon's user, as the database does."""
    nobody = 65534
    state = tmp_path / "var"
    for path in (state, *state.iterdir()):
        shutil.chown(path, nobody, nobody)
    done = roost("backup", "copy.db")

    assert done.returncode == 0, done.stderr
    assert {each.stat().st_uid for each in state.iterdir()} == {nobody}
    assert (tmp_path / "copy.db").stat().st_uid == 0
