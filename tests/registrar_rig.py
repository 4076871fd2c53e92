"""The registrar over one UDP socket and a database of its own, and a phone that registers by hand."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from api.ports import Draft, Kind
from daemon.directory import Directory
from daemon.dispatch import Dispatcher
from daemon.presence import Presence
from daemon.registration import Registration, RegistrationPolicy
from daemon.store import Store
from sip.digest import Credentials, answer_response
from sip.flow import Address, Transport
from sip.io.client import with_credentials
from sip.io.endpoint import Endpoint
from sip.message import Request, Response, parse_message
from sip.nonce import NonceSigner
from sip.registrar import RegistrarPolicy
from sip.vendors import VendorTable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from typing_extensions import Self

    from api.ports import JsonObject
    from sip.flow import Flow
    from sip.io.exchange import ServerTransaction

GOOD = Credentials("bob", "correct-horse")


class Server:
    """The registrar over one UDP socket and a database of its own."""

    def __init__(
        self, path: Path, *, wait_for_commit: bool = True, drop_strangers: bool = False, max_waiting: int = 2000
    ) -> None:
        self.path = path
        self.max_waiting = max_waiting
        self.drop_strangers = drop_strangers
        self.wait_for_commit = wait_for_commit
        self.wall = time.time

    async def start(self) -> None:
        self.store = await Store.open(self.path)
        self.directory = Directory()
        self.store.documents.subscribe(
            lambda changes: [self.directory.changed(change.old, change.new) for change in changes] and None
        )
        for account in await self.store.list_accounts():
            self.directory.changed(None, account)
        await self.directory.load(self.store.documents)
        self.presence = Presence(self.store.bindings, self.directory)
        dispatcher = Dispatcher()
        self.endpoint = Endpoint(dispatcher)
        self.registration = Registration(
            self.endpoint,
            self.directory,
            self.presence,
            RegistrationPolicy(
                RegistrarPolicy(min_expires=1),
                drop_strangers=self.drop_strangers,
                wait_for_commit=self.wait_for_commit,
                max_waiting=self.max_waiting,
            ),
            vendors=VendorTable.shipped(),
            signer=NonceSigner(b"k" * 32, 60.0),
            wall=lambda: self.wall(),
        )
        dispatcher.registrar, dispatcher.dialogs = self.registration, _NoDialogs()
        dispatcher.presence = self.presence
        self.loaded = await self.presence.load()
        self.address = await self.endpoint.listen(Transport.UDP, Address("127.0.0.1", 0))

    async def add_bob(self) -> str:
        """Make the account and its device, and return the account's id."""
        account = await self.store.create_master("acme", "acme.test")
        data: JsonObject = {"name": "Bob", "sip": {"username": GOOD.username, "password": GOOD.password}}
        await self.store.documents.create(Draft(Kind.DEVICE, account.account_id, "d1", data))
        return account.account_id

    async def stop(self) -> None:
        await self.endpoint.close()
        await self.presence.close()
        await self.store.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @asynccontextmanager
    async def phone(self) -> AsyncIterator[Phone]:
        """Give a phone, at an address of its own."""
        transport, phone = await asyncio.get_running_loop().create_datagram_endpoint(Phone, remote_addr=self.address)
        yield phone
        transport.close()


class Phone(asyncio.DatagramProtocol):
    """Registers by hand."""

    def __init__(self) -> None:
        self.answers: asyncio.Queue[Response] = asyncio.Queue()
        self.cseq = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: object) -> None:
        message = parse_message(data)
        assert isinstance(message, Response)
        self.answers.put_nowait(message)

    def request(self, *, to: str = "sip:bob@acme.test", expires: int = 60) -> Request:
        self.cseq += 1
        request = Request("REGISTER", "sip:acme.test")
        request.add("Via", f"SIP/2.0/UDP 10.0.0.9:5060;rport;branch=z9hG4bK{self.cseq}")
        for name, value in (("From", f"<{to}>;tag=1"), ("To", f"<{to}>"), ("Call-ID", "reg"), ("Max-Forwards", "70")):
            request.add(name, value)
        request.add("CSeq", f"{self.cseq} REGISTER")
        request.add("Contact", f"<sip:bob@10.0.0.9>;expires={expires}")
        return request

    async def ask(self, request: Request) -> Response:
        self.transport.sendto(request.encode())  # type: ignore[attr-defined]
        return await asyncio.wait_for(self.answers.get(), 5)

    async def register(
        self, credentials: Credentials = GOOD, *, to: str = "sip:bob@acme.test", expires: int = 60
    ) -> Response:
        request = self.request(to=to, expires=expires)
        return await self.answer(request, await self.ask(request), credentials)

    async def answer(self, request: Request, challenged: Response, credentials: Credentials, nc: int = 1) -> Response:
        assert challenged.status == 401
        header = answer_response(challenged, credentials, uri=request.uri, nc=nc, cnonce="c")
        assert header is not None
        self.cseq += 1
        again = with_credentials(request, header)
        again.set("Via", f"SIP/2.0/UDP 10.0.0.9:5060;rport;branch=z9hG4bK{self.cseq}")
        again.set("CSeq", f"{self.cseq} REGISTER")
        return await self.ask(again)


class _NoDialogs:
    def on_dialog_request(self, request: Request, transaction: ServerTransaction) -> bool:
        return False

    def on_dialog_ack(self, request: Request, flow: Flow) -> None:
        raise AssertionError

    def on_flow_lost(self, flow: Flow) -> None:
        raise AssertionError
