"""What is loaded at start, by pages."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from typing import TYPE_CHECKING

import pytest
from owners import load

from api.ports import Document, Kind
from daemon.store.document_rows import INSERT, row_of
from daemon.store.pages import BINDINGS, FACTS, PAGE, rows_of
from daemon.store.records import columns_of
from sip.aor import aor_of
from sip.flow import Address, Flow, Transport
from sip.location import Binding, BindingChanges

if TYPE_CHECKING:
    from pathlib import Path

    from api.ports import Json
    from daemon.store import Store

COUNTS = (0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE)


def binding(number: int, contact: str) -> Binding:
    flow = Flow.between(Transport.UDP, Address("10.0.0.1", 5060), Address("10.0.0.9", 5062))
    aor = aor_of(f"bob{number}", "example.org")
    return Binding(aor, "a1", "d1", contact, flow, "1@10.0.0.9", 7, 1e9, 60, 90.0, 100.0)


async def save(store: Store, *bindings: Binding) -> None:
    done: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
    store.bindings.save(BindingChanges(put=bindings), done.set_result)
    assert await done is None


@pytest.mark.parametrize("count", COUNTS)
async def test_each_binding_is_on_one_page(store: Store, count: int) -> None:
    """Whatever their number; those of an AOR at the border of a page stay together."""
    saved = [binding(number, "sip:one@10.0.0.9") for number in range(count)]
    saved += [binding(number, f"sip:{other}@10.0.0.9") for number in range(0, count, 7) for other in ("two", "three")]
    await save(store, *saved)
    loaded = await load(store.bindings)

    assert sorted(each.key for each in saved) == [each.key for each in loaded]


@pytest.mark.parametrize("count", COUNTS)
async def test_each_device_is_on_one_page(store: Store, store_path: Path, count: int) -> None:
    """Whatever their number, and whatever is between them."""
    kinds = [Kind.DEVICE] * count
    kinds[3:3] = [Kind.USER] * 5
    documents = [Document(kind, "a1", f"{n:05}", "1-a", 1, 1, {"name": f"x{n}"}, {}) for n, kind in enumerate(kinds)]
    with sqlite3.connect(store_path) as connection:
        connection.executemany(INSERT, [{**row_of(each), **columns_of(each.kind, each.data, {})} for each in documents])
    connection.close()
    found: list[tuple[str, str, list[Json]]] = []
    await store.documents.facts(Kind.DEVICE, ("name", "sip.username"), lambda *facts: found.append(facts))

    expected = [(each.account_id, each.id, [each.data["name"], None]) for each in documents if each.kind is Kind.DEVICE]
    assert expected == found


async def test_what_takes_a_page_may_fail(store: Store) -> None:
    """The failure reaches who asked, and the connection goes on."""
    await save(store, *(binding(number, "sip:one@10.0.0.9") for number in range(3 * PAGE)))

    def refuse(_aor: str, _device_id: str) -> None:
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        await load(store.bindings, refuse)
    assert len(await load(store.bindings)) == 3 * PAGE


def test_page_with_bytes_that_are_not_utf_8_is_read() -> None:
    """Half a surrogate pair is how we hold a byte that a phone sent and that is no text."""
    page = b'[["\xed\xb3\xbf",1,1.5,""],["a\\u0000b\xc3\xb6",0,0.0,""]]'

    assert [["\udcff", 1, 1.5, ""], ["a\0bö", 0, 0.0, ""]] == rows_of(page)


@pytest.mark.parametrize("sql", [pytest.param(FACTS, id="devices"), pytest.param(BINDINGS, id="bindings")])
def test_page_is_found_by_its_key(store: Store, store_path: Path, sql: str) -> None:
    """Only the list of pages is gone through, so that all pages together take one walk through the table."""
    with sqlite3.connect(store_path) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {sql.format(paths='1')}", {"kind": "device"}).fetchall()
    connection.close()
    scans = {detail for *_, detail in plan if re.match("SCAN", detail)}

    assert {"SCAN pages"} == scans - {"SCAN CONSTANT ROW"}
