"""Whether phones are there."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from api.ports import Document, JsonObject, Kind
from daemon.directory import Directory
from daemon.dispatch import Dispatcher
from daemon.presence import Happening, Presence, now
from daemon.qualify import BATCH, Qualifier
from sip.aor import Aor
from sip.flow import Address, Flow, Transport
from sip.io.endpoint import Endpoint
from sip.location import Binding, BindingChanges, Reach
from sip.message import Request, Response, parse_message
from sip.vendors import VendorTable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from daemon.store import Store

AOR = Aor("bob@acme.test")
INTERVAL = 0.2  # seconds: as short as the tick lets it be


class Phone(asyncio.DatagramProtocol):
    """Answers OPTIONS with what it is told to."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[Request] = asyncio.Queue()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: object) -> None:
        message = parse_message(data)
        assert isinstance(message, Request)
        self.asked.put_nowait(message)
        self.transport.sendto(Response.to_request(message, 404, to_tag="p").encode(), addr)  # type: ignore[attr-defined]


async def _phone(host: str, port: int) -> tuple[asyncio.DatagramTransport, Phone]:
    return await asyncio.get_running_loop().create_datagram_endpoint(Phone, local_addr=(host, port))


@pytest.fixture
def directory() -> Directory:
    directory = Directory()
    directory.changed(None, Document(Kind.ACCOUNT, "acme", "acme", "1-a", 0, 0, {"realm": "acme.test"}, {}))
    return directory


@pytest.fixture
async def presence(store: Store, directory: Directory) -> AsyncIterator[Presence]:
    presence = Presence(store.bindings, directory, flow_grace=0.0)
    yield presence
    await presence.close()


@pytest.fixture
async def qualifier(presence: Presence, directory: Directory) -> AsyncIterator[Qualifier]:
    dispatcher = Dispatcher()
    dispatcher.presence = presence
    endpoint = Endpoint(dispatcher)
    await endpoint.listen(Transport.UDP, Address("127.0.0.1", 0))
    qualifier = Qualifier(endpoint, presence, directory, VendorTable.shipped(), INTERVAL)
    presence.subscribe(qualifier.happened)
    yield qualifier
    await qualifier.close()
    await endpoint.close()


def _binding(flow: Flow, *, user_agent: str = "") -> Binding:
    return Binding(
        aor=AOR,
        account_id="acme",
        device_id="d1",
        contact=f"sip:bob@{flow.remote}",
        flow=flow,
        call_id="c",
        cseq=1,
        expires_at=now() + 60,
        granted=60,
        first_registered=now() - 10,
        registered_at=now() - 10,
        user_agent=user_agent,
    )


def _udp(remote: Address) -> Flow:
    return Flow.between(Transport.UDP, Address("127.0.0.1", 1), remote)


async def _until(true: Callable[[], object]) -> None:
    deadline = now() + 5
    while not true():
        assert now() < deadline
        await asyncio.sleep(0.02)


def _register(presence: Presence, binding: Binding) -> None:
    binding.first_registered = binding.registered_at
    presence.change(BindingChanges(put=(binding,)), lambda failure: None)


async def test_a_silent_phone_is_asked_and_any_answer_is_life(qualifier: Qualifier, presence: Presence) -> None:
    """RFC 3261 11: even a 404 comes from somebody."""
    transport, phone = await _phone("127.0.0.1", 0)
    binding = _binding(_udp(Address(*transport.get_extra_info("sockname"))))
    _register(presence, binding)
    request = await asyncio.wait_for(phone.asked.get(), 5)
    await _until(lambda: binding.latency is not None)
    transport.close()

    assert request.method == "OPTIONS"
    assert request.uri == binding.contact
    assert binding.reach is Reach.REACHABLE


async def test_many_that_come_due_at_once_are_asked_in_portions(qualifier: Qualifier, presence: Presence) -> None:
    """All phones of a storm; the event loop is left to others in between."""
    transport, phone = await _phone("127.0.0.1", 0)
    flow = _udp(Address(*transport.get_extra_info("sockname")))
    many = 3 * BATCH
    for number in range(many):
        user = f"bob{number}@acme.test"
        _register(presence, replace(_binding(flow), aor=Aor(user), device_id=user, contact=f"sip:{user}"))
    under_way = [0]
    deadline = now() + 5
    while phone.asked.qsize() < many:
        assert now() < deadline
        await asyncio.sleep(0)
        under_way.append(len(qualifier._asking))
    transport.close()

    assert 0 < max(after - before for before, after in pairwise(under_way)) <= BATCH


async def test_a_phone_that_takes_harm_from_options_is_left_alone(qualifier: Qualifier, presence: Presence) -> None:
    """The vendor table's quirk."""
    transport, phone = await _phone("127.0.0.1", 0)
    flow = _udp(Address(*transport.get_extra_info("sockname")))
    _register(presence, _binding(flow, user_agent="Linksys/SPA8000-6.1.12"))
    await asyncio.sleep(3 * INTERVAL)
    transport.close()

    assert phone.asked.empty()


async def test_a_dead_connection_makes_its_phone_unreachable(qualifier: Qualifier, presence: Presence) -> None:
    """RFC 3261 18.4: nothing can be sent there."""
    binding = _binding(Flow.between(Transport.TCP, Address("127.0.0.1", 1), Address("127.0.0.1", 9), 5))
    _register(presence, binding)
    await _until(lambda: binding.reach is Reach.UNREACHABLE)


async def test_a_closed_connection_loses_its_bindings_after_the_grace(presence: Presence) -> None:
    """RFC 5626 6: the flow is the binding's way."""
    told: list[Happening] = []
    presence.subscribe(lambda happening, binding: told.append(happening))
    flow = Flow.between(Transport.TCP, Address("127.0.0.1", 1), Address("127.0.0.1", 9), 5)
    _register(presence, _binding(flow))
    presence.flow_lost(flow)
    assert told == [Happening.REGISTERED, Happening.UNREACHABLE]

    await _until(lambda: not presence.registered_devices("acme"))
    assert told[-1] is Happening.UNREGISTERED


async def test_a_device_known_by_its_address_is_registered_while_it_answers(
    qualifier: Qualifier, presence: Presence, directory: Directory
) -> None:
    """Our addition to contract 5.8: a device with `sip.method` ip is listed when it answers OPTIONS."""
    transport, phone = await _phone("127.0.0.2", 5060)
    data: JsonObject = {"sip": {"method": "ip", "ip": "127.0.0.2", "username": "trunk"}}
    document = Document(Kind.DEVICE, "acme", "d9", "1-a", 0, 0, data, {})
    directory.changed(None, document)
    qualifier.changed(None, document)
    assert (await asyncio.wait_for(phone.asked.get(), 5)).uri == "sip:trunk@127.0.0.2"
    await _until(lambda: presence.registered_devices("acme") == ["d9"])
    transport.close()
