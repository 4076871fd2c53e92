"""POST /import: many documents, all or none."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from api.import_rules import ImportOptions, ImportRow, import_documents
from api.ports import BatchOvertaken, Draft, Kind, TokenIdentity

if TYPE_CHECKING:
    from api_client import Api

    from daemon.store import Store


def device(username: str, **fields: Any) -> dict[str, Any]:
    return {"name": username, "sip": {"username": username, "password": "secret"}, **fields}


async def test_devices_and_users_are_created(api: Api) -> None:
    """With the defaults of single ones; an owner may be named who comes in the same import."""
    report = await api.ask(
        "POST",
        "/import",
        data={
            "devices": [device("1001", owner="Ann"), {"sip": {"username": "1002"}}],
            "users": [{"first_name": "Ann", "last_name": "Lee", "username": "ann", "password": "pw"}],
        },
    )
    (user,) = (await api.ask("GET", "/users"))["data"]
    devices = {each["username"]: each for each in (await api.ask("GET", "/devices"))["data"]}

    assert report["data"] == {"created": 3, "updated": 0, "unchanged": 0, "faulty": 0, "faults": {}, "written": True}
    assert devices["1001"]["owner_id"] == user["id"]
    assert devices["1002"]["name"] == "1002"
    owned = (await api.ask("GET", f"/users/{user['id']}/devices"))["data"]
    assert [each["id"] for each in owned] == [devices["1001"]["id"]]


async def test_one_fault_leaves_all_unwritten(api: Api) -> None:
    """Every fault of every document is told, with where it stands."""
    await api.put_device(name="there", sip={"username": "1000"})
    sent = {
        "devices": [
            device("1001"),
            device("1000"),
            device("1001"),
            {"name": 5, "sip": {"method": "magic"}},
            device("1005", owner="nobody"),
            device("1006", id="status"),
        ],
        "users": [{"first_name": "Ann"}],
    }
    refused = await api.ask("POST", "/import", data=sent, status=400)
    tried = await api.ask("POST", "/import", data={**sent, "dry_run": True})
    left = await api.ask("GET", "/devices")

    expected = {
        "users.0.last_name": ["required"],
        "devices.1.sip.username": ["unique"],
        "devices.2.sip.username": ["unique"],
        "devices.3.name": ["type"],
        "devices.3.sip.method": ["enum"],
        "devices.4.owner": ["invalid"],
        "devices.5.id": ["invalid"],
    }
    assert {key: list(rules) for key, rules in refused["data"].items()} == expected
    assert tried["data"]["faults"] == refused["data"]
    assert (tried["data"]["faulty"], tried["data"]["created"], tried["data"]["written"]) == (6, 1, False)
    assert [each["name"] for each in left["data"]] == ["there"]


async def test_faulty_ones_are_skipped_where_that_is_asked_for(api: Api) -> None:
    """The others are written, and it is told which were not."""
    sent = {"devices": [device("1001"), device("1001"), device("1003")], "skip_faulty": True}
    report = (await api.ask("POST", "/import", data=sent))["data"]

    assert (report["created"], report["faulty"], report["written"]) == (2, 1, True)
    assert list(report["faults"]) == ["devices.1.sip.username"]


async def test_update_merges_by_username_or_id(api: Api) -> None:
    """As PATCH does; a device that is as it is said to be is left alone."""
    first = await api.put_device(name="one", sip={"username": "1001", "password": "older"}, flags=["a"])
    second = await api.put_device(name="two", sip={"username": "1002"})
    sent = [
        {"name": "One", "sip": {"username": "1001"}},
        {"id": second["id"], "sip": {"username": "2002"}},
        device("1003"),
    ]
    report = (await api.ask("POST", "/import", data={"devices": sent, "update": True}))["data"]
    again = (await api.ask("POST", "/import", data={"devices": sent, "update": True}))["data"]
    one = (await api.ask("GET", f"/devices/{first['id']}"))["data"]
    two = (await api.ask("GET", f"/devices/{second['id']}"))["data"]

    assert (report["created"], report["updated"], report["unchanged"]) == (1, 2, 0)
    assert (again["created"], again["updated"], again["unchanged"]) == (0, 0, 3)
    assert (one["name"], one["sip"]["password"], one["flags"]) == ("One", "older", ["a"])
    assert two["sip"]["username"] == "2002"


async def test_id_that_is_taken_is_a_fault_and_one_of_a_deleted_device_is_not(api: Api) -> None:
    """So that what was exported and then deleted can come back as it was."""
    made = await api.put_device(name="one", sip={"username": "1001"})
    sent = {"devices": [device("1002", id=made["id"])]}
    refused = await api.ask("POST", "/import", data=sent, status=400)
    await api.ask("DELETE", f"/devices/{made['id']}")
    await api.ask("POST", "/import", data=sent)

    assert list(refused["data"]) == ["devices.0.id"]
    assert (await api.ask("GET", f"/devices/{made['id']}"))["data"]["name"] == "1002"


async def test_login_that_an_import_changes_ends_its_tokens(api: Api) -> None:
    """As a single change does."""
    user = await api.put_user(username="ann", password="one")
    token = await api.store.tokens.issue(TokenIdentity(api.master.account_id, user["id"], "cb_user_auth"))
    same = {"username": "ann", "first_name": "Anna"}
    await api.ask("POST", "/import", data={"users": [same], "update": True})
    before = await api.store.tokens.identify(token)
    await api.ask("POST", "/import", data={"users": [{**same, "password": "two"}], "update": True})

    assert before is not None
    assert await api.store.tokens.identify(token) is None


async def test_credentials_of_another_realm_are_unique_too(api: Api) -> None:
    """An AOR is one device's in the whole system, which no index of the database holds by itself."""
    account, token = await api.child("child")
    await api.ask("PUT", f"/v2/accounts/{account.account_id}/devices", token=token, data=device("1001"), status=201)
    theirs = {"name": "x", "sip": {"username": "1001", "password": "secret", "realm": account.realm}}
    refused = await api.ask("POST", "/import", data={"devices": [theirs]}, status=400)

    assert list(refused["data"]) == ["devices.0.sip.username"]


async def test_batch_that_somebody_else_overtook_writes_nothing(store: Store) -> None:
    """What was checked is checked again when it is written."""
    made = await store.create_master("m", "a.test")
    account = await store.documents.get(Kind.ACCOUNT, made.account_id, made.account_id)
    assert account is not None

    def draft(device_id: str, username: str, **sip: str) -> Draft:
        return Draft(Kind.DEVICE, account.id, device_id, {"name": "n", "sip": {"username": username, **sip}})

    stored = await store.documents.create(draft("there", "1000"))
    for taken in (draft("a", "1001"), draft("b", "1002", realm="a.test")):
        batch = store.documents.batch(account)
        await batch.put(draft("c", "1003"), None)
        await batch.put(Draft(Kind.DEVICE, account.id, "d", taken.data), None)
        await store.documents.create(taken)
        with pytest.raises(BatchOvertaken):
            await batch.commit()
    batch = store.documents.batch(account)
    await batch.put(draft("there", "1009"), stored)
    await store.documents.replace(draft("there", "1008"), revision=stored.revision)
    with pytest.raises(BatchOvertaken):
        await batch.commit()

    assert await store.documents.get(Kind.DEVICE, account.id, "c") is None


@pytest.mark.slow
async def test_ten_thousand_devices_in_seconds(store: Store) -> None:
    """And the transaction, which registrations wait for, is a small part of that."""
    made = await store.create_master("m", "a.test")
    account = await store.documents.get(Kind.ACCOUNT, made.account_id, made.account_id)
    assert account is not None
    rows = [ImportRow(f"devices.{n}", Kind.DEVICE, device(f"{n:05}")) for n in range(10_000)]
    began = time.perf_counter()
    report = await import_documents(store.documents, account, rows, ImportOptions(), superduper=True)
    again = [ImportRow(row.place, row.kind, {**row.data, "name": "changed"}) for row in rows]
    changed = await import_documents(store.documents, account, again, ImportOptions(update=True), superduper=True)
    took = time.perf_counter() - began

    assert (report.created, report.faults) == (10_000, {})
    assert (changed.updated, changed.faults) == (10_000, {})
    assert took < 120  # ten on a machine that does nothing else
    assert store.writer.commits.total < took / 2
