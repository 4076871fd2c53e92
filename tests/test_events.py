"""The event bus: order, loss and resumption."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import orjson
import pytest

from api import ports
from api.ports import TooManyListeners
from daemon import events
from daemon.events import EventBus, wants

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.ports import Event

NOW = 1_700_000_000.0
FIRST = int(NOW * 1_000_000)


def make_bus(history: int = 1000) -> EventBus:
    return EventBus(lambda: NOW, history=history)


def emit(bus: EventBus, count: int, account_id: str = "a") -> None:
    for number in range(count):
        bus.emit(account_id, "device.registered", {"number": number})


def numbers(found: Sequence[Event]) -> list[int]:
    return [orjson.loads(event.body)["number"] for event in found if event.name != "events.lost"]


def lost(found: Sequence[Event]) -> list[int | None]:
    return [orjson.loads(event.body)["lost"] for event in found if event.name == "events.lost"]


@pytest.mark.parametrize(
    ("pattern", "name", "wanted"),
    [
        pytest.param("all", "sync.delivered", True, id="all"),
        pytest.param("device", "device.registered", True, id="noun"),
        pytest.param("device.registered", "device.registered", True, id="name"),
        pytest.param("device.reg", "device.registered", False, id="part-of-a-name"),
        pytest.param("dev", "device.registered", False, id="part-of-a-noun"),
        pytest.param("sync", "device.registered", False, id="another"),
    ],
)
def test_patterns(pattern: str, name: str, wanted: bool) -> None:
    """A pattern is everything, a noun, or a name."""
    assert wanted == wants(pattern, name)


async def test_listener_gets_its_accounts_events_in_order() -> None:
    """With growing ids, the time and the account; not those of others."""
    bus = make_bus()
    listening = bus.listen("a", ())
    emit(bus, 2)
    emit(bus, 1, "b")
    found = await listening.read(1)

    assert [FIRST + 1, FIRST + 2] == [event.id for event in found]
    assert orjson.loads(found[0].body) == {
        "id": FIRST + 1,
        "event": "device.registered",
        "account_id": "a",
        "timestamp": int(NOW) + 62_167_219_200,
        "number": 0,
    }
    assert list(await listening.read(0)) == []


async def test_listener_gets_only_what_it_asked_for() -> None:
    """By names and nouns."""
    bus = make_bus()
    listening = bus.listen("a", ["sync", "device.expired"])
    for name in ("device.registered", "device.expired", "sync.delivered", "quickcall.ended"):
        bus.emit("a", name, {})

    assert [event.name for event in await listening.read(1)] == ["device.expired", "sync.delivered"]


async def test_reader_that_waits_is_woken() -> None:
    """By the next event, at once."""
    bus = make_bus()
    listening = bus.listen("a", ())
    reading = asyncio.create_task(listening.read(60))
    await asyncio.sleep(0)
    emit(bus, 1)

    assert [0] == numbers(await asyncio.wait_for(reading, 5))


async def test_slow_listener_loses_its_own_oldest_events_and_is_told() -> None:
    """The other listener gets everything."""
    bus = make_bus()
    slow, quick = bus.listen("a", ()), bus.listen("a", ())
    got: list[int] = []
    for _ in range(3):
        emit(bus, events.QUEUE // 2)
        got += numbers(await quick.read(1))
    found = await slow.read(1)

    assert events.QUEUE * 3 // 2 == len(got)
    assert [events.QUEUE // 2] == lost(found)
    assert "events.lost" == found[0].name
    assert events.QUEUE == len(numbers(found))
    assert found[0].id + 1 == found[1].id
    emit(bus, 1)
    assert [] == lost(await slow.read(1))


async def test_resumption_brings_what_was_missed() -> None:
    """From the event after the last one that was seen."""
    bus = make_bus()
    emit(bus, 5)
    found = await bus.listen("a", (), after=FIRST + 3).read(1)

    assert [3, 4] == numbers(found)
    assert [] == lost(found)
    assert list(await bus.listen("a", (), after=FIRST + 5).read(0)) == []


async def test_resumption_beyond_the_history_tells_how_many_are_gone() -> None:
    """Exactly."""
    bus = make_bus(history=3)
    emit(bus, 10)
    found = await bus.listen("a", (), after=FIRST + 2).read(1)

    assert [5] == lost(found)
    assert [7, 8, 9] == numbers(found)


@pytest.mark.parametrize("after", [FIRST - 1_000, FIRST + 1_000], ids=["earlier", "clock-set-back"])
async def test_resumption_over_a_restart_tells_that_nobody_knows(after: int) -> None:
    """The ids of another process say nothing of how many there were; what is kept comes."""
    bus = make_bus()
    emit(bus, 2)
    found = await bus.listen("a", (), after=after).read(1)

    assert [None] == lost(found)
    assert [0, 1] == numbers(found)


async def test_what_leaves_a_history_is_freed() -> None:
    """One busy account keeps no more than its own share."""
    bus = make_bus(history=3)
    emit(bus, 50, "busy")

    assert 3 == sum(isinstance(each, ports.Event) and each.account_id == "busy" for each in gc.get_objects())


async def test_history_of_all_accounts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest of all goes first, whosever it is."""
    monkeypatch.setattr(events, "MAX_HISTORY", 4)
    bus = make_bus()
    emit(bus, 3, "a")
    emit(bus, 3, "b")

    assert [2] == numbers(await bus.listen("a", (), after=FIRST).read(1))
    assert [0, 1, 2] == numbers(await bus.listen("b", (), after=FIRST).read(1))


async def test_listeners_are_limited_and_make_room() -> None:
    """Those of one account do not keep another one out."""
    bus = make_bus()
    present = [bus.listen("a", ()) for _ in range(events.MAX_LISTENERS_OF_ACCOUNT)]
    with pytest.raises(TooManyListeners):
        bus.listen("a", ())
    bus.listen("b", ())
    present[0].close()
    bus.listen("a", ())


async def test_closing_wakes_who_waits() -> None:
    """So that a stop waits for nobody."""
    bus = make_bus()
    listening = bus.listen("a", ())
    reading = asyncio.create_task(listening.read(60))
    await asyncio.sleep(0)
    await bus.close()

    assert list(await asyncio.wait_for(reading, 5)) == []
    assert listening.closed


async def test_text_that_is_no_utf8_does_not_reach_who_emits() -> None:
    """A phone's User-Agent may be any bytes."""
    bus = make_bus()
    listening = bus.listen("a", ())
    bus.emit("a", "device.registered", {"user_agent": "Phone \udcff", "more": ["\ud800"], "other": object()})
    (event,) = await listening.read(1)

    assert "Phone ?" == orjson.loads(event.body)["user_agent"]
