"""Devices and users as Kazoo writes them."""

from __future__ import annotations

import json

import pytest

from api.ports import Kind
from daemon.importing import Unreadable
from daemon.json_documents import read_json, write_json

DEVICE = {"name": "Ann", "sip": {"username": "1001"}}
USER = {"first_name": "Ann", "last_name": "Lee", "username": "ann"}
DATABASE = {
    **DEVICE,
    "_id": "a" * 32,
    "_rev": "3-b",
    "pvt_type": "device",
    "pvt_account_id": "c" * 32,
    "pvt_deleted": False,
}


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(DEVICE, id="document"),
        pytest.param([DEVICE], id="list"),
        pytest.param({"data": DEVICE, "status": "success", "auth_token": "x"}, id="envelope"),
        pytest.param({"data": [DEVICE], "page_size": 1}, id="envelope-of-a-list"),
        pytest.param({"total_rows": 1, "rows": [{"id": "x", "doc": {**DEVICE, "pvt_type": "device"}}]}, id="view"),
        pytest.param({"devices": [DEVICE]}, id="collections"),
        pytest.param({"data": {"devices": [DEVICE], "users": []}}, id="export"),
    ],
)
def test_wherever_the_documents_stand(value: object) -> None:
    """The device is found in it."""
    found = read_json(b"\xef\xbb\xbf" + json.dumps(value).encode())

    assert [(row.kind, row.data) for row in found.rows] == [(Kind.DEVICE, DEVICE)]
    assert found.faults == []


def test_a_document_of_the_database_keeps_its_id_and_nothing_private() -> None:
    """And says by itself what it is."""
    found = read_json(json.dumps(DATABASE).encode())

    assert found.rows[0].data == {**DEVICE, "id": "a" * 32}
    assert found.rows[0].place == "document 1 (Ann)"


def test_a_user_keeps_the_login() -> None:
    """Kazoo has the password as a hash alone, which our API takes as `credentials`."""
    found = read_json(json.dumps([{**USER, "pvt_md5_auth": "0" * 32}]).encode())

    assert [(row.kind, row.data) for row in found.rows] == [(Kind.USER, {**USER, "credentials": "0" * 32})]


@pytest.mark.parametrize(
    ("item", "field", "message"),
    [
        pytest.param({"pvt_type": "callflow", "numbers": ["1"]}, "pvt_type", "neither a device", id="callflow"),
        pytest.param({"name": "x"}, "", "add pvt_type", id="unknown"),
        pytest.param({"id": "a", "name": "x", "username": "1", "mac_address": ""}, "sip", "row of a listing", id="row"),
        pytest.param("text", "", "no document", id="text"),
    ],
)  # fmt: skip
def test_what_is_no_device_or_user_is_a_fault(item: object, field: str, message: str) -> None:
    """Told by its number, and its name where it has one."""
    (fault,) = read_json(json.dumps([DEVICE, item]).encode()).faults

    assert fault.place.startswith("document 2")
    assert fault.field == field
    assert message in fault.message


def test_deleted_documents_are_passed_over() -> None:
    """A view of the database has them too."""
    found = read_json(json.dumps([{**DATABASE, "pvt_deleted": True}]).encode())

    assert (found.rows, found.faults, len(found.notes)) == ([], [], 1)


def test_broken_json_says_where() -> None:
    """Line and column."""
    with pytest.raises(Unreadable, match="line 2 column"):
        read_json(b'{"name":\n "x"')


def test_what_is_written_is_read_again() -> None:
    """Users and devices keep their kinds, whatever they look like."""
    found = read_json(write_json([DEVICE], [USER]).encode())

    assert [(row.kind, row.data) for row in found.rows] == [(Kind.DEVICE, DEVICE), (Kind.USER, USER)]
