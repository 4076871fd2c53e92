"""Reads one value: from TOML or from the text of an environment variable, checked against the key's type and rule.

Rule: the text of a fault is a sentence for the operator, and never shows a secret.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, get_args, get_origin

from config.listen import HostPort, Listener

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from config.settings import Rule

WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
"""How an environment variable says a boolean."""


class BadValue(ValueError):
    """The value is not what the key can hold, and why."""


def read_value(hint: Any, raw: object, rule: Rule) -> object:
    """Return the TOML value as the key's type has it. Raises ValueError."""
    if get_origin(hint) is tuple:
        if not isinstance(raw, list):
            raise BadValue(f"must be a list, not {_kind(raw)}")
        return tuple(read_value(get_args(hint)[0], each, rule) for each in raw)
    return _READERS[hint](raw, rule)


def decode_text(hint: Any, text: str) -> object:
    """Return the text of an environment variable as TOML would have given it; a list is split at its commas.

    Raises ValueError.
    """
    if get_origin(hint) is tuple:
        return [decode_text(get_args(hint)[0], part.strip()) for part in text.split(",") if part.strip()]
    return _DECODERS[hint](text) if hint in _DECODERS else text


def to_toml(value: object) -> str:
    """Return the value as a TOML file has it."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(to_toml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (int, float)) else json.dumps(str(value), ensure_ascii=False)


def _read_text(raw: object, rule: Rule) -> str:
    if not isinstance(raw, str):
        raise BadValue(f"must be a string, not {_kind(raw)}")
    shown = "that" if rule.secret else repr(raw)
    if rule.choices and raw not in rule.choices:
        raise BadValue(f"must be one of {', '.join(rule.choices)}, not {shown}")
    if rule.pattern and raw and re.fullmatch(rule.pattern, raw, re.ASCII) is None:
        raise BadValue(f"must look like {rule.example or rule.pattern}, not like {shown}")
    if any(ord(character) < 0x20 for character in raw):
        raise BadValue("must not contain control characters")
    return raw


def _read_flag(raw: object, _rule: Rule) -> bool:
    if not isinstance(raw, bool):
        raise BadValue(f"must be true or false, not {_kind(raw)}")
    return raw


def _read_integer(raw: object, rule: Rule) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int):
        raise BadValue(f"must be a whole number, not {_kind(raw)}")
    _check_range(raw, rule)
    return raw


def _read_number(raw: object, rule: Rule) -> float:
    if isinstance(raw, bool) or not isinstance(raw, (int, float)) or raw != raw:
        raise BadValue(f"must be a number, not {_kind(raw)}")
    _check_range(raw, rule)
    return float(raw)


def _check_range(value: float, rule: Rule) -> None:
    if rule.least is not None and value < rule.least:
        raise BadValue(f"must be at least {rule.least}, not {value}")
    if rule.most is not None and value > rule.most:
        raise BadValue(f"must be at most {rule.most}, not {value}")


def _read_listener(raw: object, rule: Rule) -> Listener:
    return Listener.parse(_read_text(raw, rule))


def _read_host_port(raw: object, rule: Rule) -> HostPort:
    return HostPort.parse(_read_text(raw, rule))


def _decode_integer(text: str) -> int:
    if re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII) is None:
        raise BadValue("must be a whole number")
    return int(text)


def _decode_number(text: str) -> float:
    if re.fullmatch(r"[+-]?\d{1,18}(\.\d{1,18})?", text, re.ASCII) is None:
        raise BadValue("must be a number")
    return float(text)


def _decode_flag(text: str) -> bool:
    if text.lower() not in WORDS:
        raise BadValue(f"must be one of {', '.join(WORDS)}")
    return WORDS[text.lower()]


def _kind(raw: object) -> str:
    return _KINDS.get(type(raw), "a date or time")


_READERS: Mapping[Any, Callable[[object, Rule], object]] = {
    str: _read_text,
    bool: _read_flag,
    int: _read_integer,
    float: _read_number,
    Listener: _read_listener,
    HostPort: _read_host_port,
}

_DECODERS: Mapping[Any, Callable[[str], object]] = {bool: _decode_flag, int: _decode_integer, float: _decode_number}

_KINDS: Mapping[type, str] = {
    str: "a string",
    bool: "a boolean",
    int: "a whole number",
    float: "a number with a fraction",
    list: "a list",
    dict: "a table",
}
