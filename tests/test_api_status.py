"""devices/status, plain and in detail (contract 5.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from api import status

if TYPE_CHECKING:
    from api_client import Api


@pytest.fixture
async def devices(api: Api) -> list[str]:
    """Make five devices, all but the last one registered; returns their ids in order."""
    made = [await api.put_device(name=f"d{number}", suite="odd" if number % 2 else "even") for number in range(5)]
    for device in made[:-1]:
        api.presence.register(api.master.account_id, device["id"])
    return sorted(device["id"] for device in made[:-1])


async def ids(api: Api, **params: str) -> tuple[list[str], dict[str, Any]]:
    envelope = await api.ask("GET", "/devices/status", params={"details": "true", **params})
    return [row["device_id"] for row in envelope["data"]], envelope


async def test_plain_status_knows_neither_pages_nor_filters(api: Api, devices: list[str]) -> None:
    """Kazoo's list, whatever else the query says (5.8)."""
    envelope = await api.ask("GET", "/devices/status", params={"page_size": "1", "filter_suite": "odd"})

    assert sorted(row["device_id"] for row in envelope["data"]) == devices
    assert all(row == {"device_id": row["device_id"], "registered": True} for row in envelope["data"])
    assert "page_size" not in envelope


async def test_details(api: Api, devices: list[str]) -> None:
    """Kazoo's keys come first; two contacts are one device."""
    api.presence.register(api.master.account_id, devices[0], contact="sip:bob@192.0.2.9", transport="tcp")
    envelope = await api.ask("GET", "/devices/status", params={"details": "true"})
    row = next(row for row in envelope["data"] if row["device_id"] == devices[0])

    assert list(row)[:2] == ["device_id", "registered"]
    assert row["registered"] is True
    assert row["in_call"] is False
    assert row["reachable"] is None
    assert [contact["transport"] for contact in row["contacts"]] == ["udp", "tcp"]
    assert set(row["contacts"][0]) == {
        *(
            "contact",
            "source",
            "transport",
            "user_agent",
            "vendor",
            "expires_in",
            "first_registered_at",
            "registered_at",
            "reachable",
        ),
        *("last_seen", "latency_ms", "path", "instance"),
    }


async def test_details_in_pages(api: Api, devices: list[str]) -> None:
    """By id ascending, each page saying where the next one begins (5.3)."""
    first, envelope = await ids(api, page_size="3")

    assert first == devices[:3]
    assert envelope["page_size"] == 3
    assert envelope["next_start_key"] == devices[3]

    second, envelope = await ids(api, page_size="3", start_key=devices[3])

    assert second == devices[3:]
    assert "next_start_key" not in envelope
    assert (await ids(api, paginate="false"))[0] == devices


async def test_details_filtered(api: Api, devices: list[str]) -> None:
    """By the device's document, in pages of what passes (5.4)."""
    odd, envelope = await ids(api, filter_suite="odd", page_size="1")
    more, last = await ids(api, filter_suite="odd", page_size="1", start_key=envelope["next_start_key"])
    even, _ = await ids(api, filter_suite="even")

    assert sorted(odd + more + even) == devices
    assert [len(odd), len(more), len(even)] == [1, 1, 2]
    assert "next_start_key" not in last


async def test_details_in_chunks(api: Api, devices: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The seams do not show."""
    monkeypatch.setattr(status, "CHUNK", 1)

    assert (await ids(api))[0] == devices


async def test_details_of_nobody(api: Api) -> None:
    """An empty list."""
    assert (await ids(api))[0] == []


async def test_one_device(api: Api, devices: list[str]) -> None:
    """Below the account and below its owner alike."""
    user = await api.put_user()
    owned = await api.put_device(name="owned", owner_id=user["id"])
    data = (await api.ask("GET", f"/devices/{devices[0]}/status"))["data"]

    assert data["registered"] is True
    assert len(data["contacts"]) == 1
    assert (await api.ask("GET", f"/users/{user['id']}/devices/{owned['id']}/status"))["data"]["registered"] is False


async def test_one_device_that_is_not_registered(api: Api) -> None:
    """It is told, not missing."""
    device = await api.put_device()
    data = (await api.ask("GET", f"/devices/{device['id']}/status"))["data"]

    assert data == {
        "device_id": device["id"],
        "registered": False,
        "reachable": None,
        "in_call": False,
        "contacts": [],
    }
    await api.ask("GET", f"/devices/{'0' * 32}/status", status=404)
