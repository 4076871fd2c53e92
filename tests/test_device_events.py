"""What is told of a phone: as events when something happens, and as its status at one moment."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import orjson
import pytest
from notify_rig import Events, Rig

from api.ports import GREGORIAN_EPOCH, DeviceStatus, Draft, Kind
from daemon.device_events import DeviceEvents
from daemon.presence import Presence, now
from daemon.status import DeviceStatuses
from sip.location import BindingChanges, Reach
from sip.vendors import VendorTable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from api.ports import Document

YEALINK = "Yealink SIP-T46U 108.86.0.40"


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    rig = await Rig(tmp_path / "roost.db").start()
    yield rig
    await rig.end()


def listen(rig: Rig) -> Events:
    events = Events()
    rig.presence.subscribe(DeviceEvents(events, rig.presence, rig.directory, VendorTable.shipped()).happened)
    return events


def statuses(rig: Rig, *in_call: str) -> DeviceStatuses:
    return DeviceStatuses(rig.presence, VendorTable.shipped(), lambda _: set(in_call))


async def quiet_device(rig: Rig) -> Document:
    sip = {"username": "quiet", "password": "secret"}
    data = {"name": "n", "sip": sip, "suppress_unregister_notifications": True}
    return await rig.store.documents.create(Draft(Kind.DEVICE, rig.account_id, "q", {**data}))


async def test_what_happens_to_a_registration(rig: Rig) -> None:
    """A refresh is no event; what a listener needs to know the device is in each."""
    events = listen(rig)
    phone = await rig.phone(await rig.device(), YEALINK)
    (binding,) = rig.presence.bindings(rig.account_id, "d1")
    rig.presence.lost(binding)
    rig.presence.heard(binding, 0.0125)
    refreshed = replace(phone.binding(), first_registered=now() - 60)
    rig.presence.change(BindingChanges(put=(refreshed,)))
    phone.unregister()

    assert events.names == ["device.registered", "device.unreachable", "device.reachable", "device.unregistered"]
    assert events.data[0] == {
        "device_id": "d1",
        "username": "u-d1",
        "realm": "acme.test",
        "contact": phone.contact,
        "source": str(phone.address),
        "transport": "udp",
        "user_agent": YEALINK,
        "vendor": "yealink",
        "registered": True,
    }
    assert events.data[2]["latency_ms"] == 12.5
    assert events.data[3]["registered"] is False


async def test_an_expiry_is_told(rig: Rig) -> None:
    """By its own name."""
    events = listen(rig)
    phone = await rig.phone(await rig.device())
    over = replace(phone.binding(), expires_at=now() - 1)
    rig.presence.change(BindingChanges(put=(over,)))
    rig.presence.count(None)

    assert events.names[-1] == "device.expired"


async def test_one_contact_of_two_going_leaves_the_device_registered(rig: Rig) -> None:
    """Which the event says."""
    device = await rig.device()
    await rig.phone(device)
    events = listen(rig)
    (await rig.phone(device)).unregister()

    assert events.data[-1]["registered"] is True


async def test_a_device_may_keep_its_end_to_itself(rig: Rig) -> None:
    """`suppress_unregister_notifications` is for the end alone (contract 6.2)."""
    events = listen(rig)
    phone = await rig.phone(await quiet_device(rig))
    phone.fall_silent()
    phone.unregister()

    assert events.names == ["device.registered", "device.unreachable"]


async def test_a_restart_is_no_news(rig: Rig) -> None:
    """What was registered before is registered still."""
    await rig.phone(await rig.device())
    rig.presence.when_stored(lambda _failure: None)
    again = Presence(rig.store.bindings, rig.directory)
    assert await again.load() == 1
    events = Events()
    again.subscribe(DeviceEvents(events, again, rig.directory, VendorTable.shipped()).happened)
    (binding,) = again.bindings(rig.account_id, "d1")
    again.lost(binding)
    await again.close()

    assert events.names == ["device.unreachable"]


async def test_status_of_a_phone(rig: Rig) -> None:
    """All that is known; times are Gregorian seconds."""
    phone = await rig.phone(await rig.device(), YEALINK, instance="<urn:uuid:1>")
    (binding,) = rig.presence.bindings(rig.account_id, "d1")
    rig.presence.heard(binding, 0.0314)
    status, missing = statuses(rig, "d1").of(rig.account_id, ["d1", "none"])
    (contact,) = status["contacts"]
    registered_at, last_seen = contact.pop("registered_at"), contact.pop("last_seen")

    assert 3590 < contact.pop("expires_in") <= 3600
    assert abs(registered_at - time.time() - GREGORIAN_EPOCH) < 5
    assert abs(contact.pop("first_registered_at") - registered_at) <= 1
    assert last_seen >= registered_at
    assert contact == {
        "contact": phone.contact,
        "source": str(phone.address),
        "transport": "udp",
        "user_agent": YEALINK,
        "vendor": "yealink",
        "reachable": True,
        "latency_ms": 31.4,
        "path": [],
        "instance": "<urn:uuid:1>",
    }
    assert {**status, "contacts": []} == DeviceStatus(
        device_id="d1", registered=True, reachable=True, in_call=True, contacts=[]
    )
    assert missing == DeviceStatus(device_id="none", registered=False, reachable=None, in_call=False, contacts=[])


@pytest.mark.parametrize(
    ("reaches", "expected"),
    [
        pytest.param([Reach.UNREACHABLE, Reach.REACHABLE], True, id="one-answers"),
        pytest.param([Reach.UNREACHABLE, Reach.UNREACHABLE], False, id="none-answers"),
        pytest.param([Reach.UNREACHABLE, Reach.UNVERIFIED], None, id="one-not-asked-yet"),
    ],
)
async def test_reachability_of_a_device(rig: Rig, reaches: list[Reach], expected: bool | None) -> None:
    """That of its best contact; unknown stays unknown."""
    device = await rig.device()
    for reach in reaches:
        phone = await rig.phone(device)
        next(
            each for each in rig.presence.bindings(rig.account_id, "d1") if each.contact == phone.contact
        ).reach = reach

    assert statuses(rig).of(rig.account_id, ["d1"])[0]["reachable"] is expected


async def test_bytes_that_are_no_utf8_can_be_told(rig: Rig) -> None:
    """A phone may call itself anything; one of them must not take the list from everybody."""
    events = listen(rig)
    await rig.phone(await rig.device(), "Phone \udcff 1.0")
    orjson.dumps(list(statuses(rig).of(rig.account_id, ["d1"])))
    orjson.dumps(list(rig.presence.registrations(rig.account_id)))
    orjson.dumps(events.data[0])
