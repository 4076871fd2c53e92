"""The first start: a master account, and how its owner gets to know of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import structlog

from config.settings import Settings, SipSettings
from daemon.bootstrap import MASTER_REALM, announce, bootstrap
from daemon.store import NewAccount, Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ACCOUNT = NewAccount("a" * 32, "example.test", "b" * 64)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path / "roost.db")
    yield store
    await store.close()


@pytest.mark.parametrize(("configured", "realm"), [("", MASTER_REALM), ("pbx.example.com", "pbx.example.com")])
async def test_empty_database_gets_a_master_account(store: Store, configured: str, realm: str) -> None:
    """The first start makes the account, with the configured realm if there is one; a second start leaves it."""
    settings = Settings(sip=SipSettings(default_realm=configured))
    account = await bootstrap(store, settings)

    assert account is not None
    assert realm == account.realm
    assert await bootstrap(store, settings) is None
    assert [account.account_id] == [each.id for each in await store.list_accounts()]


async def test_key_is_printed_and_not_logged(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """The owner sees id, realm, key and a curl line; the log sees only id and realm."""
    with structlog.testing.capture_logs() as events:
        account = await bootstrap(store, Settings())
        assert account is not None
        announce(account, "http://127.0.0.1:8000")
    printed = capsys.readouterr().out

    assert all(each in printed for each in (account.account_id, account.realm, account.api_key))
    assert "curl -X PUT http://127.0.0.1:8000/v2/api_auth" in printed
    assert ["account.created"] == [event["event"] for event in events]
    assert account.api_key not in repr(events)


def test_key_does_not_go_to_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where standard output is the journal, the key is not printed: the log tells how to get a token."""
    with (tmp_path / "journal").open("w+") as stream, structlog.testing.capture_logs() as events:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        announce(ACCOUNT, "http://127.0.0.1:8000", stream)
        stream.seek(0)

        assert "" == stream.read()
    assert [f"roost token create --account {ACCOUNT.account_id}"] == [event["hint"] for event in events]


def test_another_journal_does_not_keep_the_key_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal or a file is not the journal, even while $JOURNAL_STREAM is set for a parent process."""
    monkeypatch.setenv("JOURNAL_STREAM", "1:1")
    with (tmp_path / "out").open("w+") as stream:
        announce(ACCOUNT, "http://127.0.0.1:8000", stream)
        stream.seek(0)

        assert ACCOUNT.api_key in stream.read()
