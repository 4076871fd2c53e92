"""What was answered 200 is there after SIGKILL at any moment (design 3)."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

import pytest

from sip.digest import Credentials, answer_response
from sip.io.client import with_credentials
from sip.message import Request, Response, parse_message

if TYPE_CHECKING:
    from roost_process import Device, Roost

pytestmark = pytest.mark.interop

PHONES = 24
ROUNDS = 100


class Phone(asyncio.DatagramProtocol):
    """Registers a contact of its own again and again, as fast as it is answered."""

    def __init__(self, device: Device) -> None:
        self._credentials = Credentials(device.account.username, device.account.password)
        self._to = f"sip:{device.account.username}@{device.account.realm}"
        self._number = 0
        self._asked: Request | None = None
        self.device_id = device.id
        self.answered = ""
        """The contact of the last 200."""
        self.in_doubt: set[str] = set()
        """The contacts that were asked for after it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def begin(self) -> None:
        """Ask for the next contact, in the place of the last one."""
        self._number += 1
        request = Request("REGISTER", "sip:acme.test")
        request.add("Via", f"SIP/2.0/UDP 10.0.0.9;rport;branch=z9hG4bK{id(self)}{self._number}{time.monotonic_ns()}")
        request.add("From", f"<{self._to}>;tag=1")
        request.add("To", f"<{self._to}>")
        request.add("Call-ID", f"{id(self)}-{time.monotonic_ns()}")
        request.add("CSeq", "1 REGISTER")
        request.add("Max-Forwards", "70")
        contact = f"sip:{time.monotonic_ns()}@10.0.0.9"
        request.add("Contact", f'<{contact}>;+sip.instance="<urn:uuid:{self.device_id}>";reg-id=1;expires=3600')
        self._asked = request
        self._contact = contact
        self._send(request)

    def datagram_received(self, data: bytes, addr: object) -> None:
        response = parse_message(data)
        assert isinstance(response, Response)
        assert self._asked is not None
        if response.status == 401:
            header = answer_response(response, self._credentials, uri=self._asked.uri, nc=1, cnonce="c")
            assert header is not None
            again = with_credentials(self._asked, header)
            again.set("Via", f"{again.one('Via')}a")
            self.in_doubt.add(self._contact)
            self._send(again)
        elif response.status == 200 and self._contact in response.values("Contact")[0]:
            self.answered, self.in_doubt = self._contact, set()
            self.begin()

    def error_received(self, exc: Exception) -> None:
        """Bear that the daemon is dead, as it should be."""

    def _send(self, request: Request) -> None:
        self._transport.sendto(request.encode())  # type: ignore[attr-defined]


async def _storm(roost: Roost, phones: list[Phone], seconds: float) -> None:
    """Let all phones register until the daemon is killed."""
    loop = asyncio.get_running_loop()
    transports = [
        (await loop.create_datagram_endpoint(lambda phone=phone: phone, remote_addr=roost.sip))[0] for phone in phones
    ]
    for phone in phones:
        phone.begin()
    await asyncio.sleep(seconds)
    roost.kill()
    await asyncio.sleep(0.02)  # what it had sent is still answered for
    for transport in transports:
        transport.abort()


@pytest.mark.slow
async def test_every_binding_that_was_answered_survives_sigkill_a_hundred_times(own_roost: Roost) -> None:
    """RFC 3261 10: a 200 is a promise."""
    phones = [Phone(own_roost.create_device()) for _ in range(PHONES)]
    confirmed = 0
    for _ in range(ROUNDS):
        await _storm(own_roost, phones, random.uniform(0.02, 0.15))  # the moment is the point
        own_roost.start()
        rows = own_roost.on_account("GET", "/registrations").data
        found = {row["authorizing_id"]: row["contact"] for row in rows}
        for phone in phones:
            if phone.answered:
                confirmed += 1
                assert found.get(phone.device_id) in {phone.answered, *phone.in_doubt}

    assert confirmed > ROUNDS * PHONES / 2
