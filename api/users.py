"""Users: people who own devices, and log in (contract 4.5, 5.13).

A password is never stored: what is kept, in private keys, are the hashes that Kazoo's clients send to log in.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Final

from api.call import Answer, Call, is_true, shown
from api.documents import (
    at,
    combine,
    create,
    created,
    delete,
    deleted,
    find_conflicts,
    refuse_if,
    save,
    strip_private,
)
from api.filters import is_empty
from api.listing import FILTERS, PAGING, list_documents
from api.ports import Draft, Kind, PageQuery
from api.quickcall_devices import devices_of
from api.routing import Route
from api.schemas import Schema

if TYPE_CHECKING:
    from api.documents import Author
    from api.errors import Faults
    from api.ports import Document, Json, JsonObject

USER: Final = Schema("users")
SECRETS: Final = ("password", "credentials")
MD5_LENGTH: Final = 32

FEATURES: Final = {
    "call_forward": ("call_forward", "enabled"),
    "caller_id": ("caller_id",),
    "do_not_disturb": ("do_not_disturb", "enabled"),
    "hotdesk": ("hotdesk", "enabled"),
    "music_on_hold": ("music_on_hold", "media_id"),
    "vm_to_email": ("vm_to_email_enabled",),
}
"""What a user has, by where it is told."""


async def list_users(call: Call) -> Answer:
    """GET /users."""
    return await list_documents(call, PageQuery(Kind.USER, call.account.id), summary)


async def create_user(call: Call) -> Answer:
    """PUT /users; an id in the body is ignored."""
    user_id = os.urandom(16).hex()

    async def prepare(call: Call, data: JsonObject, stored: Document | None) -> Draft:
        return await prepare_user(call, data, stored, user_id)

    return created(await create(call, prepare, strip_private(call.body())))


async def read_user(call: Call) -> Answer:
    """GET /users/{U}."""
    return shown(call.user)


async def replace_user(call: Call) -> Answer:
    """POST /users/{U}."""
    return await _change(call, merge=False)


async def patch_user(call: Call) -> Answer:
    """PATCH /users/{U}."""
    return await _change(call, merge=True)


async def delete_user(call: Call) -> Answer:
    """DELETE /users/{U}: the devices stay."""
    return deleted(await delete(call, call.user))


def summary(user: Document) -> JsonObject:
    """Return a user as listings show it."""
    data = user.data
    row: JsonObject = {
        "id": user.id,
        "features": [name for name, path in FEATURES.items() if not is_empty(at(data, *path))],
        "username": data.get("username"),
        "email": data.get("email"),
        "first_name": data.get("first_name"),
        "last_name": data.get("last_name"),
        "priv_level": data.get("priv_level"),
        "feature_level": data.get("feature_level"),
        "presence_id": data.get("presence_id"),
        "timezone": data.get("timezone"),
        "call_recording": data.get("call_recording"),
        "flags": data.get("flags") or [],
    }
    return {key: value for key, value in row.items() if value is not None}


async def _change(call: Call, *, merge: bool) -> Answer:
    wants_sync = is_true(call.body().get("sync"))

    async def prepare(call: Call, data: JsonObject, stored: Document | None) -> Draft:
        data = {key: value for key, value in data.items() if key != "sync"}
        return await prepare_user(call, data, stored, call.user.id)

    user = await save(call, call.user, prepare, merge=merge)
    if wants_sync:
        for device in await devices_of(call, user):
            await call.ports.control.check_sync(device)
    return shown(user)


async def prepare_user(author: Author, data: JsonObject, stored: Document | None, user_id: str) -> Draft:
    """Return the user to be stored. Raises ValidationFailed with every rule it breaks."""
    user, faults = USER.check(data)
    username = user.get("username")
    if isinstance(username, str):
        user["username"] = username = username.lower()
    hashes, login_faults = _hashes(user, stored)
    for name in SECRETS:
        user.pop(name, None)
    draft = Draft(Kind.USER, author.account.id, user_id, user, hashes)
    refuse_if(combine(faults, login_faults, await find_conflicts(author, draft, faults)))
    return draft


def _hashes(user: JsonObject, stored: Document | None) -> tuple[JsonObject, Faults]:
    """Return the private keys to change, by what the body says of username and password."""
    username, password, imported = user.get("username"), user.get("password"), user.get("credentials")
    before = stored.data.get("username") if stored is not None else None
    if isinstance(password, str) and password:
        if not isinstance(username, str):
            message = "The username must be provided when updating the password"
            return {}, {"username": {"required": {"message": message, "value": "username"}}}
        return _of_login(f"{username}:{password}"), {}
    if isinstance(imported, str) and len(imported) == MD5_LENGTH:
        return {"pvt_md5_auth": imported.lower(), "pvt_sha1_auth": None}, {}
    if before is None or username == before:
        return {}, {}
    if username is None:
        return {"pvt_md5_auth": None, "pvt_sha1_auth": None}, {}
    if not stored or not stored.private.get("pvt_md5_auth"):
        return {}, {}
    message = "The password must be provided when updating the user name"
    return {}, {"password": {"required": {"message": message, "value": "password"}}}


def _of_login(login: str) -> JsonObject:
    """Return the hashes that Kazoo's clients log in with; how strong they are is not ours to choose."""
    text = login.encode("utf-8", "replace")
    md5: Json = hashlib.md5(text, usedforsecurity=False).hexdigest()
    sha1: Json = hashlib.sha1(text, usedforsecurity=False).hexdigest()
    return {"pvt_md5_auth": md5, "pvt_sha1_auth": sha1}


_ALL: Final = "/accounts/{account_id}/users"
_ONE: Final = f"{_ALL}/{{user_id}}"

ROUTES: Final[tuple[Route, ...]] = (
    Route("GET", _ALL, list_users, "List the users", answer="user_rows", query=(*PAGING, *FILTERS)),
    Route("PUT", _ALL, create_user, "Create a user", body="users", answer="user"),
    Route("GET", _ONE, read_user, "Read a user", answer="user"),
    Route("POST", _ONE, replace_user, "Replace a user", body="users", answer="user"),
    Route("PATCH", _ONE, patch_user, "Change a user", body="patch", answer="user"),
    Route("DELETE", _ONE, delete_user, "Delete a user", answer="user"),
)
