"""What SIP knows of the documents."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING

import pytest

from api.ports import Document, Draft, JsonObject, Kind
from daemon.directory import Device, Directory, Standing
from sip.aor import Aor, aor_of
from sip.digest import Algorithm

if TYPE_CHECKING:
    from daemon.store import Store


def _document(kind: Kind, document_id: str, data: JsonObject, *, private: JsonObject | None = None) -> Document:
    return Document(kind, "acme", document_id, "1-a", 0, 0, data, private or {})


ACCOUNT = _document(Kind.ACCOUNT, "acme", {"realm": "Acme.Test"}, private={"pvt_superduper_admin": True})


def _device(device_id: str = "d1", **changes: object) -> Document:
    data: JsonObject = {"sip": {"username": "Bob", "password": "secret"}, "owner_id": "u1"}
    data.update(changes)  # type: ignore[arg-type] # the tests know their JSON
    return _document(Kind.DEVICE, device_id, data)


@pytest.fixture
def directory() -> Directory:
    directory = Directory()
    directory.changed(None, ACCOUNT)
    directory.changed(None, _device())
    return directory


def test_a_device_is_found_by_its_aor_without_case(directory: Directory) -> None:
    found = directory.find(aor_of("bob", "ACME.test"))

    assert found is not None
    assert found.device_id == "d1"
    assert directory.master_realm == "acme.test"
    assert directory.serves("acme.test")


def test_a_new_username_takes_the_old_ones_place(directory: Directory) -> None:
    directory.changed(_device(), _device(sip={"username": "alice", "password": "x"}))

    assert directory.find(Aor("bob@acme.test")) is None
    assert directory.find(Aor("alice@acme.test")) is not None


def test_a_deleted_device_is_forgotten_with_its_own_realm(directory: Directory) -> None:
    own = _device("d2", sip={"username": "carl", "password": "x", "realm": "own.test"})
    directory.changed(None, own)
    assert directory.serves("own.test")
    assert directory.aors("acme", "carl") == ["carl@acme.test", "carl@own.test"]

    directory.changed(own, None)
    assert not directory.serves("own.test")
    assert directory.find(Aor("carl@own.test")) is None


def test_a_new_account_realm_moves_its_devices(directory: Directory) -> None:
    directory.changed(ACCOUNT, _document(Kind.ACCOUNT, "acme", {"realm": "new.test"}))

    assert directory.find(Aor("bob@acme.test")) is None
    assert directory.find(Aor("bob@new.test")) is not None
    assert not directory.serves("acme.test")


@pytest.mark.parametrize(
    ("document", "standing"),
    [
        pytest.param(_device(enabled=False), Standing.DEVICE_DISABLED, id="device"),
        pytest.param(_document(Kind.USER, "u1", {"enabled": False}), Standing.OWNER_DISABLED, id="owner"),
        pytest.param(
            _document(Kind.ACCOUNT, "acme", {"realm": "acme.test", "enabled": False}),
            Standing.ACCOUNT_DISABLED,
            id="account",
        ),
    ],
)
def test_what_disables_a_device(directory: Directory, document: Document, standing: Standing) -> None:
    """Contract 5.12: the registrar refuses where the account, the device or its owner is disabled."""
    directory.changed(None, document)
    device = directory.device("acme", "d1")

    assert device is not None
    assert standing is directory.standing(device)


def test_an_owner_enabled_again_lets_its_devices_in(directory: Directory) -> None:
    directory.changed(None, _document(Kind.USER, "u1", {"enabled": False}))
    directory.changed(None, _document(Kind.USER, "u1", {"enabled": True}))
    device = directory.device("acme", "d1")

    assert device is not None
    assert directory.standing(device) is Standing.GOOD


def test_a_number_is_a_username_or_a_presence_id(directory: Directory) -> None:
    """A local device by SIP username, presence id or a short number."""
    directory.changed(None, _device("d2", sip={"username": "carl", "password": "x"}, presence_id="200"))

    assert [getattr(directory.find_number("acme", number), "device_id", None) for number in ("bob", "200", "9")] == [
        "d1",
        "d2",
        None,
    ]


def test_a_device_shows_no_password(directory: Directory) -> None:
    assert "secret" not in repr(directory.device("acme", "d1"))


ODD_DEVICES: dict[str, JsonObject] = {
    "plain": {"sip": {"username": "Bob", "password": '\u00fc \U0001f986 "\\'}, "owner_id": "u1", "presence_id": "200"},
    "own-realm": {"sip": {"username": "carl", "password": "x", "realm": "Own.Test", "digest": "SHA-256"}},
    "by-address": {"sip": {"method": "ip", "ip": "10.0.0.9", "username": "trunk"}},
    "address-of-none": {"sip": {"method": "password", "ip": "10.0.0.8", "username": "dan", "password": "y"}},
    "switches": {
        "sip": {"username": "eve", "password": "z"},
        "enabled": False,
        "suppress_unregister_notifications": True,
        "register_overwrite_notify": True,
    },
    "other-types": {"sip": {"username": "fay", "password": 7, "realm": {"a": 1}, "digest": []}, "enabled": "no"},
    "no-sip": {"name": "spare"},
    "sip-is-no-object": {"sip": "yes"},
}


async def test_what_is_loaded_is_what_changes_would_have_told(store: Store) -> None:
    """SQLite reads the same out of a document as we do."""
    account = await store.create_master("Master", "acme.test")
    loaded, told = Directory(), Directory()
    for document_id, data in ODD_DEVICES.items():
        await store.documents.create(Draft(Kind.DEVICE, account.account_id, document_id, data))
    gone = await store.documents.create(Draft(Kind.DEVICE, account.account_id, "gone", {"sip": {"username": "g"}}))
    await store.documents.delete(Kind.DEVICE, account.account_id, "gone", revision=gone.revision)
    for directory in (loaded, told):
        directory.changed(None, (await store.list_accounts())[0])
    await store.documents.scan([Kind.DEVICE], partial(told.changed, None))
    await loaded.load(store.documents)

    assert len(loaded) == len(told) == 6
    for device_id in (*ODD_DEVICES, "gone"):
        ours, theirs = (directory.device(account.account_id, device_id) for directory in (loaded, told))
        assert [_seen(ours)] == [_seen(theirs)]
    assert loaded.serves("own.test")
    assert loaded.find_number(account.account_id, "200") is loaded.find(Aor("bob@acme.test"))


def _seen(device: Device | None) -> list[object]:
    return [getattr(device, each.name) for each in fields(Device)] if device is not None else []


def test_a_realm_is_served_until_its_last_device_is_gone(directory: Directory) -> None:
    own = [_device(f"d{n}", sip={"username": f"u{n}", "password": "x", "realm": "own.test"}) for n in (2, 3)]
    for device in own:
        directory.changed(None, device)
    directory.changed(own[0], None)
    assert directory.serves("own.test")

    directory.changed(own[1], None)
    assert not directory.serves("own.test")


def test_a_device_answers_for_each_spelling_of_its_name(directory: Directory) -> None:
    """The HA1 that is kept is that of the spelling and the hash that were asked for last (RFC 7616 3.4.2)."""
    device = directory.device("acme", "d1")
    assert device is not None
    asked = [
        ("Bob", Algorithm.MD5),
        ("bob@acme.test", Algorithm.MD5),
        ("Bob", Algorithm.SHA256),
        ("Bob", Algorithm.MD5),
    ]

    assert [device.ha1(*each) for each in asked] == [each.hexdigest(f"{name}:acme.test:secret") for name, each in asked]
