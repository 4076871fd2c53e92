"""A sync of ten thousand phones while others register: everybody gets one NOTIFY, and the event loop stays awake."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING

import orjson
import pytest
from notify_rig import REALM, Rig

from daemon.directory import Device
from daemon.garbage import GarbageRounds
from daemon.presence import now
from sip.aor import aor_of
from sip.delivery import DeliveryState
from sip.flow import Address, Flow, Transport
from sip.location import Binding, BindingChanges
from sip.message import Request, Response, parse_message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PHONES = 10_000
RATE = 500.0  # a hundred times the usual pace
MAX_BLOCK = 0.2  # seconds of our own processor time between two turns of a timer, at worst
USUAL_BLOCK = 0.05  # in all but one of a hundred cases


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    rig = await Rig(tmp_path / "roost.db").start()
    yield rig
    await rig.end()


class Hall(asyncio.DatagramProtocol):
    """Ten thousand phones behind one socket; each accepts every NOTIFY."""

    def __init__(self) -> None:
        self.notified: Counter[str] = Counter()

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self.transport = transport
        self.address = Address(*transport.get_extra_info("sockname"))

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        request = parse_message(data)
        assert isinstance(request, Request)
        self.notified[request.uri] += 1
        self.transport.sendto(Response.to_request(request, 200, to_tag="t").encode(), addr)


def binding(rig: Rig, hall: Hall, number: int, call_id: str) -> Binding:
    moment = now()
    return Binding(
        aor=aor_of(f"p{number}", REALM),
        account_id=rig.account_id,
        device_id=f"{number:032x}",
        contact=f"sip:p{number}@{hall.address}",
        flow=Flow.between(Transport.UDP, rig.address, hall.address),
        call_id=call_id,
        cseq=1,
        expires_at=moment + 3600,
        granted=3600,
        first_registered=moment,
        registered_at=moment,
        user_agent="Yealink SIP-T46U 108.86.0.40",
    )


def device(rig: Rig, number: int) -> Device:
    aor = aor_of(f"p{number}", REALM)
    return Device(rig.account_id, f"{number:032x}", "", f"p{number}", REALM, aor, "", True, "", None, "secret")


async def watch(blocks: list[float]) -> None:
    """Note how long the loop works before a timer of ten milliseconds has its turn, whatever else the machine does."""
    while True:
        before = time.thread_time()
        await asyncio.sleep(0.01)
        blocks.append(time.thread_time() - before)


async def keep_registering(rig: Rig, hall: Hall, done: Counter[str]) -> None:
    """Refresh ten registrations every ten milliseconds, a thousand a second, each of them stored."""
    number = 0
    while True:
        fresh = tuple(binding(rig, hall, each % PHONES, f"c{each % PHONES}") for each in range(number, number + 10))
        rig.presence.change(BindingChanges(put=fresh), lambda failure: done.update([str(failure)]))
        number += 10
        await asyncio.sleep(0.01)


@pytest.mark.slow
async def test_ten_thousand_phones_are_synced_while_they_register(rig: Rig) -> None:
    """Status stays exact and at hand all the while, every delivery is known, and the loop is never held."""
    garbage = GarbageRounds()  # as in the daemon: one look of Python's own at all that stays takes longer than all else
    garbage.begin()
    _, hall = await asyncio.get_running_loop().create_datagram_endpoint(Hall, local_addr=("127.0.0.1", 0))
    for number in range(PHONES):
        rig.directory._put(device(rig, number))
    everybody = tuple(binding(rig, hall, number, f"c{number}") for number in range(PHONES))
    rig.presence.change(BindingChanges(put=everybody))
    await rig.store.values.get_or_create("written", bytes)  # behind the registrations in the queue of the writer
    blocks: list[float] = []
    done: Counter[str] = Counter()
    others = [asyncio.create_task(watch(blocks)), asyncio.create_task(keep_registering(rig, hall, done))]

    job = await rig.jobs.start(rig.account_id, [each.device_id for each in everybody], mode=None, rate=RATE)
    started = time.monotonic()
    while job.state == "running":
        await asyncio.sleep(0.5)
        found = await rig.jobs.get(rig.account_id, job.id)
        assert found is not None
        assert len(orjson.loads(rig.presence.status_json(rig.account_id))) == PHONES
        job = found
    took = time.monotonic() - started
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    hall.transport.close()
    await garbage.close()

    worst = sorted(blocks)
    assert job.states == {DeliveryState.DELIVERED: PHONES}
    assert set(hall.notified.values()) == {1}
    assert len(hall.notified) == PHONES
    assert len(rig.deliveries) == PHONES
    assert done.keys() == {"None"}
    assert took >= PHONES / RATE * 0.95
    assert worst[-1] < MAX_BLOCK
    assert worst[len(worst) * 99 // 100] < USUAL_BLOCK
