"""Reads vendor tables: TOML, of the form that `vendors.toml` tells. Every fault is found before any is reported."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from config.settings import Fault
from sip.headers import TOKEN, header_name
from sip.notify import notify_faults
from sip.vendor import Mode, NotifyForm, Quirk, Vendor

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from enum import Enum

    _E = TypeVar("_E", bound=Enum)

UNKNOWN: Final = "unknown"
"""The row for phones that no other is for; its auto-answer headers stand below those of all others."""

Row: TypeAlias = "dict[str, object]"

_PLACEHOLDER = re.compile(r"\{[a-z_]+\}")
_KEYS: Final = frozenset({
    "title", "user_agent", "resync", "reboot", "check_sync", "challenges", "auto_answer", "auto_answer_uri", "quirks",
    "setting", "confidence", "source",
})  # fmt: skip
_FORM_KEYS: Final = frozenset({"event", "subscription_state", "content_type", "body", "headers"})
_PATTERNS: Final = {
    "subscription_state": re.compile(r"(active|pending|terminated)(;[a-z-]+=[A-Za-z0-9-]+)*\Z"),
    "auto_answer_uri": re.compile(r"([A-Za-z0-9_-]+(=[A-Za-z0-9._-]+)?)?\Z"),
    "confidence": re.compile(r"[ABC]?\Z"),
}


class BadVendorTable(Exception):
    """The vendor table cannot be used; `faults` has every reason."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = tuple(faults)


def read_rows(text: str) -> dict[str, Row]:
    """Return the rows of a file by name, in order and not yet looked into. Raises BadVendorTable."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadVendorTable([Fault("vendor", f"not TOML: {error}")]) from None
    faults = [Fault(key, "is not known; every row is a table [vendor.NAME]") for key in data if key != "vendor"]
    rows = data.get("vendor", {})
    if not isinstance(rows, dict):
        raise BadVendorTable([*faults, Fault("vendor", "must be a table")])
    faults += [Fault(f"vendor.{name}", "must be a table") for name, row in rows.items() if not isinstance(row, dict)]
    if faults:
        raise BadVendorTable(faults)
    return rows


def build_vendors(rows: Mapping[str, Row]) -> tuple[Vendor, ...]:
    """Return the vendors of the rows, in order. Raises BadVendorTable."""
    faults: list[Fault] = []
    below = _Table(f"vendor.{UNKNOWN}", rows.get(UNKNOWN, {}), []).headers("auto_answer")
    vendors = tuple(_vendor(name, _Table(f"vendor.{name}", row, faults), below) for name, row in rows.items())
    if UNKNOWN not in rows:
        faults.append(Fault(f"vendor.{UNKNOWN}", "is missing"))
    if faults:
        raise BadVendorTable(faults)
    return vendors


class _Table:
    """Reads the keys of one table, and notes what is wrong with them."""

    def __init__(self, path: str, data: Mapping[str, object], faults: list[Fault]) -> None:
        self._path = path
        self._data = data
        self._faults = faults

    def fault(self, key: str, message: str) -> None:
        self._faults.append(Fault(f"{self._path}.{key}", message))

    def has(self, key: str) -> bool:
        return key in self._data

    def only(self, known: Iterable[str]) -> None:
        for key in sorted(self._data.keys() - set(known)):
            self.fault(key, "is not known")

    def text(self, key: str, default: str = "") -> str:
        value = self._data.get(key, default)
        if not isinstance(value, str):
            self.fault(key, "must be text")
            return default
        if key in _PATTERNS and not _PATTERNS[key].match(value):
            self.fault(key, f"cannot be {value!r}")
        return value

    def flag(self, key: str) -> bool:
        value = self._data.get(key, False)
        if not isinstance(value, bool):
            self.fault(key, "must be true or false")
        return value is True

    def choice(self, key: str, default: _E) -> _E:
        values = {item.value: item for item in type(default)}
        value = self._data.get(key, default.value)
        if not isinstance(value, str) or value not in values:
            self.fault(key, f"must be one of {', '.join(values)}")
            return default
        return values[value]

    def quirks(self, key: str) -> frozenset[Quirk]:
        known = {item.value: item for item in Quirk}
        value = self._data.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) and item in known for item in value):
            self.fault(key, f"must be a list out of {', '.join(known)}")
            return frozenset()
        return frozenset(known[item] for item in value)

    def pattern(self, key: str) -> re.Pattern[str] | None:
        text = self.text(key)
        if not text:
            self.fault(key, "is missing")
            return None
        try:
            return re.compile(text)
        except re.error as error:
            self.fault(key, f"is no regular expression: {error}")
            return None

    def headers(self, key: str, placeholder: str = "{host}") -> dict[str, str]:
        value = self._data.get(key, {})
        if not isinstance(value, dict):
            self.fault(key, "must be a table of header names and values")
            return {}
        good: dict[str, str] = {}
        for name, text in value.items():
            if not TOKEN.match(name) or not isinstance(text, str) or not text.isprintable():
                self.fault(f"{key}.{name}", "must be a header name and one line of text")
            elif strange := set(_PLACEHOLDER.findall(text)) - {placeholder}:
                self.fault(f"{key}.{name}", f"has {', '.join(sorted(strange))}, which is not known")
            else:
                good[header_name(name)] = text
        return good

    def form(self, key: str) -> NotifyForm | None:
        value = self._data.get(key)
        if value is None:
            return None
        if isinstance(value, str):
            value = {"event": value}
        if not isinstance(value, dict):
            self.fault(key, "must be an Event or a table")
            return None
        return _form(_Table(f"{self._path}.{key}", value, self._faults))


def _vendor(name: str, table: _Table, below: Mapping[str, str]) -> Vendor:
    table.only(_KEYS)
    headers = {**below, **table.headers("auto_answer")}
    vendor = Vendor(
        name=name,
        title=table.text("title", name),
        user_agent=None if name == UNKNOWN else table.pattern("user_agent"),
        resync=table.form("resync"),
        reboot=table.form("reboot"),
        check_sync=table.choice("check_sync", Mode.RESYNC),
        challenges=table.flag("challenges"),
        quirks=table.quirks("quirks"),
        auto_answer=tuple(item for item in headers.items() if item[1]),
        auto_answer_uri=table.text("auto_answer_uri"),
        setting=table.text("setting"),
        confidence=table.text("confidence"),
        source=table.text("source"),
    )
    if vendor.form() is None and not table.has(vendor.check_sync.value):
        table.fault(vendor.check_sync.value, "is missing, and check_sync asks for it")
    return vendor


def _form(table: _Table) -> NotifyForm:
    table.only(_FORM_KEYS)
    form = NotifyForm(
        event=table.text("event"),
        subscription_state=table.text("subscription_state", "terminated"),
        content_type=table.text("content_type"),
        body=table.text("body"),
        headers=tuple(table.headers("headers", "{call_id}").items()),
    )
    for key, message in notify_faults(
        event=form.event, content_type=form.content_type, body=form.body.encode()
    ).items():
        table.fault(key, message)
    if strange := set(_PLACEHOLDER.findall(form.body)) - {"{call_id}"}:
        table.fault("body", f"has {', '.join(sorted(strange))}, which is not known")
    return form
