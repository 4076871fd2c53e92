"""Listings that are kept ready: they must never tell what is not so any more."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import pytest

from api.kept import MAX_BYTES, MAX_LISTINGS, Kept, Listing
from api.ports import Draft, Kind
from api.shared import SharedReads
from daemon.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from api_client import Api
    from conftest import HandClock


async def names(api: Api, path: str = "/devices") -> list[str]:
    return [row["name"] for row in (await api.ask("GET", path))["data"]]


async def test_every_write_is_seen_by_the_next_listing(api: Api) -> None:
    """A device that was made, changed or deleted is so in the list that is asked for next."""
    seen = [await names(api)]
    device = await api.put_device(name="first")
    seen.append(await names(api))
    await api.ask("PATCH", f"/devices/{device['id']}", data={"name": "second"})
    seen.append(await names(api))
    await api.ask("DELETE", f"/devices/{device['id']}")
    seen.append(await names(api))

    assert [[], ["first"], ["second"], []] == seen


async def test_a_write_of_another_process_is_seen_after_a_second(api: Api, store_path: Path, clock: HandClock) -> None:
    """The command line may write beside the daemon, and tells nobody."""
    await names(api)
    other = await Store.open(store_path, clock=clock)
    draft = Draft(Kind.DEVICE, api.master.account_id, "d" * 32, {"name": "theirs"})
    await other.documents.create(draft)
    await other.close()
    clock.now += 1

    assert ["theirs"] == await names(api)


async def test_a_registration_is_seen_at_once_and_changes_the_etag(api: Api) -> None:
    """with_status is of now, whatever is kept; a client that has the list is told when it is still the same."""
    device = await api.put_device(name="desk")
    before = await api.send("GET", "/devices?with_status=true")
    same = await api.send("GET", "/devices?with_status=true", headers={"If-None-Match": before.headers["ETag"]})
    api.presence.register(api.master.account_id, device["id"])
    after = await api.send("GET", "/devices?with_status=true", headers={"If-None-Match": before.headers["ETag"]})

    assert 304 == same.status
    assert [False] == [row["registered"] for row in (await before.json())["data"]]
    assert [True] == [row["registered"] for row in (await after.json())["data"]]


async def test_listings_of_different_queries_are_not_mixed_up(api: Api) -> None:
    """Page, filter, route and account each make a listing of its own; the token does not."""
    for name in ("a", "b"):
        await api.put_device(name=name)
    child, token = await api.child()
    one = await names(api, "/devices?page_size=1")
    other_account = (await api.ask("GET", f"/v2/accounts/{child.account_id}/devices", token=token))["data"]

    assert 1 == len(one)
    assert ["a"] == await names(api, "/devices?filter_name=a")
    assert ["a", "b"] == sorted(await names(api))
    assert [] == other_account


async def test_what_was_read_before_a_write_is_not_kept_after_it() -> None:
    """A slow reader brings what the table was, not what it is."""
    kept, slow = Kept(), asyncio.Event()

    async def read_slowly() -> Listing:
        await slow.wait()
        return Listing(["old"], [b"{}"], {})

    async def read() -> Listing:
        return Listing(["new"], [b"{}"], {})

    before = asyncio.create_task(kept.get(1, "page", read_slowly))
    await asyncio.sleep(0)
    await kept.get(2, "another", read)
    slow.set()

    assert ["old"] == (await before).ids
    assert ["new"] == (await kept.get(2, "page", read)).ids


@pytest.mark.parametrize("size", [pytest.param(10, id="many"), pytest.param(MAX_BYTES + 1, id="large")])
async def test_memory_is_bounded(size: int) -> None:
    """Neither many queries nor large answers fill the memory."""
    kept, reads = Kept(), Counter[int]()

    async def read(number: int) -> Listing:
        reads[number] += 1
        return Listing(["x"], [b"x" * size], {})

    for number in (*range(MAX_LISTINGS + 1), MAX_LISTINGS, 0):
        await kept.get(1, number, partial(read, number))

    assert 2 == reads[0]
    assert (1 if size <= MAX_BYTES else 2) == reads[MAX_LISTINGS]


async def test_what_many_want_at_once_is_read_once() -> None:
    """A reader that goes away does not end the read for the others; a fault is told to each."""
    reads: SharedReads[str] = SharedReads()
    started = []

    async def read() -> str:
        started.append(1)
        await asyncio.sleep(0)
        if len(started) > 1:
            raise ValueError
        return "it"

    first, second, third = (asyncio.create_task(reads.read("key", read)) for _ in range(3))
    await asyncio.sleep(0)
    first.cancel()
    good = await asyncio.gather(second, third)
    bad = await asyncio.gather(*(reads.read("key", read) for _ in range(2)), return_exceptions=True)

    assert ["it", "it"] == good
    assert [ValueError, ValueError] == [type(each) for each in bad]
    assert 2 == len(started)
