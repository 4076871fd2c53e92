"""One value of each type: from TOML, and from an environment variable."""

from __future__ import annotations

from typing import Any

import pytest

from config.listen import HostPort, Listener
from config.settings import Rule
from config.values import BadValue, decode_text, read_value


@pytest.mark.parametrize(
    ("hint", "raw", "value"),
    [
        pytest.param(str, "x", "x", id="text"),
        pytest.param(bool, True, True, id="boolean"),
        pytest.param(int, 5, 5, id="integer"),
        pytest.param(float, 5, 5.0, id="integer-as-number"),
        pytest.param(tuple[str, ...], ["a", "b"], ("a", "b"), id="list"),
        pytest.param(HostPort, "127.0.0.1:1", HostPort("127.0.0.1", 1), id="address"),
        pytest.param(tuple[Listener, ...], ["udp:[::1]:1"], (Listener.parse("udp:[::1]:1"),), id="listeners"),
    ],
)
def test_value_is_read_by_its_type(hint: Any, raw: object, value: object) -> None:
    """A TOML value becomes what the field's type says."""

    assert value == read_value(hint, raw, Rule())


@pytest.mark.parametrize(
    ("hint", "raw", "rule", "complaint"),
    [
        pytest.param(str, 5, Rule(), "must be a string, not a whole number", id="integer-for-text"),
        pytest.param(str, "a\x00b", Rule(), "control characters", id="control-character"),
        pytest.param(str, "loud", Rule(choices=("a", "b")), "must be one of a, b, not 'loud'", id="not-a-choice"),
        pytest.param(str, "x", Rule(pattern="y+", example="yy"), "must look like yy, not like 'x'", id="pattern"),
        pytest.param(str, "x", Rule(pattern="y+", secret=True), r"not like that$", id="secret-is-not-shown"),
        pytest.param(int, True, Rule(), "must be a whole number, not a boolean", id="boolean-for-integer"),
        pytest.param(int, 1.5, Rule(), "not a number with a fraction", id="fraction-for-integer"),
        pytest.param(int, 0, Rule(least=1), "at least 1, not 0", id="too-low"),
        pytest.param(float, 9.5, Rule(most=9), "at most 9, not 9.5", id="too-high"),
        pytest.param(float, float("nan"), Rule(), "must be a number", id="not-a-number"),
        pytest.param(bool, 1, Rule(), "must be true or false, not a whole number", id="integer-for-boolean"),
        pytest.param(tuple[str, ...], "a", Rule(), "must be a list, not a string", id="text-for-list"),
        pytest.param(HostPort, ["x"], Rule(), "must be a string, not a list", id="list-for-address"),
    ],
)
def test_wrong_value_is_refused_with_a_reason(hint: Any, raw: object, rule: Rule, complaint: str) -> None:
    """What the key cannot hold is refused with a sentence that says why."""
    with pytest.raises(BadValue, match=complaint):
        read_value(hint, raw, rule)


@pytest.mark.parametrize(
    ("hint", "text", "raw"),
    [
        pytest.param(str, "a, b", "a, b", id="text-is-left-alone"),
        pytest.param(int, "-5", -5, id="integer"),
        pytest.param(float, "2.5", 2.5, id="number"),
        pytest.param(bool, "Yes", True, id="boolean"),
        pytest.param(tuple[int, ...], "1, 2,", [1, 2], id="list"),
        pytest.param(tuple[str, ...], "", [], id="empty-list"),
    ],
)
def test_environment_text_is_decoded(hint: Any, text: str, raw: object) -> None:
    """The text of a variable becomes what TOML would have given."""

    assert raw == decode_text(hint, text)


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        pytest.param(int, "1e3", id="integer"),
        pytest.param(float, "inf", id="number"),
        pytest.param(bool, "ja", id="boolean"),
    ],
)
def test_undecodable_text_is_refused(hint: Any, text: str) -> None:
    """A variable that cannot be read as the key's type is a fault."""
    with pytest.raises(BadValue, match="must be"):
        decode_text(hint, text)
