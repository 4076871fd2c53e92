"""Filters of listings, from the query string alone, over the whole stored document (contract 5.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import orjson

from api.call import text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from api.ports import Document, Json, JsonObject

Filter: TypeAlias = "Callable[[JsonObject], bool]"

EMPTY: Final[tuple[Json, ...]] = (False, 0, "0", "false", "", None, "undefined", "NULL")
"""Scalars that Kazoo takes for nothing; empty lists and objects are too."""


SECRETS: Final = frozenset({"pvt_secret"})
"""Private keys that filters do not see: an answer to `filter_pvt_secret=...` would be a guess confirmed."""


class _Missing:
    """Stands for a key that is not there."""


MISSING: Final = _Missing()


def parse_filters(query: Mapping[str, str]) -> list[Filter]:
    """Return the filters that a query string asks for; all of them must pass."""
    return [made for name, value in query.items() if (made := _parse(name, value)) is not None]


def filterable(document: Document) -> JsonObject:
    """Return a document as filters see it: with its private fields."""
    return {
        **document.data,
        **{key: value for key, value in document.private.items() if key not in SECRETS},
        "_id": document.id,
        "id": document.id,
        "_rev": document.revision,
        "pvt_type": document.kind.value,
        "pvt_account_id": document.account_id,
        "pvt_created": document.created,
        "pvt_modified": document.modified,
    }


def is_empty(value: Json) -> bool:
    """Return whether Kazoo takes the value for nothing (contract 9, 16)."""
    if isinstance(value, dict | list):
        return not value
    return any(value == nothing and isinstance(value, bool) == isinstance(nothing, bool) for nothing in EMPTY)


def _parse(name: str, value: str) -> Filter | None:
    exact = EXACT.get(name)
    if exact is not None:
        return exact(value)
    if name.startswith("filter_not_"):
        matches = _equals(name.removeprefix("filter_not_"), value)
        return lambda document: not matches(document)
    if name.startswith("filter_"):
        return _equals(name.removeprefix("filter_"), value)
    return None


def _equals(key: str, wanted: str) -> Filter:
    decoded = _decode(wanted)

    def passes(document: JsonObject) -> bool:
        value = _look_up(document, key)
        if isinstance(value, _Missing):
            return wanted == ""
        if isinstance(value, list | dict):
            return value == decoded
        if text_of(value) == wanted:
            return True
        return isinstance(decoded, list) and value in decoded

    return passes


def _has_key(key: str) -> Filter:
    return lambda document: not isinstance(_look_up(document, key), _Missing)


def _key_missing(key: str) -> Filter:
    return lambda document: isinstance(_look_up(document, key), _Missing)


def _has_value(key: str) -> Filter:
    def passes(document: JsonObject) -> bool:
        value = _look_up(document, key)
        return not isinstance(value, _Missing) and not is_empty(value)

    return passes


def _value_missing(key: str) -> Filter:
    has_value = _has_value(key)
    return lambda document: not has_value(document)


def _from(key: str) -> Callable[[str], Filter]:
    return lambda bound: _compare(key, bound, lambda time, limit: time >= limit)


def _to(key: str) -> Callable[[str], Filter]:
    return lambda bound: _compare(key, bound, lambda time, limit: time <= limit)


def _compare(key: str, bound: str, holds: Callable[[int, int], bool]) -> Filter:
    """Hold a time to a bound; one that is no number lets nothing pass, since a filter that fails excludes."""
    limit = int(bound) if bound.isascii() and bound.isdigit() and len(bound) < MAX_DIGITS else None

    def passes(document: JsonObject) -> bool:
        time = document[key]
        return limit is not None and isinstance(time, int) and holds(time, limit)

    return passes


def _look_up(document: JsonObject, key: str) -> Json | _Missing:
    value: Json = document
    for step in key.split("."):
        if not isinstance(value, dict) or step not in value:
            return MISSING
        value = value[step]
    return value


def _decode(text: str) -> Json:
    try:
        value: Json = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value


MAX_DIGITS: Final = 20

EXACT: Final[Mapping[str, Callable[[str], Filter]]] = {
    "has_key": _has_key,
    "key_missing": _key_missing,
    "has_value": _has_value,
    "value_missing": _value_missing,
    "missing_value": _value_missing,
    "created_from": _from("pvt_created"),
    "created_to": _to("pvt_created"),
    "modified_from": _from("pvt_modified"),
    "modified_to": _to("pvt_modified"),
}
