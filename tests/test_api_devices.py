"""Devices: writing, reading, listing (contract 4, 5)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from yarl import URL

from api.documents import merged
from api.ports import Kind

if TYPE_CHECKING:
    from api_client import Api


async def test_unknown_keys_are_kept_at_every_level(api: Api) -> None:
    """What the schema does not know is stored and shown."""
    device = await api.put_device(custom="value", sip={"ours": [1, {"deep": None}]})

    assert device["custom"] == "value"
    assert device["sip"]["ours"] == [1, {"deep": None}]


async def test_private_keys_are_dropped(api: Api) -> None:
    """No client sets or sees what begins with `_` or `pvt_`, and no token is stored with a document."""
    device = await api.put_device(_id="x", pvt_type="account", pvt_tree=[], _read_only={}, auth_token=api.token)
    stored = await api.stored(Kind.DEVICE, device["id"])

    assert not [key for key in device if key.startswith(("_", "pvt_"))]
    assert "auth_token" not in device
    assert stored.private == {}


async def test_nothing_is_generated(api: Api) -> None:
    """A device without credentials is legal and gets none."""
    device = await api.put_device()

    assert "username" not in device["sip"]
    assert "password" not in device["sip"]


@pytest.mark.parametrize("wanted", ["my-device", "0" * 32, "a/b", "caf\u00e9"])
async def test_client_may_choose_the_id(api: Api, wanted: str) -> None:
    """The id in a PUT becomes the device's, and is never free again (4.2)."""
    response = await api.send("PUT", "/devices", data={"name": "n", "id": wanted})

    assert orjson.loads(await response.read())["data"]["id"] == wanted

    where = URL(str(api.client.make_url("/")).rstrip("/") + response.headers["Location"], encoded=True)
    async with api.client.session.get(where, headers={"X-Auth-Token": api.token}) as found:
        assert found.status == 200

    envelope = await api.ask("PUT", "/devices", data={"name": "n", "id": wanted}, status=409)

    assert (envelope["message"], envelope["data"]) == ("datastore_conflict", {"message": "conflicting documents"})


async def test_id_of_a_deleted_device_stays_taken(api: Api, device_id: str) -> None:
    """Deletion hides a device everywhere and frees nothing but its credentials."""
    await api.ask("DELETE", f"/devices/{device_id}")

    await api.ask("PUT", "/devices", data={"name": "n", "id": device_id}, status=409)
    for method, path in (("GET", ""), ("POST", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/sync")):
        await api.ask(method, f"/devices/{device_id}{path}", data={"name": "n"}, status=404)
    assert (await api.ask("GET", "/devices"))["data"] == []
    await api.put_device(sip={"username": "bob", "password": "secret"})


@pytest.mark.parametrize(
    ("wanted", "rule"),
    [
        pytest.param(5, "type", id="number"),
        pytest.param("x" * 129, "maxLength", id="long"),
        pytest.param("status", "invalid", id="a-word-of-the-url"),
        pytest.param("a\nb", "invalid", id="control"),
    ],
)
async def test_impossible_ids(api: Api, wanted: Any, rule: str) -> None:
    """An id that could not be reached or shown is refused."""
    envelope = await api.ask("PUT", "/devices", data={"name": "n", "id": wanted}, status=400)

    assert rule in envelope["data"]["id"]


async def test_id_in_a_change_is_ignored(api: Api, device_id: str) -> None:
    """The URL says which device it is."""
    for method in ("POST", "PATCH"):
        data = {"name": "n", "id": "another", "device_type": "softphone"}
        device = (await api.ask(method, f"/devices/{device_id}", data=data))["data"]

        assert device["id"] == device_id


async def test_post_replaces(api: Api, device_id: str) -> None:
    """What the body leaves out is gone, what has a default is back at it (5.5)."""
    device = (await api.ask("POST", f"/devices/{device_id}", data={"name": "new"}))["data"]

    assert device["name"] == "new"
    assert device["sip"] == {"expire_seconds": 300, "invite_format": "username", "method": "password"}


async def test_patch_merges(api: Api, device_id: str) -> None:
    """Objects merge, null removes, defaults come back, an empty object changes nothing (5.5)."""
    patch = {
        "sip": {"password": "secret2", "expire_seconds": None},
        "device_type": None,
        "media": {},
        "media2": {"a": None, "b": 1},
        "outbound_flags": ["a"],
    }
    device = (await api.ask("PATCH", f"/devices/{device_id}", data=patch))["data"]

    assert device["sip"] == {
        "expire_seconds": 300,
        "invite_format": "username",
        "method": "password",
        "password": "secret2",
        "username": "bob",
    }
    assert "device_type" not in device
    assert device["media"]["audio"] == {"codecs": ["PCMU"]}
    assert device["media2"] == {"b": 1}
    assert device["outbound_flags"] == ["a"]


@pytest.mark.parametrize(
    ("stored", "sent", "result"),
    [
        pytest.param({"a": {"b": 1}}, {"a": {"c": 2}}, {"a": {"b": 1, "c": 2}}, id="objects"),
        pytest.param({"a": {"b": 1}}, {"a": {}}, {"a": {"b": 1}}, id="empty-object"),
        pytest.param({"a": 1}, {"a": {}}, {"a": {}}, id="empty-object-for-scalar"),
        pytest.param({}, {"a": {"b": None, "c": {"d": None}}}, {"a": {"c": {}}}, id="nulls-in-new-objects"),
        pytest.param({"a": [1, 2]}, {"a": [3]}, {"a": [3]}, id="lists-are-replaced"),
        pytest.param({"a": {"b": 1}}, {"a": None}, {}, id="removed"),
        pytest.param({"a": 1}, {"b": None}, {"a": 1}, id="removed-though-not-there"),
    ],
)
def test_merge(stored: Any, sent: Any, result: Any) -> None:
    """The rules of a PATCH, one by one."""
    before = orjson.dumps(stored)

    assert merged(stored, sent) == result
    assert orjson.dumps(stored) == before


async def test_patch_is_validated_as_a_whole(api: Api, device_id: str) -> None:
    """Removing a required key is refused and changes nothing."""
    envelope = await api.ask("PATCH", f"/devices/{device_id}", data={"name": None, "enabled": "x"}, status=400)

    assert set(envelope["data"]) == {"name", "enabled"}
    assert (await api.ask("GET", f"/devices/{device_id}"))["data"]["name"] == "desk"


@pytest.mark.parametrize(("method", "syncs"), [("POST", True), ("PATCH", True)])
async def test_sync_flag_of_a_change(api: Api, device_id: str, method: str, syncs: bool) -> None:
    """`sync` sends a check-sync once the change is saved, and is not stored (5.6)."""
    data = {"name": "n", "device_type": "softphone"}
    await api.ask(method, f"/devices/{device_id}", data={**data, "sync": False})
    await api.ask(method, f"/devices/{device_id}", data={**data, "sync": True, "enabled": 5}, status=400)

    assert api.control.synced == []

    device = (await api.ask(method, f"/devices/{device_id}", data={**data, "sync": True}))["data"]

    assert api.control.synced == [device_id]
    assert "sync" not in device


async def test_etag_and_if_none_match(api: Api, device_id: str) -> None:
    """A GET tells its revision as the ETag, and is 304 for who has it (7.1)."""
    path = f"/devices/{device_id}"
    response = await api.send("GET", path)
    revision = orjson.loads(await response.read())["revision"]

    assert response.headers["ETag"] == f'"{revision}"'

    for value in (f'"{revision}"', f'W/"{revision}"', "*", f'"x", "{revision}"'):
        unchanged = await api.send("GET", path, headers={"If-None-Match": value})

        assert (unchanged.status, await unchanged.read()) == (304, b"")
        assert unchanged.headers["ETag"] == f'"{revision}"'
    assert (await api.send("GET", path, headers={"If-None-Match": '"x"'})).status == 200
    assert (await api.send("GET", path, headers={"If-Match": '"x"'})).status == 412
    assert (await api.send("PATCH", path, data={}, headers={"If-None-Match": "*"})).status == 412
    assert (await api.send("GET", "/devices/status", headers={"If-None-Match": '"x"'})).status == 200


async def test_list_etag_changes_with_the_list(api: Api, device_id: str) -> None:
    """A non-empty list has an ETag of its content; the envelope calls its revision automatic."""
    response = await api.send("GET", "/devices")
    etag = response.headers["ETag"]

    assert orjson.loads(await response.read())["revision"] == "automatic"
    assert (await api.send("GET", "/devices", headers={"If-None-Match": etag})).status == 304

    await api.put_device()

    assert (await api.send("GET", "/devices", headers={"If-None-Match": etag})).status == 200
    assert "ETag" not in (await api.send("GET", "/users")).headers


async def test_if_match_guards_changes(api: Api, device_id: str) -> None:
    """Only who knows the revision may write with If-Match; a bad body is told first (7.1)."""
    path = f"/devices/{device_id}"
    revision = (await api.ask("GET", path))["revision"]
    changed = await api.ask("PATCH", path, data={"name": "m"}, headers={"If-Match": f'"{revision}"'})

    assert changed["revision"] != revision

    for method, data in (("PATCH", {"name": "x"}), ("POST", {"name": "x"}), ("DELETE", {})):
        response = await api.send(method, path, data=data, headers={"If-Match": f'"{revision}"'})

        assert (response.status, await response.read()) == (412, b"")
    await api.ask("PATCH", path, data={"name": ""}, headers={"If-Match": f'"{revision}"'}, status=400)
    assert (await api.send("PUT", "/devices", data={"name": "n"}, headers={"If-Match": "*"})).status == 412
    await api.ask("PUT", "/devices", data={"name": "n"}, headers={"If-None-Match": "*"}, status=201)
    assert (await api.ask("GET", path))["data"]["name"] == "m"


async def test_concurrent_patches_lose_nothing(api: Api, device_id: str) -> None:
    """64 clients that each add a key all find it there in the end."""

    async def patch(number: int) -> None:
        await api.ask("PATCH", f"/devices/{device_id}", data={f"key{number}": number})

    await asyncio.gather(*(patch(number) for number in range(64)))
    device = (await api.ask("GET", f"/devices/{device_id}"))["data"]

    assert {f"key{number}": number for number in range(64)}.items() <= device.items()


async def test_clients_at_once_lose_nothing_that_was_answered(api: Api) -> None:
    """64 clients create, change and delete, each its own and all one common device."""
    common = (await api.put_device(name="common"))["id"]

    async def work(number: int) -> str:
        device_id = (await api.put_device(name=f"d{number}", sip={"username": f"user{number}"}))["id"]
        await api.ask("PATCH", f"/devices/{device_id}", data={"step": 1})
        await api.ask("PATCH", f"/devices/{common}", data={"seen": {str(number): device_id}})
        await api.ask("PATCH", f"/devices/{device_id}", data={"step": 2})
        if number % 2:
            await api.ask("DELETE", f"/devices/{device_id}")
        return str(device_id)

    ids = await asyncio.gather(*(work(number) for number in range(64)))
    rows = (await api.ask("GET", "/devices", params={"paginate": "false"}))["data"]

    assert {row["id"] for row in rows} == {common, *ids[::2]}
    assert (await api.ask("GET", f"/devices/{common}"))["data"]["seen"] == {str(n): each for n, each in enumerate(ids)}
    for device_id in ids[::2]:
        assert (await api.ask("GET", f"/devices/{device_id}"))["data"]["step"] == 2


async def test_conditional_patches_win_once(api: Api, device_id: str) -> None:
    """Of clients that write over the same revision with If-Match, one succeeds."""
    revision = (await api.ask("GET", f"/devices/{device_id}"))["revision"]

    async def patch(number: int) -> int:
        headers = {"If-Match": f'"{revision}"'}
        return (await api.send("PATCH", f"/devices/{device_id}", data={"name": str(number)}, headers=headers)).status

    statuses = await asyncio.gather(*(patch(number) for number in range(10)))

    assert sorted(statuses) == [200, *[412] * 9]


async def test_same_username_at_once_is_given_once(api: Api) -> None:
    """The database holds uniqueness where two checks pass at the same time."""

    async def put() -> int:
        sip = {"username": "carol", "password": "secret"}
        return (await api.send("PUT", "/devices", data={"name": "n", "sip": sip})).status

    assert sorted(await asyncio.gather(*(put() for _ in range(8)))) == [201, *[400] * 7]


@pytest.mark.parametrize(
    ("data", "status", "message"),
    [
        pytest.param({}, 400, "action required", id="no-action"),
        pytest.param({"action": "explode"}, 400, "invalid action", id="unknown-action"),
        pytest.param({"action": ["notify"]}, 400, "invalid action", id="action-of-wrong-type"),
    ],
)
async def test_unknown_actions(api: Api, device_id: str, data: Any, status: int, message: str) -> None:
    """A PUT on a device needs an action it knows (5.9)."""
    envelope = await api.ask("PUT", f"/devices/{device_id}", data=data, status=status)

    assert (envelope["message"], envelope["data"]) == (message, {})


@pytest.mark.parametrize(
    ("payload", "key"),
    [
        pytest.param(None, "data", id="no-data"),
        pytest.param({}, "event", id="no-event"),
        pytest.param({"event": "talk", "body": {"data": "x"}}, "body.content_type", id="half-a-body"),
        pytest.param({"event": "talk\r\nX: y"}, "event", id="injected-header"),
    ],
)
async def test_bad_notify(api: Api, device_id: str, payload: Any, key: str) -> None:
    """What is sent to a phone is checked first (5.9)."""
    data = {"action": "notify", **({} if payload is None else {"data": payload})}
    envelope = await api.ask("PUT", f"/devices/{device_id}", data=data, status=400)

    assert key in envelope["data"]
    assert api.control.notified == []


async def test_sync_action(api: Api, device_id: str) -> None:
    """A user interface asks for a check-sync by PUT."""
    envelope = await api.ask("PUT", f"/devices/{device_id}", data={"action": "sync", "data": {}}, status=201)

    assert envelope["data"] == "sync request sent"
    assert api.control.synced == [device_id]


async def test_device_below_a_user_is_the_same_device(api: Api, device_id: str) -> None:
    """Ownership is not checked there; the user is (1.1)."""
    user_id = (await api.put_user())["id"]
    path = f"/users/{user_id}/devices/{device_id}"

    assert (await api.ask("GET", path))["data"]["id"] == device_id
    await api.ask("PATCH", path, data={"name": "m"})
    await api.ask("POST", f"{path}/sync")
    await api.ask("GET", f"/users/none/devices/{device_id}", status=404)
