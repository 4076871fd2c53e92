"""What a committed change of a document brings about."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from api.ports import Document, DocumentMissing, Draft, JsonObject, Kind, NotUnique, StoreUnavailable
from daemon.provisioning import Provisioning, ends_registrations
from daemon.recent import FRESH_FOR
from daemon.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from conftest import HandClock

BEFORE: JsonObject = {"enabled": True, "owner_id": "u1", "sip": {"username": "bob", "password": "secret"}}


def document(data: JsonObject | None, kind: Kind = Kind.DEVICE) -> Document | None:
    return None if data is None else Document(kind, "a1", "d1", "1-00", 0, 0, data, {})


def sip(username: str | None, password: str | None) -> JsonObject:
    return {**BEFORE, "sip": {"username": username, "password": password}}


@pytest.mark.parametrize(
    ("old", "new", "ended"),
    [
        pytest.param(None, BEFORE, False, id="created"),
        pytest.param(BEFORE, BEFORE, False, id="nothing"),
        pytest.param(BEFORE, {**BEFORE, "name": "new", "caller_id": {}}, False, id="something-else"),
        pytest.param(BEFORE, sip("bob", "other"), True, id="password"),
        pytest.param(BEFORE, sip("bob", None), True, id="password-removed"),
        pytest.param(BEFORE, sip("ann", "secret"), True, id="username"),
        pytest.param(BEFORE, sip(None, "secret"), True, id="username-removed"),
        pytest.param(sip(None, "secret"), BEFORE, True, id="username-added"),
        pytest.param(BEFORE, {**BEFORE, "owner_id": "u2"}, True, id="owner"),
        pytest.param(BEFORE, {"enabled": True, "sip": BEFORE["sip"]}, True, id="owner-removed"),
        pytest.param(BEFORE, {**BEFORE, "enabled": False}, True, id="disabled"),
        pytest.param({**BEFORE, "enabled": False}, BEFORE, True, id="enabled"),
        pytest.param(BEFORE, {"owner_id": "u1", "sip": BEFORE["sip"]}, False, id="enabled-is-the-default"),
        pytest.param(
            BEFORE, {**BEFORE, "sip": {"username": "bob", "password": "secret", "realm": "own.test"}}, True, id="realm"
        ),
        pytest.param(BEFORE, None, True, id="deleted"),
        pytest.param(sip(None, None), None, True, id="deleted-without-username"),
        pytest.param({"sip": "nonsense"}, {"sip": []}, False, id="sip-of-another-type"),
    ],
)
def test_which_changes_end_registrations(old: JsonObject | None, new: JsonObject | None, ended: bool) -> None:
    """Contract 5.7."""
    assert ends_registrations(document(old), document(new)) is ended


def test_only_devices_are_flushed() -> None:
    """A user's or an account's change ends no registration by itself."""
    for kind in (Kind.USER, Kind.ACCOUNT):
        assert ends_registrations(document(BEFORE, kind), None) is False


class Log:
    """A listener and a flusher that write down, in one list, what they were told."""

    def __init__(self) -> None:
        self.events: list[object] = []
        self.fault: Exception | None = None
        self.go_on = asyncio.Event()
        self.go_on.set()

    def changed(self, old: Document | None, new: Document | None) -> None:
        self.events.append((old.revision if old else None, new.revision if new else None))

    async def flush_device(self, was: Document) -> None:
        await self.go_on.wait()
        if self.fault is not None:
            raise self.fault
        self.events.append((was.account_id, was.id))


@pytest.fixture
async def account_id(store: Store) -> str:
    return (await store.create_master("Master", "master.example")).account_id


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
async def documents(store: Store, account_id: str, log: Log, clock: HandClock) -> AsyncIterator[Provisioning]:
    provisioning = Provisioning(store.documents, listeners=[log], flusher=log, clock=clock)
    yield provisioning
    await provisioning.close()


def draft(account_id: str, username: str = "bob", **data: str | bool) -> Draft:
    return Draft(Kind.DEVICE, account_id, "d1", {"sip": {"username": username, "password": "secret"}, **data})


async def test_change_is_told_and_then_flushed_before_it_returns(
    documents: Provisioning, account_id: str, log: Log
) -> None:
    """The SIP side knows the new credentials when the phone is asked to register anew."""
    first = await documents.create(draft(account_id))
    second = await documents.replace(draft(account_id, "ann"), revision=first.revision)
    third = await documents.replace(draft(account_id, "ann", name="x"), revision=second.revision)
    await documents.delete(Kind.DEVICE, account_id, "d1", revision=third.revision)

    assert log.events == [
        (None, first.revision),
        (first.revision, second.revision),
        (account_id, "d1"),
        (second.revision, third.revision),
        (third.revision, None),
        (account_id, "d1"),
    ]


async def test_refused_change_is_not_told(documents: Provisioning, account_id: str, log: Log) -> None:
    """Nothing happens that did not happen."""
    await documents.create(draft(account_id))
    log.events.clear()
    with pytest.raises(NotUnique):
        await documents.create(Draft(Kind.DEVICE, account_id, "d2", {"sip": {"username": "BOB"}}))
    assert log.events == []


async def test_client_that_goes_away_stops_neither_news_nor_flush(
    documents: Provisioning, account_id: str, log: Log
) -> None:
    """Cancelling a write at any moment leaves it undone, or done with all that it brings about."""
    current = await documents.create(draft(account_id))
    outcomes: set[bool] = set()
    for turns in range(40):
        log.events.clear()
        changed = draft(account_id, f"user{turns}")
        write = asyncio.create_task(documents.replace(changed, revision=current.revision))
        for _ in range(turns):
            await asyncio.sleep(0)
        write.cancel()
        await asyncio.gather(write, return_exceptions=True)
        await asyncio.wait_for(until_settled(documents), 5)

        before, found = current, await documents.get(Kind.DEVICE, account_id, "d1")
        assert found is not None
        current = found
        done = found.revision != before.revision
        assert log.events == ([(before.revision, found.revision), (account_id, "d1")] if done else [])
        outcomes.add(done)
    assert outcomes == {True, False}


async def until_settled(documents: Provisioning) -> None:
    """Wait until every write begun before has had all its effects: writes are done in order."""
    with pytest.raises(DocumentMissing):
        await documents.create(Draft(Kind.DEVICE, "nowhere", "d1", {}))
    await documents.close()


async def test_flush_that_fails_does_not_fail_the_change(documents: Provisioning, account_id: str, log: Log) -> None:
    """The document is stored; that its registrations could not be removed is in the log."""
    first = await documents.create(draft(account_id))
    log.fault = StoreUnavailable("full")
    with capture_logs() as logs:
        await documents.replace(draft(account_id, enabled=False), revision=first.revision)

    assert [(entry["event"], entry["device_id"], entry["reason"]) for entry in logs] == [
        ("registration.flush_failed", "d1", "full")
    ]


async def test_close_waits_for_the_flush_under_way(documents: Provisioning, account_id: str, log: Log) -> None:
    """A stop of the daemon right after a change does not lose its flush."""
    first = await documents.create(draft(account_id))
    log.go_on.clear()
    write = asyncio.create_task(documents.delete(Kind.DEVICE, account_id, "d1", revision=first.revision))
    while (first.revision, None) not in log.events:
        await asyncio.sleep(0)
    closing = asyncio.create_task(documents.close())
    await asyncio.sleep(0)
    log.go_on.set()
    await asyncio.gather(write, closing)

    assert log.events[-1] == (account_id, "d1")


async def test_load_tells_accounts_before_what_they_hold(store: Store, account_id: str, log: Log) -> None:
    """The realm of a device is its account's; devices are not told, for there are many."""
    other = (await store.add_account("Other", "other.example")).account_id
    for owner in (account_id, other):
        await store.documents.create(Draft(Kind.DEVICE, owner, "0", {}))
        await store.documents.create(Draft(Kind.USER, owner, "1", {}))
    told: list[Kind] = []

    class Kinds:
        def changed(self, old: Document | None, new: Document | None) -> None:
            assert old is None
            assert new is not None
            told.append(new.kind)

    await Provisioning(store.documents, listeners=[Kinds()], flusher=log).load()

    assert told[:2] == [Kind.ACCOUNT, Kind.ACCOUNT]
    assert told[2:] == [Kind.USER, Kind.USER]


async def test_account_of_the_command_line_is_told_when_it_is_met(
    documents: Provisioning, store_path: Path, log: Log, clock: HandClock
) -> None:
    """Once, and again only when it was changed since; what we deleted is not revived."""
    other = await Store.open(store_path)
    new = (await other.add_account("New", "new.example")).account_id

    met = await documents.get(Kind.ACCOUNT, new, new)
    await documents.get(Kind.ACCOUNT, new, new)
    assert met is not None
    assert log.events == [(None, met.revision)]

    changed = Draft(Kind.ACCOUNT, new, new, {"name": "New", "realm": "newer.example"})
    renamed = await other.documents.replace(changed, revision=met.revision)
    await other.close()
    clock.now += FRESH_FOR
    await documents.get(Kind.ACCOUNT, new, new)
    assert log.events[1:] == [(None, renamed.revision)]
    await documents.delete(Kind.ACCOUNT, new, new, revision=renamed.revision)
    assert log.events[2:] == [(renamed.revision, None)]
    documents._meet(renamed)
    assert log.events[3:] == []
