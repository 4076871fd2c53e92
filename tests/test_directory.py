"""What SIP knows of the documents."""

from __future__ import annotations

import pytest

from api.ports import Document, JsonObject, Kind
from daemon.directory import Directory, Standing
from sip.uri import Aor


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
    found = directory.find(Aor.of("bob", "ACME.test"))

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
