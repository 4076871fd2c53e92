"""Schemas: rules, casts and defaults (contract 2.4, 4.1, 4.2)."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from api.schemas import Schema, fill_defaults, load, to_python
from api.violations import flatten

DEVICE = Schema("devices")
USER = Schema("users")
API_AUTH = Schema("api_auth")


def faults(schema: Schema, data: Any) -> Any:
    return schema.check(data)[1]


@pytest.mark.parametrize(
    "name", [file.name for file in (files("api") / "schema").iterdir() if file.name != "answers.json"]
)
def test_schema_files_are_schemas(name: str) -> None:
    """Each file is a JSON Schema, and its defaults are valid under their own rules."""
    schema = load(name.removesuffix(".json"))
    Draft202012Validator.check_schema(schema)  # type: ignore[arg-type]
    defaults = fill_defaults(schema, {})

    assert [] == [
        error.message for error in Draft202012Validator(schema).iter_errors(defaults) if error.validator != "required"
    ]


@pytest.mark.parametrize(
    ("data", "key", "rule", "details"),
    [
        pytest.param(
            {}, "name", "required", {"message": "Field is required but missing", "value": "name"}, id="required"
        ),
        pytest.param(
            {"name": 1},
            "name",
            "type",
            {"message": "Value did not match type(s): string", "target": "string", "value": 1},
            id="type",
        ),
        pytest.param(
            {"name": "n", "provision": {"feature_keys": {"1": "x"}}},
            "provision.feature_keys.1",
            "type",
            {"message": "Value did not match type(s): object, null", "target": "object, null", "value": "x"},
            id="several-types",
        ),
        pytest.param(
            {"name": ""},
            "name",
            "minLength",
            {"message": "String must be at least 1 characters", "target": 1, "cause": "", "value": ""},
            id="min-length",
        ),
        pytest.param(
            {"name": "n", "sip": {"username": "x" * 33}},
            "sip.username",
            "maxLength",
            {
                "message": "String must not be more than 32 characters",
                "target": 32,
                "cause": "x" * 33,
                "value": "x" * 33,
            },
            id="max-length",
        ),
        pytest.param(
            {"name": "n", "caller_id_options": {"outbound_privacy": "some"}},
            "caller_id_options.outbound_privacy",
            "enum",
            {
                "message": "Value not found in enumerated list of values",
                "target": ["full", "name", "number", "none"],
                "value": "some",
            },
            id="enum",
        ),
        pytest.param(
            {"name": "n", "metaflows": {"digit_timeout": -1}},
            "metaflows.digit_timeout",
            "minimum",
            {"message": "Value must be at least 0", "target": 0, "value": -1},
            id="minimum",
        ),
        pytest.param(
            {"name": "n", "provision": {"feature_keys": {"1": {"type": "parking", "value": 11}}}},
            "provision.feature_keys.1.value",
            "maximum",
            {"message": "Value must be at most 10", "target": 10, "value": 11},
            id="maximum",
        ),
        pytest.param(
            {"name": "n", "media": {"audio": {"codecs": ["PCMU", "PCMU"]}}},
            "media.audio.codecs",
            "uniqueItems",
            {"message": "List of items is not unique", "value": ["PCMU", "PCMU"]},
            id="unique-items",
        ),
        pytest.param(
            {"name": "n", "ringtones": {"internal": "a\r\nX-Evil: yes"}},
            "ringtones.internal",
            "pattern",
            {
                "message": r"Failed to match pattern '^[^\x00-\x1f\x7f]*$'",
                "target": r"^[^\x00-\x1f\x7f]*$",
                "value": "a\r\nX-Evil: yes",
            },
            id="pattern",
        ),
        pytest.param(
            {"name": "n", "sip": {"custom_sip_headers": {"Bad Name": "x"}}},
            "sip.custom_sip_headers.Bad Name",
            "additionalProperties",
            {
                "message": "Strict checking of data is enabled; only include schema-defined properties",
                "value": "x",
            },
            id="additional-properties",
        ),
    ],
)
def test_rules_are_told_as_kazoo_does(data: Any, key: str, rule: str, details: Any) -> None:
    """A broken rule is told under its flattened key with its own details."""
    assert {key: {rule: details}} == faults(DEVICE, data)


def test_all_rules_are_told_together() -> None:
    """Nothing hides behind the first fault; list indexes are part of the key, dots in keys are not."""
    data = {
        "media": {"audio": {"codecs": ["PCMU", "none"]}},
        "sip": {"password": "1", "custom_sip_headers": {"a.b": 1}},
        "enabled": "perhaps",
    }
    found = faults(DEVICE, data)

    assert set(found) == {
        "name",
        "media.audio.codecs.1",
        "sip.password",
        "sip.custom_sip_headers.a%2Eb",
        "enabled",
    }


@pytest.mark.parametrize("text", ["a@b\n", "caf\u00e9", "a b"])
def test_patterns_mean_what_they_mean_in_a_browser(text: str) -> None:
    r"""In ECMA-262 `$` is the very end and `\w` is ASCII."""
    assert "pattern" in faults(USER, {"first_name": "A", "last_name": "B", "username": text})["username"]
    assert to_python("^a$") == r"(?a)^a\Z"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        pytest.param({"enabled": "true"}, {"enabled": True}, id="true"),
        pytest.param({"enabled": "FALSE"}, {"enabled": False}, id="false"),
        pytest.param({"sip": {"expire_seconds": "360"}}, {"sip": {"expire_seconds": 360}}, id="integer"),
    ],
)
def test_text_is_cast(sent: Any, kept: Any) -> None:
    """A boolean or integer sent as text is stored as what it means."""
    data, found = DEVICE.check({"name": "n", **sent})

    assert found == {}
    for key, value in kept.items():
        assert data[key] == value or value.items() <= data[key].items()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param({"name": 1}, id="no-text-from-a-number"),
        pytest.param({"name": "n", "enabled": "yes"}, id="no-boolean"),
        pytest.param({"name": "n", "enabled": 1}, id="number-for-boolean"),
        pytest.param({"name": "n", "sip": {"expire_seconds": "1.5"}}, id="no-integer"),
        pytest.param({"name": "n", "sip": {"expire_seconds": "9" * 5000}}, id="endless-integer"),
        pytest.param({"name": "n", "sip": {"expire_seconds": "99999999999999999999"}}, id="integer-beyond-64-bits"),
        pytest.param({"name": "n", "outbound_flags": "a"}, id="no-list"),
    ],
)
def test_what_cannot_be_cast_is_refused(sent: Any) -> None:
    """Only what a cast makes valid is let pass."""
    assert any("type" in rules for rules in faults(DEVICE, sent).values())


def test_defaults_reach_into_objects_that_were_sent() -> None:
    """A default is put in at every level, and nothing that was sent is changed or lost."""
    sent: Any = {"name": "n", "media": {"audio": {}, "fax_option": True, "ours": 1}, "call_forward": {"enabled": True}}
    before = orjson.dumps(sent)
    data, _ = DEVICE.check(sent)

    assert before == orjson.dumps(sent)
    assert data["media"] == {
        "audio": {"codecs": ["PCMU"]},
        "encryption": {"enforce_security": False, "methods": []},
        "fax_option": True,
        "ours": 1,
        "video": {"codecs": []},
    }
    assert data["call_forward"] == {
        "direct_calls_only": False,
        "enabled": True,
        "failover": False,
        "ignore_early_media": True,
        "keep_caller_id": True,
        "require_keypress": True,
        "substitute": True,
    }


def test_defaults_are_not_shared() -> None:
    """What one request changes in its defaults, no other sees."""
    first, _ = DEVICE.check({"name": "n"})
    first["media"]["audio"]["codecs"].append("PCMA")  # type: ignore[index,call-overload,union-attr]
    second, _ = DEVICE.check({"name": "n"})

    assert second["media"]["audio"]["codecs"] == ["PCMU"]  # type: ignore[index,call-overload]


def test_strict_schema_refuses_other_keys() -> None:
    """api_auth takes nothing but the key."""
    found = faults(API_AUTH, {"api_key": "x", "restrictions": {}})

    assert found["api_key"]["minLength"]["target"] == 64
    assert "additionalProperties" in found["restrictions"]


@pytest.mark.parametrize(
    ("email", "good"), [("a@b", True), ("a@b@c", False), ("@b", False), ("a@", False), ("ab", False)]
)
def test_email(email: str, good: bool) -> None:
    """An e-mail address has one @ with something on both sides."""
    found = faults(USER, {"first_name": "A", "last_name": "B", "email": email})

    assert (found == {}) is good
    assert good or found["email"]["wrong_format"]["value"] == email


def test_flatten() -> None:
    """Steps are joined with dots, and a dot in a key is escaped."""
    assert flatten(["a", 0, "b.c"]) == "a.0.b%2Ec"
