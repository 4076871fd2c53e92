"""Users: rules, login hashes, listings (contract 4.5, 5.13)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from api.ports import Kind

if TYPE_CHECKING:
    from api_client import Api


def md5(login: str) -> str:
    return hashlib.md5(login.encode()).hexdigest()


async def may_log_in(api: Api, login: str) -> bool:
    data = {"credentials": md5(login), "realm": "master.example"}
    response = await api.send("PUT", "/v2/user_auth", data=data, token=None)
    return response.status == 201


async def test_user_gets_defaults(api: Api) -> None:
    """Names are enough; everything else has its default (4.5)."""
    envelope = await api.ask("PUT", "/users", data={"first_name": "Ann", "last_name": "Lee", "id": "mine"}, status=201)
    user = envelope["data"]

    assert len(user.pop("id")) == 32
    assert user == {
        "call_restriction": {},
        "caller_id": {},
        "contact_list": {},
        "dial_plan": {},
        "enabled": True,
        "first_name": "Ann",
        "hotdesk": {"enabled": False, "keep_logged_in_elsewhere": False, "require_pin": False},
        "last_name": "Lee",
        "media": {
            "audio": {"codecs": ["PCMU"]},
            "encryption": {"enforce_security": False, "methods": []},
            "video": {"codecs": []},
        },
        "music_on_hold": {},
        "priv_level": "user",
        "profile": {},
        "require_password_update": False,
        "ringtones": {},
        "verified": False,
        "vm_to_email_enabled": True,
    }


async def test_password_is_never_stored_or_shown(api: Api) -> None:
    """Only hashes are kept, in private keys; the name is kept in lower case (4.5)."""
    user = await api.put_user(username="ANN", password="secret")
    stored = await api.stored(Kind.USER, user["id"])

    assert user["username"] == "ann"
    assert "password" not in user
    assert "password" not in stored.data
    assert stored.private == {
        "pvt_md5_auth": md5("ann:secret"),
        "pvt_sha1_auth": hashlib.sha1(b"ann:secret").hexdigest(),
    }


async def test_hash_may_be_imported(api: Api) -> None:
    """`credentials` is taken for the login hash, and not shown (4.5)."""
    user = await api.put_user(username="ann", credentials=md5("ann:imported"))

    assert "credentials" not in user
    assert await may_log_in(api, "ann:imported")


@pytest.mark.parametrize(
    ("change", "status", "login"),
    [
        pytest.param({"password": "other"}, 200, "ann:other", id="new-password"),
        pytest.param({"username": "bea", "password": "other"}, 200, "bea:other", id="new-name-and-password"),
        pytest.param({"username": "bea"}, 400, "ann:secret", id="new-name-alone"),
        pytest.param({"username": "ANN"}, 200, "ann:secret", id="same-name-in-capitals"),
        pytest.param({"last_name": "Ray"}, 200, "ann:secret", id="something-else"),
    ],
)
async def test_changing_a_login(api: Api, change: Any, status: int, login: str) -> None:
    """A new name needs the password with it, since the hash holds both (4.5)."""
    user = await api.put_user(username="ann", password="secret")
    envelope = await api.ask("PATCH", f"/users/{user['id']}", data=change, status=status)

    assert await may_log_in(api, login)
    assert status == 200 or "required" in envelope["data"]["password"]


async def test_login_without_a_name(api: Api) -> None:
    """A password alone is refused; removing the name ends the login (4.5)."""
    names = {"first_name": "A", "last_name": "B"}
    envelope = await api.ask("PUT", "/users", data={**names, "password": "secret"}, status=400)

    assert "required" in envelope["data"]["username"]

    user = await api.put_user(username="ann", password="secret")
    await api.ask("POST", f"/users/{user['id']}", data=names)

    assert not await may_log_in(api, "ann:secret")


async def test_name_is_unique_in_the_account(api: Api) -> None:
    """Two users of an account have two names; those of two accounts may share one (4.5)."""
    await api.put_user(username="ann")
    data = {"first_name": "A", "username": "ANN"}
    envelope = await api.ask("PUT", "/users", data=data, status=400)
    child, _ = await api.child()
    await api.ask("PUT", f"/v2/accounts/{child.account_id}/users", data={**data, "last_name": "B"}, status=201)

    assert envelope["data"]["username"]["unique"]["message"] == "Username must be unique within account"
    assert "required" in envelope["data"]["last_name"]


async def test_list(api: Api) -> None:
    """A row for each user, with what it has (5.13)."""
    user = await api.put_user(
        username="ann", email="ann@example.com", presence_id="1001", call_forward={"enabled": True, "number": "1"}
    )
    rows = (await api.ask("GET", "/users"))["data"]

    assert rows == [
        {
            "email": "ann@example.com",
            "features": ["call_forward", "vm_to_email"],
            "first_name": "Ann",
            "flags": [],
            "id": user["id"],
            "last_name": "Lee",
            "presence_id": "1001",
            "priv_level": "user",
            "username": "ann",
        }
    ]


async def test_life_of_a_user(api: Api) -> None:
    """Read, replaced, patched, deleted; the devices stay (5.13)."""
    user = await api.put_user()
    path = f"/users/{user['id']}"
    device = await api.put_device(owner_id=user["id"])

    assert (await api.ask("GET", path))["data"] == user
    assert (await api.ask("POST", path, data={"first_name": "B", "last_name": "C"}))["data"]["first_name"] == "B"
    assert (await api.ask("PATCH", path, data={"timezone": "Europe/Berlin"}))["data"]["timezone"] == "Europe/Berlin"
    assert (await api.ask("DELETE", path))["data"]["_read_only"] == {"deleted": True}

    for method in ("GET", "POST", "PATCH", "DELETE"):
        await api.ask(method, path, data={"first_name": "B", "last_name": "C"}, status=404)
    assert (await api.ask("GET", f"/devices/{device['id']}"))["data"]["owner_id"] == user["id"]


async def test_sync_flag_reaches_the_users_devices(api: Api) -> None:
    """A change with `sync` sends a check-sync to each device that is the user's now."""
    user, guest = await api.put_user(), await api.put_user()
    own = await api.put_device(owner_id=user["id"])
    await api.put_device(owner_id=user["id"], hotdesk={"users": {guest["id"]: {}}})
    await api.put_device()
    await api.ask("PATCH", f"/users/{user['id']}", data={"sync": True})

    assert api.control.synced == [own["id"]]
