"""Devices and users as JSON: as Kazoo's API and database write them, and as `roost export` does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import orjson

from api.import_rules import ImportRow
from api.ports import Kind
from daemon.importing import MAX_ROWS, FileFault, Found, Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from api.ports import Json, JsonObject

KINDS: Final = {"device": Kind.DEVICE, "user": Kind.USER}
_PLURALS: Final = {"devices": Kind.DEVICE, "users": Kind.USER}
_ID: Final = re.compile(r"[0-9a-f]{32}")
_HASH: Final = "pvt_md5_auth"


def read_json(content: bytes) -> Found:
    """Read a document, a list of them, or what holds one: an envelope, a view, `{"devices": [], "users": []}`.

    Raises Unreadable.
    """
    try:
        value: Json = orjson.loads(content.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        raise Unreadable(f"it is no JSON: {error}") from None
    found = Found()
    for number, (kind, item) in enumerate(_items(value), start=1):
        if number > MAX_ROWS:
            raise Unreadable(f"there are more than {MAX_ROWS} documents in it")
        _read(f"document {number}", kind, item, found)
    return found


def write_json(devices: Sequence[JsonObject], users: Sequence[JsonObject]) -> str:
    """Return the documents as `read_json` takes them."""
    value = {"data": {"users": list(users), "devices": list(devices)}}
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode() + "\n"


def _items(value: Json) -> Iterator[tuple[Kind | None, Json]]:
    if isinstance(value, list):
        for item in value:
            yield None, item
    elif isinstance(value, dict) and isinstance(value.get("data"), dict | list):
        yield from _items(value["data"])
    elif isinstance(value, dict) and isinstance(value.get("rows"), list):
        # A view of CouchDB, with include_docs=true.
        rows = value["rows"]
        assert isinstance(rows, list)
        for row in rows:
            yield None, row.get("doc") if isinstance(row, dict) else row
    elif isinstance(value, dict) and any(isinstance(value.get(plural), list) for plural in _PLURALS):
        for plural, kind in _PLURALS.items():
            listed = value.get(plural)
            for item in listed if isinstance(listed, list) else []:
                yield kind, item
    else:
        yield None, value


def _read(place: str, kind: Kind | None, item: Json, found: Found) -> None:
    if not isinstance(item, dict):
        found.faults.append(FileFault(place, "", "it is no document"))
        return
    if item.get("pvt_deleted") is True:
        found.notes.append(f"{place} is deleted in Kazoo and was passed over")
        return
    name = item.get("name") or item.get("username")
    place = f"{place} ({name})" if isinstance(name, str) else place
    written = item.get("pvt_type")
    if kind is None and isinstance(written, str) and written not in KINDS:
        found.faults.append(FileFault(place, "pvt_type", f"it is neither a device nor a user: {written}"))
        return
    kind = kind or (KINDS[written] if isinstance(written, str) else _guess(item))
    if kind is None:
        found.faults.append(FileFault(place, "", "nothing in it says whether it is a device or a user: add pvt_type"))
        return
    if kind is Kind.DEVICE and "username" in item and "sip" not in item:
        found.faults.append(
            FileFault(place, "sip", "it is a row of a listing, which lacks most settings: read each device")
        )
        return
    found.rows.append(ImportRow(place, kind, _data(kind, item)))


def _guess(item: JsonObject) -> Kind | None:
    if "sip" in item and ("first_name" not in item or "device_type" in item):
        return Kind.DEVICE
    if "first_name" in item or "last_name" in item or "priv_level" in item:
        return Kind.USER
    return Kind.DEVICE if any(key in item for key in ("mac_address", "device_type", "provision")) else None


def _data(kind: Kind, item: JsonObject) -> JsonObject:
    """Return the document with the id that the database has, and with the login that Kazoo keeps in private."""
    data = dict(item)
    if "id" not in data and isinstance(data.get("_id"), str) and _ID.fullmatch(str(data["_id"])):
        data["id"] = data["_id"]
    if kind is Kind.USER and _HASH in data and "password" not in data:
        data["credentials"] = data[_HASH]
    return {key: value for key, value in data.items() if not key.startswith(("_", "pvt_"))}
