"""Thousands of calls over a real socket, with phones and a network that do as chance will have it."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from fast_loop import FastLoop
from wire_phones import WirePhones

from daemon.call import Call
from daemon.callrecord import CallRecord
from daemon.calls import LiveCalls
from daemon.invitation import Invitation, Target
from daemon.leg import LiveLeg
from daemon.order import Order
from sip import uri
from sip.bypass import Bypass
from sip.calllimits import CallLimits
from sip.dialog import Dialog
from sip.digest import Credentials
from sip.flow import Address, Flow, Transport
from sip.headers import NameAddr
from sip.invite import Invitee
from sip.io.endpoint import Endpoint
from sip.io.exchange import ClientTransaction, ServerTransaction
from sip.message import Message, Request, Response
from sip.outcome import Ending, Outcome, Side

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

CALLS = 5000
WARM = 500
"""Calls after which the memory is looked at first."""
SPEED = 40
GROWTH = 0.5
"""Blocks of memory that may be left of a call."""
EVERY = 0.12
"""Seconds, by the fast clock, between two calls."""
LIMITS = CallLimits(ring_a=10, ring_b=10, route=5, connect=32, talk=20, end=40, probe=8)
OURS = (Call, Invitation, LiveLeg, Dialog, ClientTransaction, ServerTransaction, Message)


class World:
    """The daemon's side of the calls, without its API, its registrar and its store."""

    def __init__(self, phones: WirePhones) -> None:
        self.phones = phones
        self.endpoint = Endpoint(self)
        self.live = LiveCalls(self.endpoint, most=CALLS)
        self.faults: list[Mapping[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: self.faults.append(context))

    def is_welcome(self, request: Request, flow: Flow) -> bool:
        """Let everybody in."""
        return True

    def on_request(self, request: Request, transaction: ServerTransaction) -> None:
        """Give a request to its dialog."""
        if not self.live.on_dialog_request(request, transaction):
            transaction.respond_and_forget(Response.to_request(request, 481))

    def on_ack(self, request: Request, flow: Flow) -> None:
        """Give an ACK to its dialog."""
        self.live.on_dialog_ack(request, flow)

    def on_flow_lost(self, flow: Flow) -> None:
        """Take no notice: a datagram has no connection."""

    async def listen(self) -> None:
        """Open the socket."""
        self.local = await self.endpoint.listen(Transport.UDP, Address("127.0.0.1", 0))

    def target(self, call_id: str) -> Target:
        """Return one of the phones."""
        flow = Flow.between(Transport.UDP, self.local, Address(*self.phones.address))
        local = NameAddr("", "sip:roost@office.example", (("tag", f"l{call_id}"),))
        invitee = Invitee("sip:p@127.0.0.1", call_id, local, NameAddr("", "sip:p@office.example"))
        return Target(invitee, lambda: flow, talk=True, credentials=Credentials("p", "secret"))

    def begin(self, number: int) -> None:
        """Ring one to three phones, and then another one."""

        async def find_number(_number: str) -> list[Target] | Ending:
            lost = self.phones.chance.random() < 0.05
            return Ending(Outcome.NO_ROUTE, Side.B, 404, 3) if lost else [self.target(f"b{number}")]

        order = Order(
            [self.target(f"a{number}") for _ in range(self.phones.chance.choice((1, 1, 1, 3)))],
            Bypass(["PCMU"], "127.0.0.1", session_id=number),
            LIMITS,
            find_number,
            lambda _side, found: found,
            CallRecord("a" * 32, str(number), "1002", "bypass", lambda _device: None, lambda: 0.0),
            {},
        )
        self.live.begin(order)

    async def drain(self) -> None:
        """Wait until the last call is over, and the last timer has come due."""
        while len(self.live) or len(self.endpoint.transactions):
            await asyncio.sleep(1)
        self.phones.forget()


@dataclass
class Result:
    """What many calls left."""

    outcomes: Counter[str]
    faults: Sequence[object]
    dropped: Counter[str]
    """Messages that were dropped, by reason."""
    tasks: set[asyncio.Task[Any]]
    alive: Counter[str]
    """Objects of ours, without a run of the collector of cycles: the daemon hardly ever has one."""
    blocks: tuple[int, int]
    """Blocks of memory after the first calls, and after all."""


async def _many_calls() -> Result:
    loop = asyncio.get_running_loop()
    _, phones = await loop.create_datagram_endpoint(lambda: WirePhones(random.Random(6)), local_addr=("127.0.0.1", 0))
    world = World(phones)
    await world.listen()
    gc.collect()
    gc.disable()
    first = 0
    for number in range(CALLS):
        world.begin(number)
        await asyncio.sleep(EVERY)
        if number == WARM:
            await world.drain()
            first = _blocks()
    await world.drain()
    alive = _ours(gc.get_objects())
    blocks = first, _blocks()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    phones.transport.close()
    await world.endpoint.close()
    gc.enable()
    return Result(world.live.ended, world.faults, world.endpoint.transactions.dropped, tasks, alive, blocks)


def _ours(objects: Iterable[object]) -> Counter[str]:
    return Counter(type(each).__name__ for each in objects if isinstance(each, OURS))


def _blocks() -> int:
    """Return how much memory is in use, without what is kept of values that were read before."""
    uri._parse_memoised.cache_clear()
    return sys.getallocatedblocks()


@pytest.mark.slow
def test_five_thousand_calls_with_random_faults_leave_nothing() -> None:
    """No call, dialog, transaction, timer or task, and no memory, though phones die and forks answer twice."""
    quiet = structlog.make_filtering_bound_logger(logging.CRITICAL)
    structlog.configure(wrapper_class=quiet)
    loop = FastLoop(SPEED)
    try:
        result = loop.run_until_complete(_many_calls())
    finally:
        loop.close()
        structlog.reset_defaults()

    assert ([], 0) == (result.faults, result.dropped["our fault"])
    assert CALLS == sum(result.outcomes.values())
    assert {"answered", "busy", "timeout", "lost", "rejected_codec", "no_answer"} <= set(result.outcomes)
    assert (set(), {}) == (result.tasks, result.alive)
    assert GROWTH > (result.blocks[1] - result.blocks[0]) / CALLS, f"memory grew: {result.blocks}"
