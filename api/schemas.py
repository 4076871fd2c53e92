"""The JSON Schemas of the resources: loaded once, applied to what clients send (contract 2.4, 4.2).

The files in `schema/` are the truth for validation, defaults and the OpenAPI document alike. `{"$ref": "NAME"}` there
means the file NAME.json; it is resolved on loading, beside its sibling keys.
"""

from __future__ import annotations

import math
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import orjson
from jsonschema import Draft202012Validator, FormatChecker

from api.violations import faults_of_errors

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jsonschema import ValidationError

    from api.errors import Faults
    from api.ports import Json, JsonObject

CASTABLE: Final = frozenset({"boolean", "integer", "number"})
MAX_INTEGER: Final = 2**63 - 1  # what our JSON writer takes
FORMATS: Final = FormatChecker(formats=())


class Schema:
    """One schema, ready to be used for every request."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.document = load(name)
        """As published: patterns are ECMA-262's."""
        compiled = _compiled(self.document)
        assert isinstance(compiled, dict)
        self._validator = Draft202012Validator(compiled, format_checker=FORMATS)

    def check(self, data: JsonObject) -> tuple[JsonObject, Faults]:
        """Return the data with defaults and casts applied, and every rule that it still breaks.

        A boolean, integer or number sent as text is cast, and kept so (contract 2.4).
        """
        filled = fill_defaults(self.document, data)
        errors = list(self._validator.iter_errors(filled))
        if _repair(filled, errors):
            errors = list(self._validator.iter_errors(filled))
        return filled, faults_of_errors(errors)


@cache
def load(name: str) -> JsonObject:
    """Return the schema of a file with its references resolved."""
    document: JsonObject = orjson.loads((files("api") / "schema" / f"{name}.json").read_bytes())
    resolved = _resolve(document)
    assert isinstance(resolved, dict)
    return resolved


def fill_defaults(schema: JsonObject, data: JsonObject) -> JsonObject:
    """Return a copy of the data with the schema's defaults at every level that is an object.

    All objects and lists on the way are new, so the result may be changed without touching what was passed in.
    """
    properties = schema.get("properties")
    filled = {key: _copy(value) for key, value in data.items()}
    if not isinstance(properties, dict):
        return filled
    for key, rules in properties.items():
        assert isinstance(rules, dict)
        if key not in filled and "default" in rules:
            filled[key] = _copy(rules["default"])
        value = filled.get(key)
        if isinstance(value, dict):
            filled[key] = fill_defaults(rules, value)
    return filled


def _copy(value: Json) -> Json:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value


def _resolve(value: Json) -> Json:
    if isinstance(value, list):
        return [_resolve(item) for item in value]
    if not isinstance(value, dict):
        return value
    target = value.get("$ref")
    rest = {key: _resolve(item) for key, item in value.items() if key != "$ref"}
    return {**load(target), **rest} if isinstance(target, str) else rest


def _compiled(value: Json, *, names: bool = False) -> Json:
    r"""Return the schema with its patterns as Python's `re` needs them to mean what ECMA-262 says.

    There `$` matches only at the very end, and `\w` is ASCII. `names` says that the keys are patterns.
    """
    if isinstance(value, list):
        return [_compiled(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        (to_python(key) if names else key): to_python(item)
        if key == "pattern" and isinstance(item, str)
        else _compiled(item, names=key == "patternProperties")
        for key, item in value.items()
    }


def to_python(pattern: str) -> str:
    """Return an ECMA-262 pattern for Python's `re`."""
    return "(?a)" + pattern.replace("$", r"\Z")


def _repair(data: JsonObject, errors: Iterable[ValidationError]) -> bool:
    repaired = False
    for error in errors:
        expected = error.validator_value
        if error.validator != "type" or str(expected) not in CASTABLE or not isinstance(error.instance, str):
            continue
        value = _cast(error.instance, str(expected))
        if value is not None:
            _put(data, list(error.absolute_path), value)
            repaired = True
    return repaired


def _cast(text: str, expected: str) -> bool | int | float | None:
    if expected == "boolean":
        return {"true": True, "false": False}.get(text.lower())
    try:
        number = int(text) if expected == "integer" else float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and abs(number) <= MAX_INTEGER else None


def _put(data: JsonObject, path: list[str | int], value: Json) -> None:
    holder: Any = data  # the path is the validator's own: every step of it exists
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = value


@FORMATS.checks("email")
def _is_email(value: object) -> bool:
    """Kazoo's idea of an e-mail address: one @ with something on both sides."""
    return not isinstance(value, str) or (value.count("@") == 1 and all(value.split("@")))
