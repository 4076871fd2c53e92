"""`roost doctor`: the clock, the limits and the disk of the host, the database, and the certificates."""

from __future__ import annotations

import hashlib
import os
import resource
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final

import pytest
from cryptography.hazmat.primitives import serialization

from config.settings import TlsSettings
from daemon.doctor import certificates, host, store
from daemon.doctor.finding import State
from daemon.selfsigned import make_pair
from daemon.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from daemon.doctor.finding import Finding

NOW: Final = datetime(2026, 6, 1, tzinfo=timezone.utc)


def states(findings: Iterable[Finding]) -> list[State]:
    return [finding.state for finding in findings]


@pytest.mark.parametrize(
    ("state", "now", "expected"),
    [
        pytest.param(0, NOW, State.GOOD, id="in-step"),
        pytest.param(host.TIME_ERROR, NOW, State.WARNING, id="alone"),
        pytest.param(None, NOW, State.GOOD, id="unseen"),
        pytest.param(0, datetime(1970, 1, 1, tzinfo=timezone.utc), State.FAULT, id="1970"),
    ],
)
def test_clock(state: int | None, now: datetime, expected: State) -> None:
    """A clock that is over is a fault, one that nobody keeps in step a warning."""

    assert [expected] == states(host.check_clock(state, now))


def test_kernel_tells_of_its_clock() -> None:
    """adjtimex(2) answers with a state from 0 to 5, or may not be asked."""

    assert host.kernel_clock_state() in {None, 0, 1, 2, 3, 4, 5}


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        pytest.param(65_536, State.GOOD, id="enough"),
        pytest.param(20_512, State.GOOD, id="just-enough"),
        pytest.param(20_511, State.WARNING, id="one-too-few"),
        pytest.param(resource.RLIM_INFINITY, State.GOOD, id="no-limit"),
    ],
)
def test_open_files(limit: int, expected: State) -> None:
    """Connections and what the daemon needs for itself must fit."""

    assert [expected] == states(host.check_open_files("the daemon", limit, 20_000))


def test_limit_of_a_process_is_read() -> None:
    """Ours is the same by either way."""

    assert host.open_files_limit(os.getpid()) == host.open_files_limit(0)


def test_disk(tmp_path: Path) -> None:
    """Room is measured where the folder will be; a database that would not fit twice is told."""

    assert [State.GOOD] == states(host.check_disk(tmp_path / "absent" / "folder", needed=0))
    assert [State.WARNING] == states(host.check_disk(tmp_path, needed=10**18))


@pytest.fixture
async def database(tmp_path: Path) -> Path:
    """Make a database with two accounts, and close it."""
    path = tmp_path / "roost.db"
    opened = await Store.open(path, token_ttl=60)
    await opened.create_master("Main", "sip.example.com")
    await opened.add_account("Other", "other.example.com", None)
    await opened.close()
    return path


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


async def test_database_is_read_and_not_changed(database: Path) -> None:
    """With nobody at it, and while it is in use."""
    before = digest_of(database)
    down = list(store.check_database(database))
    assert before == digest_of(database)
    opened = await Store.open(database, token_ttl=60)
    up = list(store.check_database(database))
    await opened.close()

    assert [State.GOOD] == states(down) == states(up)
    assert "whole: 2 accounts, 0 devices, 0 contacts" == down[0].message
    assert ["sip.example.com", "other.example.com"] == sorted(store.realms_of(database), reverse=True)


def test_no_database_is_well(tmp_path: Path) -> None:
    """The first start makes it, and the look does not."""

    assert [State.GOOD] == states(store.check_database(tmp_path / "roost.db"))
    assert [] == list(tmp_path.iterdir())
    assert [] == store.realms_of(tmp_path / "roost.db")


def test_broken_database_is_a_fault(database: Path) -> None:
    """Pages that were written over are found by reading all of them."""
    content = bytearray(database.read_bytes())
    content[4096 : 4096 * 3] = b"\xff" * 8192
    database.write_bytes(content)
    (finding,) = store.check_database(database)

    assert State.FAULT == finding.state
    assert "roost restore" in finding.advice


@pytest.mark.parametrize(
    ("version", "state", "advice"),
    [
        pytest.param(9999, State.FAULT, "newer Roost", id="newer"),
        pytest.param(1, State.GOOD, "the next start brings it to", id="older"),
    ],
)
def test_version_of_the_database(database: Path, version: int, state: State, advice: str) -> None:
    """A newer one cannot be used, an older one is brought up to date by the start."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    (finding,) = store.check_database(database)

    assert state == finding.state
    assert advice in finding.advice


def test_database_that_others_can_read_is_told(database: Path) -> None:
    """It holds passwords."""

    assert [] == list(store.check_database_mode(database))
    database.chmod(0o644)
    assert [State.WARNING] == states(store.check_database_mode(database))


def tls_files(folder: Path, begins: datetime, *, days: int = 365) -> TlsSettings:
    """Write a self-signed pair."""
    pair = make_pair(["sip.example.com"], days=days, now=begins)
    (folder / "certificate.pem").write_bytes(pair.certificate)
    (folder / "key.pem").write_bytes(pair.key)
    (folder / "key.pem").chmod(0o600)
    return TlsSettings(certificate=str(folder / "certificate.pem"), key=str(folder / "key.pem"))


def test_no_certificate_is_well() -> None:
    """TLS is not served then."""

    assert [State.GOOD] == states(certificates.check_certificates(TlsSettings(), NOW))


@pytest.mark.parametrize(
    ("begins", "state"),
    [
        pytest.param(NOW, State.GOOD, id="valid"),
        pytest.param(NOW - timedelta(days=350), State.WARNING, id="nearly-over"),
        pytest.param(NOW - timedelta(days=366), State.FAULT, id="over"),
        pytest.param(NOW + timedelta(days=2), State.FAULT, id="not-yet"),
    ],
)
def test_dates_of_a_certificate(tmp_path: Path, begins: datetime, state: State) -> None:
    """Then the pair fits, and that nobody vouches for it is told."""
    dates, selfsigned, pair = certificates.check_certificates(tls_files(tmp_path, begins), NOW)

    assert (state, State.WARNING, State.GOOD) == (dates.state, selfsigned.state, pair.state)
    assert "CN=sip.example.com" in dates.message


def test_key_of_another_certificate_is_a_fault(tmp_path: Path) -> None:
    """What a half-done renewal leaves."""
    tls = tls_files(tmp_path, NOW)
    (tmp_path / "key.pem").write_bytes(make_pair(["other"], days=1).key)
    *_, pair = certificates.check_certificates(tls, NOW)

    assert State.FAULT == pair.state
    assert "do not fit together" in pair.message


def test_key_with_a_passphrase_is_a_fault_and_asks_nobody(tmp_path: Path) -> None:
    """OpenSSL would ask on the terminal."""
    tls = tls_files(tmp_path, NOW)
    key = serialization.load_pem_private_key((tmp_path / "key.pem").read_bytes(), None)
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    *_, pair = certificates.check_certificates(tls, NOW)

    assert State.FAULT == pair.state
    assert "passphrase" in pair.message


def test_key_for_everybody_is_told(tmp_path: Path) -> None:
    """The group may read it, others may not."""
    tls = tls_files(tmp_path, NOW)
    for mode, told in ((0o640, 0), (0o644, 1)):
        (tmp_path / "key.pem").chmod(mode)

        assert told == sum(finding.check == "modes" for finding in certificates.check_certificates(tls, NOW))


@pytest.mark.parametrize("content", [None, b"no certificate"], ids=["missing", "not-pem"])
def test_unusable_ca_file_is_a_fault(tmp_path: Path, content: bytes | None) -> None:
    """It is looked at though nothing is served."""
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)

    assert [State.FAULT, State.GOOD] == states(certificates.check_certificates(TlsSettings(ca_file=str(file)), NOW))
