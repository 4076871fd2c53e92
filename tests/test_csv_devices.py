"""Devices as spreadsheets write them."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pytest

from api.device_rules import DEVICE
from daemon.csv_devices import ALIASES, COLUMNS, read_csv, write_csv
from daemon.importing import FileFault, Unreadable

if TYPE_CHECKING:
    from api.ports import JsonObject

ANN = {"name": "Ann", "sip": {"username": "1001"}}


def only(content: str | bytes) -> JsonObject:
    """Return the one device that the content has, without a fault."""
    found = read_csv(content.encode() if isinstance(content, str) else content)
    assert found.faults == []
    ((row),) = found.rows
    return row.data


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("name,username\nAnn,1001\n", id="plain"),
        pytest.param("name;username\r\nAnn;1001\r\n", id="semicolon-and-crlf"),
        pytest.param("name\tusername\nAnn\t1001", id="tab-and-no-last-newline"),
        pytest.param("sep=|\nname|username\nAnn|1001\n", id="separator-declared"),
        pytest.param("Device Name, SIP User-Name \nAnn,1001\n", id="names-spelt-otherwise"),
        pytest.param('"Label","EXTENSION"\n"Ann","=""1001"""\n', id="text-formula"),
        pytest.param("name,username,,\nAnn,1001,,\n,,,\n\n", id="empty-columns-and-rows"),
        pytest.param("name,username,password\n Ann ,1001\u00a0,\n", id="spaces-around"),
        pytest.param("name,sip.username\nAnn,1001\n", id="path-of-a-setting"),
    ],
)
def test_habits_of_spreadsheets(content: str) -> None:
    """All of these are the same device."""

    assert only(content) == ANN
    assert only(b"\xef\xbb\xbf" + content.encode()) == ANN
    assert only(content.encode("utf-16")) == ANN


def test_text_that_is_no_utf8_is_read_as_windows_1252_and_told() -> None:
    """What Excel calls CSV, in the west of Europe."""
    found = read_csv("name;username\nMüller;1001\n".encode("cp1252"))

    assert found.rows[0].data["name"] == "Müller"
    assert "Windows-1252" in found.notes[0]


@pytest.mark.parametrize(
    ("column", "cell", "expected"),
    [
        pytest.param("enabled", "FALSCH", {"enabled": False}, id="german-boolean"),
        pytest.param("enabled", "1", {"enabled": True}, id="one"),
        pytest.param("enabled", "perhaps", {"enabled": "perhaps"}, id="left-to-the-schema"),
        pytest.param("codecs", "PCMA G722", {"media": {"audio": {"codecs": ["PCMA", "G722"]}}}, id="codecs"),
        pytest.param("codecs", '"PCMA;G722"', {"media": {"audio": {"codecs": ["PCMA", "G722"]}}}, id="by-semicolon"),
        pytest.param("name", "'=A1", {"name": "=A1"}, id="apostrophe-is-taken-away"),
        pytest.param("name", "'quoted'", {"name": "'quoted'"}, id="apostrophe-of-its-own"),
        pytest.param("external_number", "+49301234", {"caller_id": {"external": {"number": "+49301234"}}}, id="plus"),
        pytest.param("provision.combo_keys", '"{""1"":{""type"":""line""}}"',
                     {"provision": {"combo_keys": {"1": {"type": "line"}}}}, id="json"),
    ],
)  # fmt: skip
def test_cells(column: str, cell: str, expected: JsonObject) -> None:
    """A cell is what its setting's type makes of it."""

    assert only(f"{column}\n{cell}\n") == expected


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        pytest.param("mac\n\n1.12234E+11\n", FileFault("line 3", "mac_address", "that a spreadsheet"), id="rounded"),
        pytest.param("name\nAnn,1\n", FileFault("line 2", "", "more cells than"), id="more-cells"),
        pytest.param('flags\n"[1,"\n', FileFault("line 2", "flags", "begins as JSON"), id="broken-json"),
        pytest.param('name,flags\na,\n"b\nb",\n,"{"\n', FileFault("line 5", "flags", "begins as JSON"), id="line"),
    ],
)  # fmt: skip
def test_faults_of_the_file_have_their_line(content: str, fault: FileFault) -> None:
    """The line is where the row begins, whatever line breaks are quoted before."""
    found = read_csv(content.encode())
    (told,) = found.faults

    assert (told.place, told.field) == (fault.place, fault.field)
    assert fault.message in told.message


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"name,colour\n", "no column 'colour'", id="unknown-column"),
        pytest.param(b"user,sip.username\n", "two columns for username", id="twice"),
        pytest.param(b"", "no names of columns", id="empty"),
        pytest.param(b'name\n"Ann', "line 2 is no CSV", id="open-quote"),
        pytest.param(b"\xff\xfea", "is no UTF-16", id="half-a-character"),
        pytest.param(b"name\n\x81\x8d\n", "neither UTF-8 nor Windows-1252", id="binary"),
    ],
)
def test_files_that_cannot_be_read(content: bytes, reason: str) -> None:
    """One sentence says why."""
    with pytest.raises(Unreadable, match=reason):
        read_csv(content)


def test_aliases_are_of_columns() -> None:
    """And none of them hides a column."""

    assert set(ALIASES.values()) <= set(COLUMNS)
    assert not set(ALIASES) & {name.replace("_", "") for name in COLUMNS}


def test_what_is_written_is_read_again() -> None:
    """All settings that the schema knows, with cells that a spreadsheet would take for formulas."""
    devices: list[JsonObject] = []
    for data in (
        {"id": "a" * 32, "name": "=cmd|' /C calc'!A0", "sip": {"username": "1001", "password": "-x,;\"y'"}},
        {
            "id": "b" * 32,
            "name": "[odd",
            "enabled": False,
            "sip": {"username": "1002", "custom_sip_headers": {"in": {"X-A": "1"}}},
            "media": {"audio": {"codecs": ["G722", "PCMA"]}, "encryption": {"methods": ["srtp"]}},
            "caller_id": {"external": {"number": "+4930123"}},
            "provision": {"feature_keys": {"0": {"type": "parking", "value": 3}}},
        },
    ):
        device, faults = DEVICE.check(data)
        assert faults == {}
        devices.append(device)
    text = write_csv(devices)
    read = [DEVICE.check(row.data)[0] for row in read_csv(text.encode()).rows]

    assert read == devices
    cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "@", "-"))]
