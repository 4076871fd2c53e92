"""The command `roost`, run as its users run it: in a process, on a database of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from daemon.release import release
from daemon.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    Roost = Callable[..., subprocess.CompletedProcess[str]]


def identify(tmp_path: Path, token: str, *, after: float = 0.0) -> str | None:
    """Return the account a token speaks for, `after` seconds from now."""

    async def look_up() -> str | None:
        now = time.time()
        store = await Store.open(tmp_path / "var" / "roost.db", clock=lambda: now + after)
        try:
            identity = await store.tokens.identify(token)
            return identity.account_id if identity else None
        finally:
            await store.close()

    return asyncio.run(look_up())


def test_init_prints_what_a_client_needs(master: dict[str, str], tmp_path: Path) -> None:
    """Init makes the database, and its token speaks for the master account."""

    assert {"account_id", "realm", "api_key", "auth_token"} == set(master)
    assert "sip.example.com" == master["realm"]
    assert master["account_id"] == identify(tmp_path, master["auth_token"])
    assert 0o600 == (tmp_path / "var" / "roost.db").stat().st_mode & 0o777


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_database_belongs_to_who_can_run_the_daemon(roost: Roost, tmp_path: Path) -> None:
    """Root runs init by hand for a daemon that is the owner of the folder, unless that one could not run it."""
    nobody = 65534
    command = (
        "import os, sys; os.setgroups([]); os.setgid(65534); os.setuid(65534); open(os.__file__); import daemon.cli"
    )
    environ = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    able = (
        subprocess.run([sys.executable, "-c", command], env=environ, capture_output=True, check=False).returncode == 0
    )
    os.chown(tmp_path, nobody, nobody)
    for folder in (*tmp_path.parents[:2],):
        folder.chmod(0o755)
    done = roost("init", "--name", "Master", "--realm", "sip.example.com")
    made = [tmp_path / "var", *(tmp_path / "var").iterdir()]

    assert 0 == done.returncode, done.stderr
    assert {nobody if able else 0} == {each.stat().st_uid for each in made}


def test_second_init_is_refused(roost: Roost, master: dict[str, str]) -> None:
    """A database has one master account, and a second init changes nothing."""
    done = roost("init", "--name", "Other", "--realm", "other.example.com")

    assert (1, "") == (done.returncode, done.stdout)
    assert f"has a master account already: {master['account_id']}" in done.stderr


def test_account_is_added_below_its_parent(roost: Roost, master: dict[str, str]) -> None:
    """An account stands below the one named, or else below the master."""
    first = json.loads(roost("account", "add", "--name", "A", "--realm", "a.example.com", "--json").stdout)
    roost("account", "add", "--name", "B", "--realm", "b.example.com", "--parent", first["account_id"])
    rows = {row["name"]: row for row in json.loads(roost("account", "list", "--json").stdout)}

    assert {"Master", "A", "B"} == set(rows)
    assert [None, master["account_id"], first["account_id"]] == [rows[n]["parent_id"] for n in ("Master", "A", "B")]


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        pytest.param(("--name", "A", "--realm", "sip.example.com"), 1, "realm", id="realm-is-taken"),
        pytest.param(
            ("--name", "A", "--realm", "a.example.com", "--parent", "f" * 32), 1, "no such account", id="no-parent"
        ),
        pytest.param(("--name", "A", "--realm", "no domain"), 2, "not a domain name", id="no-domain"),
        pytest.param(("--name", " ", "--realm", "a.example.com"), 2, "1 to 128 characters", id="no-name"),
        pytest.param(("--name", "A"), 2, "--realm", id="no-realm"),
    ],
)
def test_wrong_account_is_refused(
    roost: Roost, master: dict[str, str], arguments: tuple[str, ...], status: int, complaint: str
) -> None:
    """What cannot be an account is refused with a sentence, and nothing is added."""
    done = roost("account", "add", *arguments)

    assert status == done.returncode
    assert complaint in done.stderr
    assert 1 == len(json.loads(roost("account", "list", "--json").stdout))


@pytest.mark.parametrize(
    ("ttl", "lives", "dies"),
    [
        pytest.param(("--ttl", "50"), 40, 60, id="seconds"),
        pytest.param((), 3500, 3700, id="as-configured"),
        pytest.param(("--ttl", "never"), 10**9, None, id="never"),
    ],
)
def test_token_lives_as_long_as_asked(
    roost: Roost,
    master: dict[str, str],
    tmp_path: Path,
    ttl: tuple[str, ...],
    lives: int,
    dies: int | None,
) -> None:
    """A token made by hand lives for --ttl, or for ever, or as the configuration says."""
    token = roost("token", "create", "--account", master["account_id"], *ttl).stdout.strip()

    assert master["account_id"] == identify(tmp_path, token, after=lives)
    assert dies is None or identify(tmp_path, token, after=dies) is None


@pytest.mark.parametrize("ttl", ["0", "-1", "soon", "999999999999"])
def test_wrong_ttl_is_refused(roost: Roost, master: dict[str, str], ttl: str) -> None:
    """A life that is no number of seconds is a wrong command line."""

    assert 2 == roost("token", "create", "--account", master["account_id"], "--ttl", ttl).returncode


def test_token_for_nobody_is_refused(roost: Roost, master: dict[str, str]) -> None:
    """A token speaks for an account that is there."""

    assert "no such account" in roost("token", "create", "--account", "f" * 32).stderr


def test_commands_do_not_make_a_database_by_mistake(roost: Roost, tmp_path: Path) -> None:
    """Only init and run make a database; a wrong path is told instead."""
    done = roost("account", "list")

    assert 1 == done.returncode
    assert "no database at var/roost.db" in done.stderr
    assert not (tmp_path / "var").exists()


def test_database_of_another_program_is_refused(roost: Roost, tmp_path: Path) -> None:
    """A file that is no database is told as such, without a traceback."""
    (tmp_path / "x.db").write_bytes(b"not a database" * 1000)
    done = roost("account", "list", ROOST_STORE_PATH="x.db")

    assert 1 == done.returncode
    assert "x.db" in done.stderr
    assert "Traceback" not in done.stderr


def test_check_config_prints_every_fault(roost: Roost, tmp_path: Path) -> None:
    """Every fault has its line and its key, and the exit status is 2."""
    (tmp_path / "r.toml").write_text('[sip]\nmax_contacts = 0\n[log]\nlevel = "loud"\n[spi]\n')
    done = roost("check-config", "--config", "r.toml", ROOST_API_TOKEN_TTL="x")

    assert (2, "") == (done.returncode, done.stdout)
    assert ["spi", "ROOST_API_TOKEN_TTL", "sip.max_contacts", "log.level"] == [
        line.split(":")[0] for line in done.stderr.splitlines()
    ]


def test_check_config_says_what_will_be_used(roost: Roost) -> None:
    """A good configuration is shown key by key, with secrets masked."""
    done = roost("check-config", ROOST_QUICKCALL_USERNAME="u", ROOST_QUICKCALL_PASSWORD="opensesame")

    assert 0 == done.returncode
    assert 'sip.listen = ["udp:0.0.0.0:5060", "tcp:0.0.0.0:5060"]\n' in done.stdout
    assert "quickcall.password = ***\n" in done.stdout
    assert "opensesame" not in done.stdout


@pytest.mark.parametrize("command", [("run",), (), ("account", "list"), ("init", "--name", "A", "--realm", "a.test")])
def test_wrong_configuration_stops_every_command(roost: Roost, command: tuple[str, ...]) -> None:
    """No command goes on with a configuration that is wrong; no command at all means run."""
    done = roost(*command, ROOST_SIP_LISTEN="5060")

    assert 2 == done.returncode
    assert "ROOST_SIP_LISTEN: '5060' does not begin with udp:" in done.stderr


def test_version_is_the_distributions(roost: Roost) -> None:
    """--version tells the version of the installed distribution, and after it whether that is compiled."""
    assert f"roost, version {release()}\n" == roost("--version").stdout
    assert release().startswith(version("roost"))


@pytest.mark.parametrize("arguments", [(), ("d1", "--all"), ("--all", "--rate", "0"), ("d1", "--mode", "explode")])
def test_sync_needs_to_know_whom_and_how(roost: Roost, master: dict[str, str], arguments: tuple[str, ...]) -> None:
    """A wrong command line ends with status 2, before anything is sent."""
    done = roost("sync", *arguments)

    assert 2 == done.returncode
    assert "Usage:" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        pytest.param(("--all",), 3, "the daemon does not answer", id="no-daemon"),
        pytest.param(("--all", "--account", "none"), 1, "there is no such account: none", id="no-account"),
    ],
)
def test_sync_says_what_is_missing(
    roost: Roost, master: dict[str, str], tmp_path: Path, arguments: tuple[str, ...], status: int, reason: str
) -> None:
    """And leaves no token behind."""
    done = roost("sync", *arguments, ROOST_API_LISTEN="127.0.0.1:1")

    assert status == done.returncode
    assert reason in done.stderr
    connection = sqlite3.connect(tmp_path / "var" / "roost.db")
    assert connection.execute("SELECT count(*) FROM tokens").fetchone() == (1,)  # that of `init`
    connection.close()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_for_the_command(roost: Roost, shell: str) -> None:
    """Each shell's script asks `roost` itself, which answers with its commands."""
    script = roost("completion", shell)
    asked = roost(
        "", _ROOST_COMPLETE=f"{shell}_complete", COMP_WORDS="roost dev", COMP_CWORD="1" if shell != "fish" else "dev"
    )

    assert 0 == script.returncode, script.stderr
    assert f"_ROOST_COMPLETE={shell}_complete" in script.stdout
    assert "device" in asked.stdout


@pytest.mark.parametrize("shut", ["var/roost.db", "var"])
def test_who_may_not_open_the_database_is_told_so(master: dict[str, str], tmp_path: Path, shut: str) -> None:
    """With a sentence; the folder of a service is nobody else's to look into."""
    (tmp_path / shut).chmod(0)
    # Root may open everything, unless it gives that right up.
    powerless = ("setpriv", "--inh-caps=-all", "--bounding-set=-dac_override,-dac_read_search")
    command = (*(powerless if os.geteuid() == 0 else ()), sys.executable, "-m", "daemon", "token", "list")
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False)
    (tmp_path / shut).chmod(0o700)

    assert (1, "") == (done.returncode, done.stdout)
    assert "Error: var/roost.db is not yours to open: run this as root, or as the daemon's user\n" == done.stderr
