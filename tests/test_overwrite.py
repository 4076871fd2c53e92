"""What a device's phones are told when another one registers in their place (contract 6.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from notify_rig import Rig

from api.ports import Draft, Kind
from daemon.overwrite import OverwriteNotices

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from api.ports import Document


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    rig = await Rig(tmp_path / "roost.db").start()
    notices = OverwriteNotices(rig.endpoint, rig.presence, rig.directory)
    rig.presence.subscribe(notices.happened)
    yield rig
    await notices.close()
    await rig.end()


async def device(rig: Rig, *, tells: bool) -> Document:
    sip = {"username": "bob", "password": "secret"}
    data = {"name": "n", "sip": sip, "register_overwrite_notify": tells}
    return await rig.store.documents.create(Draft(Kind.DEVICE, rig.account_id, "d", {**data}))


async def test_both_phones_are_told(rig: Rig) -> None:
    """The old one who took its place, the new one whose place it took."""
    bob = await device(rig, tells=True)
    old = (await rig.phone(bob)).answers(200)
    new = (await rig.phone(bob)).answers(401, 200)
    replaced, overwrote = await old.request(), await new.request(2)

    assert replaced.one("Event") == overwrote.one("Event") == "registration-overwrite"
    assert replaced.one("Content-Type") == "text/plain"
    assert replaced.body == f"Replaced-By:<{new.contact}>".encode()
    assert overwrote.body == f"Overwrote:<{old.contact}>".encode()
    assert new.authorized == [True]


async def test_the_latest_of_several_is_the_one_replaced(rig: Rig) -> None:
    """Kazoo keeps one contact; of ours that is the last that registered."""
    bob = await device(rig, tells=True)
    first = (await rig.phone(bob)).answers(200, 200)
    second = (await rig.phone(bob)).answers(200, 200)
    third = (await rig.phone(bob)).answers(200)

    assert (await third.request()).body == f"Overwrote:<{second.contact}>".encode()
    assert (await second.request(2)).body == f"Replaced-By:<{third.contact}>".encode()
    assert len(first.requests) == 1


async def test_nobody_is_told_without_reason(rig: Rig) -> None:
    """Not of a first phone, nor of a refresh, nor for a device that does not ask for it."""
    quiet = await device(rig, tells=False)
    phone = (await rig.phone(quiet)).answers(200)
    other = (await rig.phone(quiet)).answers(200)
    phone.unregister()
    data = {**quiet.data, "register_overwrite_notify": True}
    bob = await rig.store.documents.replace(Draft(Kind.DEVICE, rig.account_id, "d", data), revision=quiet.revision)
    other.register("again")
    third = (await rig.phone(bob)).answers(200)
    await third.request()

    assert phone.requests == []
    assert len(other.requests) == 1
