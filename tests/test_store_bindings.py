"""The bindings in the database."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
from owners import anyone, load
from structlog.testing import capture_logs

from api.ports import StoreUnavailable
from daemon.store import Store
from daemon.store import bindings as bindings_module
from sip.aor import aor_of
from sip.flow import Address, Flow, Transport
from sip.io.turn import TURN
from sip.location import Binding, BindingChanges

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.conftest import HandClock

FIELDS = (
    *("aor", "account_id", "device_id", "contact", "call_id", "cseq", "granted", "user_agent", "path", "instance"),
    *("reg_id", "q", "expires_at", "first_registered", "registered_at"),
)


class Monotonic:
    """The clock of the location table, which has another zero in each process."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def monotonic() -> Monotonic:
    return Monotonic()


@pytest.fixture
async def store(store_path: Path, clock: HandClock, monotonic: Monotonic) -> AsyncIterator[Store]:
    opened = await Store.open(store_path, clock=clock, monotonic=monotonic)
    yield opened
    await opened.close()


def binding(user: str = "bob", **fields: object) -> Binding:
    defaults: dict[str, object] = {
        "account_id": "a1",
        "device_id": f"device of {user}",
        "contact": f"sip:{user}@10.0.0.9:5062;line=1",
        "flow": Flow.between(Transport.UDP, Address("10.0.0.1", 5060), Address("10.0.0.9", 5062)),
        "call_id": "1@10.0.0.9",
        "cseq": 7,
        "expires_at": 160.0,
        "granted": 60,
        "first_registered": 90.0,
        "registered_at": 100.0,
    }
    return Binding(aor=aor_of(user, "example.org"), **{**defaults, **fields})


def values(found: Binding) -> tuple[object, ...]:
    return tuple(getattr(found, name) for name in FIELDS)


async def save(store: Store, *, put: tuple[Binding, ...] = (), removed: tuple[Binding, ...] = ()) -> None:
    """Save the changes and wait until they are durable."""
    done: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
    store.bindings.save(BindingChanges(put, removed), done.set_result)
    error = await done
    if error is not None:
        raise error


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, id="plain"),
        pytest.param({"path": ("<sip:edge1;lr>", '"a, b" <sip:edge2;lr>')}, id="path"),
        pytest.param({"instance": "<urn:uuid:1>", "reg_id": 2, "q": 0.5}, id="outbound"),
        pytest.param({"user_agent": "Téléphone", "call_id": "\udcff\udc00@x"}, id="bytes-that-are-not-utf-8"),
        pytest.param({"contact": "sip:b%00b@[::1]", "user_agent": "a\0b"}, id="null"),
        pytest.param({"cseq": 2**31 - 1, "granted": 0}, id="limits"),
        pytest.param({"flow": Flow(Transport.WSS, Address("::1", 443), "2001:db8::1", 50000)}, id="wss-ipv6"),
    ],
)
async def test_binding_is_loaded_as_it_was_saved(store: Store, fields: dict[str, object]) -> None:
    """Every field, whatever a phone put into it."""
    saved = binding(**fields)
    await save(store, put=(saved,))

    (loaded,) = await load(store.bindings)
    assert values(loaded) == values(saved)
    assert loaded.flow == saved.flow


async def test_refresh_writes_over_all_but_the_key(store: Store) -> None:
    """A phone may come back from elsewhere, with other software, by way of another edge."""
    other: dict[str, object] = {
        "account_id": "a2",
        "device_id": "another",
        "flow": Flow(Transport.TCP, Address("10.0.0.2", 5061), "10.0.0.8", 5063),
        "path": ("<sip:edge;lr>",),
        "q": 0.5,
        "call_id": "2@10.0.0.8",
        "cseq": 8,
        "expires_at": 170.0,
        "granted": 70,
        "first_registered": 91.0,
        "registered_at": 101.0,
        "user_agent": "another",
    }
    rows = []
    for saved in (binding(), binding(**other)):
        await save(store, put=(saved,))
        rows += await store.bindings._database.read("SELECT * FROM bindings")

    first, second = rows
    assert first[:4] == second[:4]
    assert [column for column, (old, new) in enumerate(zip(first, second, strict=True)) if old == new] == [0, 1, 2, 3]


async def test_connection_does_not_outlive_the_process(store: Store) -> None:
    """Another process counts its connections anew, so a number of the old one must not name one of the new."""
    flow = Flow.between(Transport.TCP, Address("10.0.0.1", 5060), Address("10.0.0.9", 40000), connection=5)
    await save(store, put=(binding(flow=flow),))

    (loaded,) = await load(store.bindings)
    assert loaded.flow == flow._replace(connection=0)


async def test_times_hold_across_a_restart(store_path: Path, clock: HandClock) -> None:
    """A binding with 60 s left has 50 s left 10 s later, in a process whose clock starts elsewhere."""
    before = await Store.open(store_path, clock=clock, monotonic=lambda: 100.0)
    await save(before, put=(binding(expires_at=160.0, first_registered=90.0),))
    await before.close()
    clock.now += 10
    after = await Store.open(store_path, clock=clock, monotonic=lambda: 5000.0)
    (loaded,) = await load(after.bindings)
    await after.close()

    assert loaded.expires_at == pytest.approx(5050.0)
    assert loaded.first_registered == pytest.approx(4980.0)


async def test_what_ended_while_we_were_down_is_not_loaded(store: Store, clock: HandClock) -> None:
    """And it is gone from the file, too."""
    await save(store, put=(binding("bob", expires_at=160.0), binding("ann", expires_at=400.0)))
    clock.now += 60
    assert [loaded.aor for loaded in await load(store.bindings)] == ["ann@example.org"]
    clock.now -= 60
    assert [loaded.aor for loaded in await load(store.bindings)] == ["ann@example.org"]


async def test_later_change_of_a_binding_wins(store: Store) -> None:
    """Within a batch and from one to the next; other keys are left alone."""
    first, second = binding(cseq=1), binding(cseq=2)
    other = binding(contact="sip:bob@10.0.0.10")
    by_instance = binding(instance="<urn:uuid:1>", reg_id=1)
    done: list[Exception | None] = []
    store.bindings.save(BindingChanges(put=(first, other, by_instance)), done.append)
    store.bindings.save(BindingChanges(put=(second,), removed=(first, other)), done.append)
    store.bindings.save(BindingChanges(removed=(by_instance,)), done.append)
    await save(store)

    assert done == [None, None, None]
    assert [values(loaded) for loaded in await load(store.bindings)] == [values(second)]
    await save(store, removed=(second,))
    assert await load(store.bindings) == []


async def test_done_comes_after_the_commit_and_never_from_within_save(store: Store, store_path: Path) -> None:
    """A 200 that waits for `done` is for what another process could read."""
    seen: list[int] = []
    finished = asyncio.Event()
    reader = await Store.open(store_path)

    async def look() -> None:
        seen.append(len(await reader.bindings._database.read("SELECT 1 FROM bindings")))
        finished.set()

    tasks: list[asyncio.Task[None]] = []
    store.bindings.save(BindingChanges(put=(binding(),)), lambda _: tasks.append(asyncio.create_task(look())))
    assert tasks == []
    await finished.wait()
    await reader.close()

    assert seen == [1]


async def test_changes_that_come_during_a_commit_go_together_into_the_next(store: Store) -> None:
    """A thousand REGISTERs cost a few transactions, not a thousand."""
    statements: list[str] = []

    def trace(connection: sqlite3.Connection) -> None:
        connection.set_trace_callback(statements.append)

    await store.bindings._database.write(trace)
    for number in range(1000):
        store.bindings.save(BindingChanges(put=(binding(f"u{number}"),)), lambda _: None)
        if number % 100 == 0:
            await asyncio.sleep(0)
    await save(store)

    assert statements.count("BEGIN IMMEDIATE") <= 11
    assert len(await load(store.bindings)) == 1000


def forbid(connection: sqlite3.Connection) -> None:
    """Have the next write fail; the writer then opens another connection."""
    connection.execute("PRAGMA query_only = ON").fetchall()


async def test_failed_batch_is_told_to_all_and_stores_nothing(store: Store) -> None:
    """The registrar answers 503, and the next batch is tried."""

    await store.bindings._database.write(forbid)
    errors: list[Exception | None] = []
    store.bindings.save(BindingChanges(put=(binding("ann"),)), errors.append)
    with pytest.raises(StoreUnavailable):
        await save(store, put=(binding("bob"),))
    assert [type(error) for error in errors] == [StoreUnavailable]

    await save(store, put=(binding("eve"),))
    assert [loaded.aor for loaded in await load(store.bindings)] == ["eve@example.org"]


async def test_what_nobody_waits_for_is_written_later_and_with_others(
    store: Store, store_path: Path, clock: HandClock, monotonic: Monotonic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One transaction for a second of refreshes; at once where somebody waits, or where the store closes."""
    monkeypatch.setattr(bindings_module, "LATER", 0.05)
    other = await Store.open(store_path, clock=clock, monotonic=monotonic)
    store.bindings.save(BindingChanges(put=(binding("ann"),)))
    assert store.bindings.waiting == 1
    await save(store, put=(binding("bob"),))
    assert store.bindings.waiting == 0
    assert {loaded.aor for loaded in await load(other.bindings)} == {"ann@example.org", "bob@example.org"}

    store.bindings.save(BindingChanges(put=(binding("eve"),), removed=(binding("ann"),)))
    while store.bindings.waiting:
        await asyncio.sleep(0.01)
    assert {loaded.aor for loaded in await load(other.bindings)} == {"eve@example.org", "bob@example.org"}

    store.bindings.save(BindingChanges(removed=(binding("eve"),)))
    await store.close()
    assert {loaded.aor for loaded in await load(other.bindings)} == {"bob@example.org"}
    await other.close()


async def test_what_nobody_waits_for_is_logged_where_it_is_lost(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for all that a batch had, and where there is no more room."""
    await store.bindings._database.write(forbid)
    with capture_logs() as logs:
        for user in ("ann", "bob"):
            store.bindings.save(BindingChanges(put=(binding(user),)))
        store.bindings.close()
        while store.bindings.waiting:
            await asyncio.sleep(0)
        monkeypatch.setattr(bindings_module, "MAX_PENDING", 0)
        store.bindings.save(BindingChanges(put=(binding("eve"),)))

    assert [each["changes"] for each in logs if each["event"] == "registration.not_stored"] == [2, 1]
    assert await load(store.bindings) == []


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 200])
async def test_any_number_of_bindings_is_written(store: Store, count: int) -> None:
    """Many share a statement, new and known ones."""
    known = tuple(binding(f"u{number}") for number in range(0, count, 2))
    await save(store, put=known)
    fresh = tuple(binding(f"u{number}", cseq=8) for number in range(count))
    await save(store, put=fresh)

    loaded = {each.aor: values(each) for each in await load(store.bindings)}
    assert {each.aor: values(each) for each in fresh} == loaded


async def test_changes_that_wait_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that hangs must not fill the memory."""
    monkeypatch.setattr(bindings_module, "MAX_PENDING", 2)
    results: dict[str, Exception | None] = {}
    for user in ("ann", "bob", "eve"):
        store.bindings.save(BindingChanges(put=(binding(user),)), partial(results.__setitem__, user))

    assert {loaded.aor for loaded in await load(store.bindings)} == {"ann@example.org", "bob@example.org"}
    assert [type(results[user]) for user in ("ann", "bob", "eve")] == [type(None), type(None), StoreUnavailable]


async def test_value_is_made_once(store: Store, store_path: Path) -> None:
    """The key that signs nonces is the same in every process and after every start."""
    made = await store.values.get_or_create("nonce key", lambda: b"\0one")
    other = await Store.open(store_path)

    assert made == b"\0one"
    assert await other.values.get_or_create("nonce key", lambda: b"two") == b"\0one"
    assert await store.values.get_or_create("another", lambda: b"two") == b"two"
    await other.close()


async def test_what_nobody_owns_any_more_is_forgotten(store: Store) -> None:
    """Its device went, or has another AOR, while no daemon ran; whatever bytes its phone sent."""
    await save(store, put=(binding("ann"), binding("böb"), binding("eve", device_id="another")))
    known = await load(
        store.bindings, lambda aor, device_id: anyone(aor, device_id) if device_id[:3] == "dev" else None
    )

    assert {loaded.aor for loaded in known} == {"ann@example.org", "böb@example.org"}
    assert {loaded.aor for loaded in await load(store.bindings)} == {"ann@example.org", "böb@example.org"}
    assert await load(store.bindings, lambda _aor, _device_id: None) == []
    assert await load(store.bindings) == []


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_those_who_wait_are_told_in_turns(store_path: Path, loop: str) -> None:
    """However much each does when it is told, others have their turns between."""

    async def turns_of_others() -> int:
        store = await Store.open(store_path)
        told: list[int] = []
        turns = 0

        def done(_failure: Exception | None) -> None:
            told.append(turns)
            until = time.monotonic() + TURN / 2
            while time.monotonic() < until:
                pass

        for name in range(20):
            store.bindings.save(BindingChanges(put=(binding(f"u{name}"),)), done)
        while len(told) < 20:
            turns += 1
            await asyncio.sleep(0)
        await store.close()
        return told[-1] - told[0]

    assert pytest.importorskip(loop).run(turns_of_others()) >= 5
