"""`roost import` and `roost export` on a database that no daemon uses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., subprocess.CompletedProcess[str]]

CSV = "name;username;password\nAnn;1001;secret1\nBob;1002;secret2\n"
FAULTY = "name;username;password;enabled\nAnn;1001;secret1;yes\nBob;1001;x;perhaps\n;;;\nCid;1003;secret3;no;more\n"


@pytest.fixture
def roost(tmp_path: Path) -> Run:
    """Run `roost` with these arguments, in a folder of the test's own, which has a master account."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("ROOST_", "STATE_"))}
        environ |= {"PYTHONPATH": str(Path(__file__).parent.parent)}
        command = [sys.executable, "-m", "daemon", *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False
        )

    assert run("init", "--name", "Master", "--realm", "a.test").returncode == 0
    return run


def exported(roost: Run, *options: str) -> list[dict[str, Any]]:
    """Return the devices that are there, by username."""
    devices = json.loads(roost("export", "--format", "json", *options).stdout)["data"]["devices"]
    return sorted(devices, key=lambda device: str(device["sip"]["username"]))


def test_what_was_exported_can_be_imported(roost: Run, tmp_path: Path) -> None:
    """Into the same account with --update, and as CSV or JSON into another one, with the same ids."""
    (tmp_path / "phones.csv").write_text(CSV)
    first = roost("import", "phones.csv")
    kept = exported(roost, "--with-passwords")
    roost("account", "add", "--name", "B", "--realm", "b.test")
    for form in ("csv", "json"):
        (tmp_path / f"all.{form}").write_text(
            roost("export", "--format", form, "--with-passwords", "--account", "a.test").stdout
        )
    same = roost("import", "all.csv", "--account", "a.test", "--update")
    other = roost("import", "all.json", "--account", "b.test")
    again = roost("import", "all.csv", "--account", "b.test", "--update")

    assert (first.returncode, first.stdout) == (0, "2 created, 0 updated, 0 unchanged, 0 faulty\n")
    assert same.stdout == again.stdout == "0 created, 0 updated, 2 unchanged, 0 faulty\n"
    assert other.stdout == first.stdout
    assert exported(roost, "--with-passwords", "--account", "b.test") == kept
    assert [device["sip"]["password"] for device in kept] == ["secret1", "secret2"]


def test_faults_are_listed_by_line_and_nothing_is_written(roost: Run, tmp_path: Path) -> None:
    """All of them, those of the file and those of the rules, whether it is a dry run or not."""
    (tmp_path / "phones.csv").write_text(FAULTY)
    dry = roost("import", "phones.csv", "--dry-run")
    real = roost("import", "phones.csv")

    assert dry.stdout == real.stdout
    assert (dry.returncode, real.returncode) == (1, 1)
    lines = real.stdout.splitlines()
    assert [line.split(":")[:2] for line in lines[:-2]] == [
        ["line 5", " it has more cells than there are names of columns"],
        ["line 3", " enabled"],
        ["line 3", " sip.password"],
        ["line 3", " sip.username"],
    ]
    assert lines[-2:] == [
        "nothing written; would be 1 created, 0 updated, 0 unchanged, 2 faulty",
        "--update changes those that are there already",
    ]
    assert exported(roost) == []


def test_skip_faulty_writes_the_others(roost: Run, tmp_path: Path) -> None:
    """And still lists the faults, with status 1."""
    (tmp_path / "phones.csv").write_text(FAULTY)
    done = roost("import", "phones.csv", "--skip-faulty", "--json")

    assert done.returncode == 1
    facts = json.loads(done.stdout)
    assert (facts["written"], facts["created"], facts["faulty"], len(facts["faults"])) == (True, 1, 2, 4)
    assert [device["name"] for device in exported(roost)] == ["Ann"]


def test_export_has_passwords_only_where_they_are_asked_for(roost: Run, tmp_path: Path) -> None:
    """In neither form; and an update from it leaves them as they are."""
    (tmp_path / "phones.csv").write_text(CSV)
    roost("import", "phones.csv")
    for form in ("csv", "json"):
        (tmp_path / "all").write_text(roost("export", "--format", form).stdout)

        assert "secret" not in (tmp_path / "all").read_text()
        assert roost("import", "all", "--update").stdout == "0 created, 0 updated, 2 unchanged, 0 faulty\n"


def test_account_must_be_named_where_there_are_several(roost: Run, tmp_path: Path) -> None:
    """Nobody's phones end in the wrong account."""
    (tmp_path / "phones.csv").write_text(CSV)
    roost("account", "add", "--name", "B", "--realm", "b.test")
    done = roost("import", "phones.csv")

    assert done.returncode == 1
    assert "say which by --account: a.test, b.test" in done.stderr or "b.test, a.test" in done.stderr


def test_file_that_cannot_be_read_is_one_sentence(roost: Run, tmp_path: Path) -> None:
    """With the file's name."""
    (tmp_path / "phones.csv").write_text("name,colour\nAnn,red\n")
    done = roost("import", "phones.csv")

    assert done.returncode == 1
    assert done.stderr.startswith("Error: phones.csv: line 1: there is no column 'colour'")
