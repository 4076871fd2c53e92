"""Broken schema rules as Kazoo tells them: one flattened key, one rule, its details (contract 2.4)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from jsonschema import ValidationError

    from api.errors import Faults
    from api.ports import Json, JsonObject

MAX_FAULTS: Final = 200  # of one body; a list of a million wrong items is not worth a million answers

LENGTH: Final = ("minLength", "maxLength")
"""Rules that tell the value as their cause too."""
BOUND: Final[dict[str, str]] = {
    "minLength": "String must be at least {} characters",
    "maxLength": "String must not be more than {} characters",
    "minimum": "Value must be at least {}",
    "maximum": "Value must be at most {}",
    "minItems": "The list must have at least {} items",
    "maxItems": "The list is more than {} items",
    "minProperties": "The object must have at least {} keys",
    "pattern": "Failed to match pattern '{}'",
}


def faults_of_errors(errors: Iterable[ValidationError]) -> Faults:
    """Return the errors by flattened key and rule, at most MAX_FAULTS."""
    faults: Faults = {}
    for error in errors:
        for key, rule, details in _faults(error):
            faults.setdefault(key, {})[rule] = details
        if len(faults) >= MAX_FAULTS:
            break
    return faults


def flatten(path: Sequence[str | int]) -> str:
    """Join a path with dots; a dot inside a key is written %2E."""
    return ".".join(str(step).replace(".", "%2E") for step in path)


def _faults(error: ValidationError) -> Iterable[tuple[str, str, JsonObject]]:
    path, rule, value = list(error.absolute_path), str(error.validator), cast("Json", error.instance)
    if rule == "required" and isinstance(value, dict):
        for name in cast("list[str]", error.validator_value):
            if name not in value:
                message = "Field is required but missing"
                yield flatten([*path, name]), rule, {"message": message, "value": name}
    elif rule == "additionalProperties" and isinstance(value, dict) and error.validator_value is False:
        message = "Strict checking of data is enabled; only include schema-defined properties"
        for name in _unexpected(error, value):
            yield flatten([*path, name]), rule, {"message": message, "value": value[name]}
    else:
        name, details = DETAILS.get(rule, _any_schema)(cast("Json", error.validator_value), rule)
        yield flatten(path), name, {**details, "value": value, **({"cause": value} if rule in LENGTH else {})}


def _unexpected(error: ValidationError, value: JsonObject) -> Iterable[str]:
    schema = error.schema
    assert isinstance(schema, dict)
    patterns = schema.get("patternProperties", {})
    known = schema.get("properties", {})
    return (name for name in value if name not in known and not any(re.search(pattern, name) for pattern in patterns))


def _type(target: Json, _: str) -> tuple[str, JsonObject]:
    names = ", ".join(map(str, target)) if isinstance(target, list) else str(target)
    return "type", {"message": f"Value did not match type(s): {names}", "target": names}


def _bound(target: Json, rule: str) -> tuple[str, JsonObject]:
    if rule == "pattern":
        target = str(target).removeprefix("(?a)").replace(r"\Z", "$")
    return rule, {"message": BOUND[rule].format(target), "target": target}


def _enum(target: Json, _: str) -> tuple[str, JsonObject]:
    return "enum", {"message": "Value not found in enumerated list of values", "target": target}


def _unique_items(_: Json, rule: str) -> tuple[str, JsonObject]:
    return rule, {"message": "List of items is not unique"}


def _format(target: Json, _: str) -> tuple[str, JsonObject]:
    return "wrong_format", {"message": "Field is not in the correct format", "format": target}


def _any_schema(_: Json, __: str) -> tuple[str, JsonObject]:
    return "not_one_schema_valid", {"message": "failed to validate"}


DETAILS: Final[dict[str, Callable[[Json, str], tuple[str, JsonObject]]]] = {
    "type": _type,
    "enum": _enum,
    "uniqueItems": _unique_items,
    "format": _format,
    **dict.fromkeys(BOUND, _bound),
}
