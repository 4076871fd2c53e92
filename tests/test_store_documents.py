"""Accounts, users and devices in the database."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from typing import TYPE_CHECKING

import pytest

from api.ports import (
    GREGORIAN_EPOCH,
    Document,
    DocumentExists,
    DocumentMissing,
    Draft,
    Json,
    JsonObject,
    Kind,
    NotUnique,
    PageQuery,
    RevisionMoved,
    TokenIdentity,
)
from daemon.store import MasterExists, Store
from daemon.store.documents import CHUNK, Change

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import HandClock


@pytest.fixture
async def account_id(store: Store) -> str:
    return (await store.create_master("Master", "master.example")).account_id


def device(account_id: str, device_id: str, **data: JsonObject | str | bool) -> Draft:
    return Draft(Kind.DEVICE, account_id, device_id, {"name": device_id, **data})


def user(account_id: str, user_id: str, private: JsonObject | None = None, **data: JsonObject | str | bool) -> Draft:
    return Draft(Kind.USER, account_id, user_id, {"first_name": user_id, **data}, private or {})


async def ids(store: Store, account_id: str, **query: str | int) -> list[str]:
    return [found.id for found in await store.documents.page(PageQuery(Kind.DEVICE, account_id, **query))]


def keys(refusal: pytest.ExceptionInfo[NotUnique]) -> list[str]:
    return [violation.key for violation in refusal.value.violations]


async def test_document_is_read_as_it_was_written(store: Store, account_id: str, clock: HandClock) -> None:
    """Data and private keys come back whole, with Kazoo's revision and times in Gregorian seconds."""
    draft = Draft(Kind.DEVICE, account_id, "d1", {"name": "ß", "deep": {"a": [1, 2.5, None, True]}}, {"pvt_x": 1})
    created = await store.documents.create(draft)

    assert created == await store.documents.get(Kind.DEVICE, account_id, "d1")
    assert (created.data, created.private) == (draft.data, draft.private)
    assert created.created == created.modified == int(clock.now) + GREGORIAN_EPOCH
    assert re.fullmatch("1-[0-9a-f]{32}", created.revision)
    assert await store.documents.get(Kind.USER, account_id, "d1") is None
    assert await store.documents.get(Kind.DEVICE, "other", "d1") is None


async def test_replace_keeps_private_keys_and_the_time_of_creation(
    store: Store, account_id: str, clock: HandClock
) -> None:
    """Public fields are replaced, private ones merged over; None takes one away."""
    draft = Draft(Kind.DEVICE, account_id, "d1", {"name": "a", "x": 1}, {"pvt_a": 1, "pvt_b": 2})
    created = await store.documents.create(draft)
    clock.now += 60
    changed = Draft(Kind.DEVICE, account_id, "d1", {"name": "b"}, {"pvt_a": None, "pvt_c": 3})
    replaced = await store.documents.replace(changed, revision=created.revision)

    assert (replaced.data, replaced.private) == ({"name": "b"}, {"pvt_b": 2, "pvt_c": 3})
    assert (replaced.created, replaced.modified) == (created.created, created.created + 60)
    assert re.fullmatch("2-[0-9a-f]{32}", replaced.revision)
    assert replaced == await store.documents.get(Kind.DEVICE, account_id, "d1")


async def test_write_based_on_an_old_revision_is_refused(store: Store, account_id: str) -> None:
    """Of two writers that read the same revision, the second learns of the first."""
    created = await store.documents.create(device(account_id, "d1"))
    await store.documents.replace(device(account_id, "d1", x="first"), revision=created.revision)

    with pytest.raises(RevisionMoved):
        await store.documents.replace(device(account_id, "d1", x="second"), revision=created.revision)
    with pytest.raises(RevisionMoved):
        await store.documents.delete(Kind.DEVICE, account_id, "d1", revision=created.revision)
    found = await store.documents.get(Kind.DEVICE, account_id, "d1")
    assert found is not None
    assert found.data["x"] == "first"


async def test_concurrent_writers_that_try_again_lose_no_update(store: Store, account_id: str) -> None:
    """64 clients each add their key to one document, each write based on what it read."""
    await store.documents.create(device(account_id, "d1"))

    async def add(key: str) -> None:
        while True:
            found = await store.documents.get(Kind.DEVICE, account_id, "d1")
            assert found is not None
            draft = Draft(Kind.DEVICE, account_id, "d1", {**found.data, key: key})
            try:
                await store.documents.replace(draft, revision=found.revision)
            except RevisionMoved:
                continue
            return

    names = [f"k{number}" for number in range(64)]
    await asyncio.gather(*map(add, names))

    found = await store.documents.get(Kind.DEVICE, account_id, "d1")
    assert found is not None
    assert set(names) <= set(found.data)


async def test_deleted_document_is_gone_but_its_id_stays_taken(store: Store, account_id: str) -> None:
    """A soft delete hides the document everywhere (contract 5.5, 2.5)."""
    created = await store.documents.create(device(account_id, "d1", owner_id="u1"))
    assert await store.documents.delete(Kind.DEVICE, account_id, "d1", revision=created.revision) == created

    assert await store.documents.get(Kind.DEVICE, account_id, "d1") is None
    assert await ids(store, account_id) == []
    assert await ids(store, account_id, owner_id="u1") == []
    with pytest.raises(DocumentExists):
        await store.documents.create(device(account_id, "d1"))
    with pytest.raises(DocumentMissing):
        await store.documents.delete(Kind.DEVICE, account_id, "d1", revision=created.revision)
    with pytest.raises(DocumentMissing):
        await store.documents.replace(device(account_id, "d1"), revision=created.revision)


async def test_id_is_taken_across_kinds_and_the_account_has_to_exist(store: Store, account_id: str) -> None:
    """Kazoo keeps all the documents of an account in one database."""
    await store.documents.create(user(account_id, "x"))

    with pytest.raises(DocumentExists):
        await store.documents.create(device(account_id, "x"))
    with pytest.raises(DocumentMissing):
        await store.documents.create(device("nowhere", "x"))


UNIQUE = [
    pytest.param(
        {"mac_address": "00:04:F2:ab:7e:fd"}, {"mac_address": "0004f2AB7EFD"}, "mac_address",
        "MAC address already in use", "0004f2ab7efd", id="mac",
    ),
    pytest.param(
        {"sip": {"username": "bob"}}, {"sip": {"username": "BOB"}}, "sip.username",
        "SIP credentials already in use", "BOB", id="username",
    ),
    pytest.param(
        {"sip": {"username": "bob", "method": "ip", "ip": "10.0.0.1"}}, {"sip": {"username": "bob"}}, "sip.username",
        "SIP credentials already in use", "bob", id="username-of-a-device-known-by-address",
    ),
    pytest.param(
        {"sip": {"method": "ip", "ip": "10.0.0.1"}}, {"sip": {"method": "ip", "ip": "10.0.0.1"}}, "sip.ip",
        "SIP IP already in use", "10.0.0.1", id="ip",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second", "key", "message", "cause"), UNIQUE)
async def test_what_a_device_may_not_share(
    store: Store, account_id: str, first: JsonObject, second: JsonObject, key: str, message: str, cause: str
) -> None:
    """The rules of contract 4.3, with their messages, on create and on replace, until the first device is deleted."""
    taken = await store.documents.create(Draft(Kind.DEVICE, account_id, "d1", first))
    other = await store.documents.create(device(account_id, "d2"))
    draft = Draft(Kind.DEVICE, account_id, "d2", second)

    (violation,) = await store.documents.conflicts(draft)
    assert (violation.key, violation.rule, violation.message, violation.cause) == (key, "unique", message, cause)
    with pytest.raises(NotUnique) as refusal:
        await store.documents.replace(draft, revision=other.revision)
    assert keys(refusal) == [key]
    with pytest.raises(NotUnique):
        await store.documents.create(Draft(Kind.DEVICE, account_id, "d3", second))
    await store.documents.replace(Draft(Kind.DEVICE, account_id, "d1", first), revision=taken.revision)

    (taken,) = [found for found in await store.documents.page(PageQuery(Kind.DEVICE, account_id)) if found.id == "d1"]
    await store.documents.delete(Kind.DEVICE, account_id, "d1", revision=taken.revision)
    await store.documents.replace(draft, revision=other.revision)


async def test_all_broken_rules_are_told_together(store: Store, account_id: str) -> None:
    """A client sees everything that is wrong at once (contract 2.4)."""
    taken = device(account_id, "d1", mac_address="001122334455", sip={"username": "bob"})
    await store.documents.create(taken)

    with pytest.raises(NotUnique) as refusal:
        await store.documents.create(Draft(Kind.DEVICE, account_id, "d2", taken.data))
    assert sorted(keys(refusal)) == ["mac_address", "sip.username"]


async def test_usernames_and_macs_are_free_in_another_account(store: Store, account_id: str) -> None:
    """Only a SIP IP, and an AOR, belong to the whole system."""
    other = (await store.add_account("Other", "other.example")).account_id
    shared: JsonObject = {"mac_address": "001122334455", "sip": {"username": "bob"}}
    by_ip: JsonObject = {"sip": {"method": "ip", "ip": "10.0.0.1"}}
    await store.documents.create(Draft(Kind.DEVICE, account_id, "d1", shared))
    await store.documents.create(Draft(Kind.DEVICE, account_id, "d2", by_ip))

    await store.documents.create(Draft(Kind.DEVICE, other, "d1", shared))
    with pytest.raises(NotUnique) as refusal:
        await store.documents.create(Draft(Kind.DEVICE, other, "d2", by_ip))
    assert keys(refusal) == ["sip.ip"]


@pytest.mark.parametrize("own_realm_first", [True, False])
async def test_realm_of_a_device_cannot_take_an_aor_of_another_account(
    store: Store, account_id: str, *, own_realm_first: bool
) -> None:
    """The AOR of a device is unique in the whole system, whichever way its realm came about."""
    other = (await store.add_account("Other", "Other.example")).account_id
    drafts = [
        device(other, "d1", sip={"username": "bob"}),
        device(account_id, "d2", sip={"username": "Bob", "realm": "other.Example"}),
    ]
    first, second = reversed(drafts) if own_realm_first else drafts
    await store.documents.create(first)

    with pytest.raises(NotUnique) as refusal:
        await store.documents.create(second)
    assert keys(refusal) == ["sip.username"]


async def test_two_devices_known_by_address_may_share_a_username(store: Store, account_id: str) -> None:
    """The check of usernames is for devices that authenticate (contract 4.3)."""
    for number in range(2):
        sip: JsonObject = {"username": "trunk", "method": "ip", "ip": f"10.0.0.{number}"}
        await store.documents.create(device(account_id, f"d{number}", sip=sip))


async def test_what_a_user_and_an_account_may_not_share(store: Store, account_id: str) -> None:
    """Contract 4.5 and 4.6, with K5's messages."""
    await store.documents.create(user(account_id, "u1", username="ann", hotdesk={"id": "7"}))

    with pytest.raises(NotUnique) as refusal:
        await store.documents.create(user(account_id, "u2", username="Ann", hotdesk={"id": "7"}))
    assert [(violation.key, violation.message, violation.cause) for violation in refusal.value.violations] == [
        ("hotdesk.id", "Hotdesk ID must be unique within account", "7"),
        ("username", "Username must be unique within account", "Ann"),
    ]
    with pytest.raises(NotUnique) as refusal:
        await store.add_account("Second", "MASTER.example")
    (violation,) = refusal.value.violations
    assert (violation.key, violation.message) == ("realm", "Account realm already in use")


@pytest.mark.parametrize(
    "data",
    [{"mac_address": "001122334455"}, {"sip": {"username": "bob"}}, {"sip": {"method": "ip", "ip": "10.0.0.1"}}],
    ids=["mac", "username", "ip"],
)
async def test_of_concurrent_creates_one_wins(store: Store, account_id: str, data: JsonObject) -> None:
    """Of sixteen clients that want the same thing at once, fifteen are told that it is taken."""
    drafts = [Draft(Kind.DEVICE, account_id, f"d{number}", data) for number in range(16)]
    results = await asyncio.gather(*map(store.documents.create, drafts), return_exceptions=True)

    assert sorted(type(result).__name__ for result in results) == ["Document"] + ["NotUnique"] * 15
    assert len(await ids(store, account_id)) == 1


async def test_a_mobile_number_is_taken_once_in_the_whole_system(store: Store, account_id: str) -> None:
    """Contract 4.3: `mobile.mdn`, of mobile devices alone."""
    other = (await store.add_account("Other", "other.example")).account_id
    data: JsonObject = {"device_type": "mobile", "mobile": {"mdn": "+14155550100"}}
    await store.documents.create(Draft(Kind.DEVICE, account_id, "d1", data))
    with pytest.raises(NotUnique) as refusal:
        await store.documents.create(Draft(Kind.DEVICE, other, "d2", data))
    await store.documents.create(Draft(Kind.DEVICE, other, "d3", {**data, "device_type": "landline"}))

    assert [(each.key, each.rule, each.cause) for each in refusal.value.violations] == [
        ("mobile.mdn", "unique", "+14155550100")
    ]


@pytest.mark.parametrize("column", ["mac", "sip_username", "sip_ip", "mdn", "login", "hotdesk_id", "realm"])
async def test_database_itself_holds_uniqueness(store: Store, store_path: Path, account_id: str, column: str) -> None:
    """Whatever writes the file, two documents cannot share what must be unique."""
    values = {"mac": None, "sip_username": None, "sip_method": "password", "sip_ip": None, "login": None}
    row = {**values, "hotdesk_id": None, "mdn": None, "realm": None, column: "same", "account_id": account_id}
    statement = """
        INSERT INTO documents (account_id, id, kind, revision, created, modified, data, private,
                               mac, sip_username, sip_method, sip_ip, mdn, login, hotdesk_id, realm)
        VALUES (:account_id, :id, 'device', '1-0', 0, 0, '{}', '{}',
                :mac, :sip_username, :sip_method, :sip_ip, :mdn, :login, :hotdesk_id, :realm)
    """
    other = sqlite3.connect(store_path)
    with other:
        other.execute(statement, {**row, "id": "d1"})
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"), other:
        other.execute(statement, {**row, "id": "d2"})
    other.close()


@pytest.mark.parametrize("limit", [1, 7, CHUNK, CHUNK + 1, None])
async def test_paging_visits_each_document_once(store: Store, account_id: str, limit: int | None) -> None:
    """`start_key` is inclusive, so the next page begins at the id that was one too many (contract 5.3)."""
    everything = [f"d{number:04}" for number in range(2 * CHUNK + 3)]
    await asyncio.gather(*(store.documents.create(device(account_id, each)) for each in reversed(everything)))
    await store.documents.create(user(account_id, "d0000x"))

    visited: list[str] = []
    start_key: str | None = ""
    while start_key is not None:
        found = await ids(store, account_id, start_key=start_key, limit=None if limit is None else limit + 1)
        page, rest = (found, []) if limit is None else (found[:limit], found[limit:])
        visited += page
        start_key = rest[0] if rest else None
    assert visited == everything


async def test_devices_of_a_user_are_owned_or_hotdesked(store: Store, account_id: str) -> None:
    """Contract 5.2: each once, also where the user is both; a replace moves them."""
    owned = await store.documents.create(device(account_id, "d1", owner_id="u1"))
    await store.documents.create(device(account_id, "d2", owner_id="u2", hotdesk={"users": {"u1": {}, "u3": {}}}))
    await store.documents.create(device(account_id, "d3", owner_id="u1", hotdesk={"users": {"u1": {}}}))
    await store.documents.create(device(account_id, "d4", owner_id="u2"))

    assert await ids(store, account_id, owner_id="u1") == ["d1", "d2", "d3"]
    assert await ids(store, account_id, owner_id="u1", start_key="d2", limit=1) == ["d2"]
    await store.documents.replace(device(account_id, "d1", owner_id="u2"), revision=owned.revision)
    assert await ids(store, account_id, owner_id="u1") == ["d2", "d3"]
    assert await ids(store, account_id, owner_id="u2") == ["d1", "d2", "d4"]


async def test_account_tree(store: Store) -> None:
    """Children are one level down, descendants all of them; accounts are found by realm and by name."""
    master = await store.create_master("Master", "master.example")
    child = await store.add_account("Child & Co.", "Child.example")
    grandchild = await store.add_account("Grand", "grand.example", child.account_id)

    def listed(accounts: object) -> set[str]:
        assert isinstance(accounts, list)
        return {account.id for account in accounts}

    documents = store.documents
    assert listed(await documents.children(master.account_id)) == {child.account_id}
    assert listed(await documents.descendants(master.account_id)) == {child.account_id, grandchild.account_id}
    assert listed(await store.list_accounts()) == {master.account_id, child.account_id, grandchild.account_id}
    found = await documents.get(Kind.ACCOUNT, grandchild.account_id, grandchild.account_id)
    assert found is not None
    assert found.private["pvt_tree"] == [master.account_id, child.account_id]
    assert await documents.account_by_realm("gRAND.example") == found
    assert await documents.account_by_realm("none.example") is None
    assert listed(await documents.accounts_by_name("CHILD  co")) == {child.account_id}
    with pytest.raises(DocumentMissing):
        await store.add_account("Lost", "lost.example", "nowhere")


async def test_there_is_one_master(store: Store) -> None:
    """Of two that are made at once, one is; an account without a master has no parent."""
    with pytest.raises(DocumentMissing):
        await store.add_account("Early", "early.example")
    results = await asyncio.gather(
        store.create_master("A", "a.example"), store.create_master("B", "b.example"), return_exceptions=True
    )

    assert sorted(type(result).__name__ for result in results) == ["MasterExists", "NewAccount"]
    with pytest.raises(MasterExists):
        await store.create_master("C", "c.example")
    (master,) = await store.list_accounts()
    assert master.private == {"pvt_tree": [], "pvt_superduper_admin": True}


async def test_account_takes_all_that_it_holds_with_it(store: Store, account_id: str) -> None:
    """Its devices, users, tokens and API key end with it, and what they had is free again."""
    child = await store.add_account("Child", "child.example")
    by_ip: JsonObject = {"sip": {"method": "ip", "ip": "10.0.0.1"}}
    await store.documents.create(Draft(Kind.DEVICE, child.account_id, "d1", by_ip))
    await store.documents.create(user(child.account_id, "u1"))
    token = await store.tokens.issue(TokenIdentity(child.account_id, None, "cb_api_auth"))
    assert await store.tokens.identify(token) is not None
    seen: list[tuple[str, Document | None]] = []
    store.documents.subscribe(lambda changes: seen.extend((each.subject.id, each.new) for each in changes))

    found = await store.documents.get(Kind.ACCOUNT, child.account_id, child.account_id)
    assert found is not None
    await store.documents.delete(Kind.ACCOUNT, child.account_id, child.account_id, revision=found.revision)

    assert seen[0] == (child.account_id, None)
    assert sorted(seen[1:]) == [("d1", None), ("u1", None)]
    assert await store.tokens.identify(token) is None
    assert await store.tokens.account_by_api_key(child.api_key) is None
    assert await ids(store, child.account_id) == []
    await store.documents.create(Draft(Kind.DEVICE, account_id, "d1", by_ip))
    await store.add_account("Child", "child.example")


async def test_subscribers_hear_of_committed_changes_alone(store: Store, account_id: str) -> None:
    """Old and new document of each write, in order; nothing of what was refused."""
    heard: list[Change] = []
    store.documents.subscribe(heard.extend)
    first = await store.documents.create(device(account_id, "d1", mac_address="001122334455"))
    with pytest.raises(NotUnique):
        await store.documents.create(device(account_id, "d2", mac_address="001122334455"))
    second = await store.documents.replace(device(account_id, "d1"), revision=first.revision)
    await store.documents.delete(Kind.DEVICE, account_id, "d1", revision=second.revision)

    assert heard == [Change(None, first), Change(first, second), Change(second, None)]


async def test_scan_takes_every_live_document_of_the_kinds(store: Store, account_id: str) -> None:
    other = (await store.add_account("Other", "other.example")).account_id
    for account in (account_id, other):
        await store.documents.create(device(account, "d1"))
        await store.documents.create(Draft(Kind.USER, account, "u1", {}))
    gone = await store.documents.create(device(other, "gone"))
    await store.documents.delete(Kind.DEVICE, other, "gone", revision=gone.revision)

    devices: list[Document] = []
    await store.documents.scan([Kind.DEVICE], devices.append)
    assert sorted((each.account_id, each.id) for each in devices) == sorted([(account_id, "d1"), (other, "d1")])
    others: list[Document] = []
    await store.documents.scan([Kind.ACCOUNT, Kind.USER], others.append)
    assert sorted(each.id for each in others) == sorted([account_id, other, "u1", "u1"])


async def test_facts_are_taken_of_every_live_document(store: Store, account_id: str) -> None:
    """What is loaded at start is all there is."""
    other = (await store.add_account("Other", "other.example")).account_id
    wanted = {(account, f"d{number}") for account in (account_id, other) for number in range(4)}
    for each in wanted:
        await store.documents.create(device(*each))
    gone = await store.documents.create(device(other, "gone"))
    await store.documents.delete(Kind.DEVICE, other, "gone", revision=gone.revision)
    found: list[tuple[str, str, list[Json]]] = []
    await store.documents.facts(Kind.DEVICE, ["name", "sip.none"], lambda *each: found.append(each))

    assert sorted(found) == sorted((account, name, [name, None]) for account, name in wanted)


@pytest.mark.parametrize("odd", ["", "\0", "\udcff", "' OR 1=1 --", "x" * 10_000, "🦆"])
async def test_odd_ids_are_simply_not_there(store: Store, account_id: str, odd: str) -> None:
    """An id from a URL may hold anything."""
    assert await store.documents.get(Kind.DEVICE, account_id, odd) is None
    assert await ids(store, odd) == []
    assert await store.documents.account_by_realm(odd) is None
