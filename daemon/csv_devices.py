"""Devices as CSV, as spreadsheets write and read it (RFC 4180, and what they make of it).

A column is one of `COLUMNS`, or the path of any setting of a device with dots (`provision.endpoint_brand`).
"""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Final

import orjson

from api.device_rules import DEVICE
from api.documents import at
from api.import_rules import OWNER, ImportRow
from api.ports import Kind
from api.schemas import fill_defaults
from daemon.importing import MAX_ROWS, FileFault, Found, Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from api.ports import Json, JsonObject

COLUMNS: Final[Mapping[str, str]] = {
    "id": "id",
    "name": "name",
    "username": "sip.username",
    "password": "sip.password",
    "realm": "sip.realm",
    "method": "sip.method",
    "ip": "sip.ip",
    "mac_address": "mac_address",
    "device_type": "device_type",
    "enabled": "enabled",
    "owner": OWNER,
    "owner_id": "owner_id",
    "presence_id": "presence_id",
    "internal_name": "caller_id.internal.name",
    "internal_number": "caller_id.internal.number",
    "external_name": "caller_id.external.name",
    "external_number": "caller_id.external.number",
    "emergency_name": "caller_id.emergency.name",
    "emergency_number": "caller_id.emergency.number",
    "codecs": "media.audio.codecs",
    "language": "language",
    "timezone": "timezone",
}
"""Columns, and the settings they are."""

ALIASES: Final[Mapping[str, str]] = {
    "deviceid": "id",
    "devicename": "name",
    "label": "name",
    "displayname": "name",
    "sipusername": "username",
    "sipuser": "username",
    "user": "username",
    "login": "username",
    "authuser": "username",
    "authname": "username",
    "extension": "username",
    "ext": "username",
    "sippassword": "password",
    "secret": "password",
    "sipsecret": "password",
    "pass": "password",
    "domain": "realm",
    "siprealm": "realm",
    "sipmethod": "method",
    "ipaddress": "ip",
    "sipip": "ip",
    "mac": "mac_address",
    "type": "device_type",
    "active": "enabled",
    "ownerusername": "owner",
    "calleridname": "external_name",
    "calleridnumber": "external_number",
    "codec": "codecs",
    "audiocodecs": "codecs",
}
"""Other names of columns, in small letters and digits alone."""

TRUE: Final = frozenset(
    {"true", "yes", "y", "1", "on", "x", "wahr", "ja", "vrai", "oui", "verdadero", "si", "sí", "vero"}
)
FALSE: Final = frozenset({"false", "no", "n", "0", "off", "falsch", "nein", "faux", "non", "falso"})
"""Booleans as spreadsheets write them in the languages that they speak most."""

_SEPARATORS: Final = ";,\t|"
_NOT_NAME: Final = re.compile(r"[\W_]", re.ASCII)
_FORMULA: Final = re.compile(r'="(.*)"')
_ROUNDED: Final = re.compile(r"[0-9][.,][0-9]+E\+[0-9]+", re.IGNORECASE)
_DANGEROUS: Final = re.compile(r"(?:[=@\-\t\r'\[{]|\+(?![0-9]+\Z))")
"""What a spreadsheet would run as a formula, or our own reader take for more than text; a number with + is neither."""
_BYTE_ORDER: Final = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_BY_NAME: Final = {**{_NOT_NAME.sub("", name): name for name in COLUMNS}, **ALIASES}
_SETTING_TO_NAME: Final = {setting: name for name, setting in COLUMNS.items()}


def read_csv(content: bytes) -> Found:
    """Read devices, the first line being the names of the columns. Raises Unreadable."""
    found = Found()
    text = _decode(content, found)
    first, separator = _first_line(text)
    lines = csv.reader(io.StringIO(text[first:], newline=""), delimiter=separator, strict=True)
    skipped = text.count("\n", 0, first)
    try:
        settings = _settings_of(next(lines, []))
        begin = lines.line_num + 1
        for cells in lines:
            if any(cell.strip() for cell in cells):
                _read_row(f"line {begin + skipped}", settings, cells, found)
            begin = lines.line_num + 1
            if len(found.rows) > MAX_ROWS:
                raise Unreadable(f"there are more than {MAX_ROWS} devices in it")
    except csv.Error as error:
        raise Unreadable(f"line {lines.line_num + skipped} is no CSV: {error}") from None
    return found


def write_csv(devices: Sequence[JsonObject]) -> str:
    """Return the devices as CSV: the columns in use, and what else has another value than it would have by default."""
    rows = [dict(_leaves(device)) for device in devices]
    defaults = dict(_leaves(fill_defaults(DEVICE.document, {})))
    used = {setting for row in rows for setting, value in row.items() if value != defaults.get(setting)}
    always = {"id", "name", "sip.username"}
    named = [setting for setting in COLUMNS.values() if setting in used | always]
    settings = [*named, *sorted(used.difference(named))]
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(_SETTING_TO_NAME.get(setting, setting) for setting in settings)
    writer.writerows([_cell(row.get(setting)) for setting in settings] for row in rows)
    return out.getvalue()


def _decode(content: bytes, found: Found) -> str:
    encoding = next((name for mark, name in _BYTE_ORDER.items() if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise Unreadable(f"it is no {encoding.upper()}, as its first bytes say: {error.reason}") from None
    try:
        text = content.decode("cp1252")
    except UnicodeDecodeError:
        raise Unreadable("its text is neither UTF-8 nor Windows-1252: save it as `CSV UTF-8`") from None
    found.notes.append("the file is not UTF-8 and was read as Windows-1252: look at its umlauts and accents")
    return text


def _first_line(text: str) -> tuple[int, str]:
    """Return where the names of the columns begin, and what stands between them."""
    end = text.find("\n") + 1 or len(text)
    declared = re.fullmatch(r"sep=(.)\r?\n?", text[:end], re.IGNORECASE)
    if declared:
        return end, declared[1]
    counts = {separator: text.count(separator, 0, end) for separator in _SEPARATORS}
    return 0, max(counts, key=lambda separator: counts[separator]) if any(counts.values()) else ","


def _settings_of(names: Sequence[str]) -> list[str]:
    """Return the settings that the columns are; empty where a column is to be passed over."""
    settings: list[str] = []
    for name in names:
        setting = _setting(name.strip())
        if setting is None:
            raise Unreadable(f"line 1: there is no column {name.strip()!r}; there are {', '.join(COLUMNS)}")
        if setting and setting in settings:
            raise Unreadable(f"line 1: there are two columns for {_SETTING_TO_NAME.get(setting, setting)}")
        settings.append(setting)
    if not any(settings):
        raise Unreadable("line 1 has no names of columns")
    return settings


def _setting(name: str) -> str | None:
    if not name:
        return ""
    known = _BY_NAME.get(_NOT_NAME.sub("", name.lower()))
    if known is not None:
        return COLUMNS[known]
    properties = DEVICE.document["properties"]
    assert isinstance(properties, dict)
    return name if name.partition(".")[0] in properties else None


def _read_row(place: str, settings: Sequence[str], cells: Sequence[str], found: Found) -> None:
    data: JsonObject = {}
    before = len(found.faults)
    if any(cell.strip() for cell in cells[len(settings) :]) or any(
        cell.strip() for setting, cell in zip(settings, cells, strict=False) if not setting
    ):
        found.faults.append(FileFault(place, "", "it has more cells than there are names of columns"))
    for setting, cell in zip(settings, cells, strict=False):
        text = cell.strip(" \t\r\n\xa0")
        if not text or not setting:
            continue
        try:
            _put(data, setting.split("."), _value(setting, text))
        except ValueError as error:
            found.faults.append(FileFault(place, setting, str(error)))
    if len(found.faults) == before:
        found.rows.append(ImportRow(place, Kind.DEVICE, data))


def _value(setting: str, text: str) -> Json:
    """Return what a cell means. Raises ValueError."""
    formula = _FORMULA.fullmatch(text)
    if formula:
        text = formula[1].replace('""', '"')
    elif _ROUNDED.fullmatch(text):
        raise ValueError(f"{text} is a number that a spreadsheet has rounded: format the column as text")
    elif text[0] == "'" and _DANGEROUS.match(text[1:]):
        return text[1:]
    elif text[0] in "[{":
        try:
            structure: Json = orjson.loads(text)
        except orjson.JSONDecodeError:
            raise ValueError("it begins as JSON does and is none") from None
        return structure
    wanted = _type_of(setting)
    if wanted == "boolean":
        return True if text.lower() in TRUE else False if text.lower() in FALSE else text
    if wanted == "array":
        return [part for part in re.split(r"[\s,;]+", text) if part]
    return text


def _type_of(setting: str) -> Json:
    rules: Json = DEVICE.document
    for part in setting.split("."):
        rules = at(rules, "properties", part)
    return at(rules, "type")


def _put(data: JsonObject, path: Sequence[str], value: Json) -> None:
    holder = data
    for step in path[:-1]:
        below = holder.setdefault(step, {})
        if not isinstance(below, dict):
            raise ValueError(f"{step} has a value already, so nothing can be below it")  # noqa: TRY004 - of the file
        holder = below
    holder[path[-1]] = value


def _leaves(value: JsonObject, rules: Json = DEVICE.document, path: str = "") -> Iterator[tuple[str, Json]]:
    """Yield the settings that have columns of their own; where the schema has no names, the object is one cell."""
    for key, item in value.items():
        below = at(rules, "properties", key)
        if isinstance(item, dict) and isinstance(at(below, "properties"), dict):
            yield from _leaves(item, below, f"{path}{key}.")
        elif item != {}:
            yield f"{path}{key}", item


def _cell(value: Json) -> str:
    if value is None:
        return ""
    if (
        isinstance(value, list)
        and value
        and all(isinstance(item, str) and re.fullmatch(r"[\w@.-]+", item) for item in value)
    ):
        return " ".join(str(item) for item in value)
    if not isinstance(value, str):
        return orjson.dumps(value).decode()
    return f"'{value}" if _DANGEROUS.match(value) else value
