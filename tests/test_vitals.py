"""Whether the daemon notices that a part of it does not work."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from sip_user import LOCALHOST, User

from daemon.vitals import Vitals
from sip.flow import Address, Transport
from sip.io.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from daemon.store import Store
    from sip.io.exchange import ServerTransaction
    from sip.message import Request

LIMIT = 0.3


class Silent(User):
    """Answers nothing."""

    def on_request(self, request: Request, transaction: ServerTransaction) -> None:
        transaction.forget()


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    endpoint = Endpoint(User())
    await endpoint.listen(Transport.UDP, Address("0.0.0.0", 0))
    await endpoint.listen(Transport.TCP, Address(LOCALHOST, 0))
    yield endpoint
    await endpoint.close()


def vitals_of(endpoint: Endpoint, store: Store) -> Vitals:
    return Vitals(endpoint, store.values, limit=LIMIT, fresh=0.0)


async def test_all_is_well(endpoint: Endpoint, store: Store) -> None:
    """The endpoint answers itself, on whatever address it listens, and the store takes a write."""

    assert {} == await vitals_of(endpoint, store).check()


async def test_a_socket_that_hears_nothing_is_found(endpoint: Endpoint, store: Store) -> None:
    """The look is a question by SIP, so a socket that is open and dead does not pass."""
    (listener,) = endpoint._udp.values()
    asyncio.get_running_loop().remove_reader(listener._socket.fileno())

    assert {"sip": f"no answer at {listener.local}"} == await vitals_of(endpoint, store).check()


async def test_an_answer_lost_in_a_flood_is_no_fault(store: Store) -> None:
    """The kernel may drop our question where too many come; that others come through shows that the socket works."""
    endpoint = Endpoint(Silent())
    await endpoint.listen(Transport.UDP, Address(LOCALHOST, 0))
    faults = await vitals_of(endpoint, store).check()
    await endpoint.close()

    assert {} == faults


async def test_an_endpoint_without_listeners_is_found(store: Store) -> None:
    """Nobody can register where nothing is bound."""
    endpoint = Endpoint(User())
    faults = await vitals_of(endpoint, store).check()

    assert {"sip": "no listener is bound"} == faults


async def test_a_listener_that_accepts_no_more_is_found(endpoint: Endpoint, store: Store) -> None:
    """A TCP listener whose task ended would let connections wait for ever."""
    (acceptor,) = endpoint._acceptors
    await acceptor.close()

    assert {"sip": "a listener accepts no connections"} == await vitals_of(endpoint, store).check()


async def test_a_store_that_takes_no_writes_is_found(endpoint: Endpoint, store: Store) -> None:
    """A database that is closed, full or gone is told with its reason."""
    await store.close()

    assert {"store": "the database is closed"} == await vitals_of(endpoint, store).check()


async def test_many_who_ask_at_once_are_one_look(endpoint: Endpoint, store: Store) -> None:
    """However often it is asked, it writes once a second at most."""
    vitals = Vitals(endpoint, store.values)
    before = len(store.writer.commits)
    await asyncio.gather(*(vitals.check() for _ in range(50)))
    await vitals.check()

    assert before + 1 == len(store.writer.commits)
