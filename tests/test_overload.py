"""What the registrar looks at while more comes than it can take."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from registrar_rig import Server
from sip_user import LOCALHOST, request_text

from sip.flow import Address, Flow, Transport
from sip.io.turn import TURN, this_turn

if TYPE_CHECKING:
    from pathlib import Path


async def test_the_buffer_is_looked_at_anew_while_some_wait(tmp_path: Path) -> None:
    """In a storm there is always one that waits from the turn before."""
    async with Server(tmp_path / "roost.db") as server:
        await server.add_bob()
        (listener,) = server.endpoint._udp.values()
        busy = this_turn().line(lambda _: time.sleep(TURN))
        for number in range(20):
            busy.put(number)  # a turn each, in which nothing else gets done
        await _receive(server, 1)
        listener.backlog = 1.0
        await asyncio.sleep(0)
        await _receive(server, 2)

        assert 1 == server.registration.outcomes["overloaded"]
        assert 1 == server.registration.waiting


async def _receive(server: Server, number: int) -> None:
    source = Flow.between(Transport.UDP, server.address, Address(LOCALHOST, 5060 + number))
    wire = request_text("REGISTER", branch=f"z9hG4bK{number}").replace(b"Call-ID: c1", b"Call-ID: c%d" % number)
    server.endpoint.receive(wire, source)
    for _ in range(3):
        await asyncio.sleep(0)
