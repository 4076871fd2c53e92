"""Documents as rows: the columns that the indexes need, taken out of the JSON, and the way back."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

from api.ports import Document, Json, JsonObject, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

Columns: TypeAlias = "dict[str, str | bytes | None]"

_NOT_NAME = re.compile("[^a-z0-9]")
_NOT_HEX = re.compile("[^0-9a-f]")

NO_COLUMNS: Mapping[str, str | bytes | None] = dict.fromkeys(
    (
        *("realm", "name_key", "parent_id"),
        *("login", "hotdesk_id", "md5_digest", "sha1_digest"),
        *("mac", "sip_username", "sip_realm", "sip_method", "sip_ip", "mdn"),
    )
)
"""The columns of a deleted document: it is in no index of uniqueness."""


def document_of(row: Iterable[Any]) -> Document:
    """Return the document of a row that holds `kind` to `private`, in the order of the table `queries` reads."""
    kind, account_id, document_id, revision, created, modified, data, private = row
    return Document(
        Kind(kind), account_id, document_id, revision, created, modified, orjson.loads(data), orjson.loads(private)
    )


def to_json(value: JsonObject) -> str:
    """Return the value as the tables hold it."""
    return orjson.dumps(value).decode()


def columns_of(kind: Kind, data: JsonObject, private: JsonObject) -> Columns:
    """Return the columns of a live document; a value of another type than expected counts as absent."""
    return {**NO_COLUMNS, **_COLUMNS_OF[kind](data, private)}


def users_of(data: JsonObject) -> set[str]:
    """Return the users that a device belongs to: its owner, and those hotdesked to it."""
    hotdesk = data.get("hotdesk")
    users = hotdesk.get("users") if isinstance(hotdesk, dict) else None
    found = set(users) if isinstance(users, dict) else set()
    owner_id = text_at(data, "owner_id")
    return found | {owner_id} if owner_id else found


def json_at(data: JsonObject, *path: str) -> Json:
    """Return what is at the path; None where nothing is."""
    value: Json = data
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def text_at(data: JsonObject, *path: str) -> str | None:
    """Return the non-empty string at the path, or None."""
    value = json_at(data, *path)
    return value if isinstance(value, str) and value else None


def normalise_name(name: str) -> str:
    """Return what account names are compared by (contract 3.3)."""
    return _NOT_NAME.sub("", name.lower())


def digest_of(secret: str) -> bytes:
    """Return what a secret is looked up by, so that the look-up's time says nothing of the secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _account(data: JsonObject, private: JsonObject) -> Columns:
    tree = private.get("pvt_tree")
    parent = tree[-1] if isinstance(tree, list) and tree else ""
    return {
        "realm": _lower(text_at(data, "realm")),
        "name_key": normalise_name(text_at(data, "name") or "") or None,
        "parent_id": parent if isinstance(parent, str) else "",
    }


def _user(data: JsonObject, private: JsonObject) -> Columns:
    return {
        "login": _lower(text_at(data, "username")),
        "hotdesk_id": text_at(data, "hotdesk", "id"),
        "md5_digest": _digest(text_at(private, "pvt_md5_auth")),
        "sha1_digest": _digest(text_at(private, "pvt_sha1_auth")),
        "sip_username": _lower(text_at(data, "sip", "username")),
    }


def _device(data: JsonObject, _private: JsonObject) -> Columns:
    method = text_at(data, "sip", "method") or "password"
    mac = _NOT_HEX.sub("", (text_at(data, "mac_address") or "").lower())
    return {
        "mac": mac or None,
        "sip_username": _lower(text_at(data, "sip", "username")),
        "sip_realm": _lower(text_at(data, "sip", "realm")),
        "sip_method": method,
        "sip_ip": text_at(data, "sip", "ip") if method == "ip" else None,
        "mdn": text_at(data, "mobile", "mdn") if data.get("device_type") == "mobile" else None,
    }


def _lower(text: str | None) -> str | None:
    return text.lower() if text else None


def _digest(secret: str | None) -> bytes | None:
    return digest_of(secret) if secret else None


_COLUMNS_OF: Mapping[Kind, Callable[[JsonObject, JsonObject], Columns]] = {
    Kind.ACCOUNT: _account,
    Kind.USER: _user,
    Kind.DEVICE: _device,
    Kind.WEBHOOK: lambda _data, _private: {},
}
