"""A REGISTER's whole way: socket, digest, table, database, answer."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from api.ports import Draft, Kind
from daemon.directory import Directory
from daemon.dispatch import Dispatcher
from daemon.presence import Presence, now
from daemon.registration import Registration, RegistrationPolicy
from daemon.store import Store
from sip.digest import Algorithm, Credentials, answer_response
from sip.flow import Address, Transport
from sip.io.client import with_credentials
from sip.io.endpoint import Endpoint
from sip.message import Request, Response, parse_message
from sip.nonce import NonceSigner
from sip.registrar import RegistrarPolicy
from sip.uri import Aor
from sip.vendors import VendorTable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sip.flow import Flow
    from sip.io.transactions import ServerTransaction

AOR = Aor("bob@acme.test")
GOOD = Credentials("bob", "correct-horse")


class Server:
    """The registrar over one UDP socket and a database of its own."""

    def __init__(self, path: Path, *, wait_for_commit: bool = True, drop_strangers: bool = False) -> None:
        self.path = path
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
        async for documents in self.store.documents.scan():
            for document in documents:
                self.directory.changed(None, document)
        self.presence = Presence(self.store.bindings, self.directory)
        dispatcher = Dispatcher()
        self.endpoint = Endpoint(dispatcher)
        registration = Registration(
            self.endpoint,
            self.directory,
            self.presence,
            RegistrationPolicy(
                RegistrarPolicy(min_expires=1),
                drop_strangers=self.drop_strangers,
                wait_for_commit=self.wait_for_commit,
            ),
            vendors=VendorTable.shipped(),
            signer=NonceSigner(b"k" * 32, 60.0),
            wall=lambda: self.wall(),
        )
        dispatcher.registrar, dispatcher.dialogs = registration, _NoDialogs()
        self.loaded = await self.presence.load()
        self.address = await self.endpoint.listen(Transport.UDP, Address("127.0.0.1", 0))

    async def stop(self) -> None:
        await self.endpoint.close()
        await self.presence.close()
        await self.store.close()


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


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    server = Server(tmp_path / "roost.db")
    await server.start()
    account = await server.store.create_master("acme", "acme.test")
    data = {"name": "Bob", "sip": {"username": GOOD.username, "password": GOOD.password}}
    await server.store.documents.create(Draft(Kind.DEVICE, account.account_id, "d1", data))
    yield server
    await server.stop()


@pytest.fixture
async def phone(server: Server) -> AsyncIterator[Phone]:
    transport, phone = await asyncio.get_running_loop().create_datagram_endpoint(Phone, remote_addr=server.address)
    yield phone
    transport.close()


async def test_a_phone_registers_and_unregisters(server: Server, phone: Phone) -> None:
    """RFC 3261 10, 22."""
    response = await phone.register()
    assert response.status == 200
    assert response.values("Contact") == ["<sip:bob@10.0.0.9>;expires=60"]
    assert response.first("Date")
    account_id = server.presence.table.bindings(AOR, now())[0].account_id
    assert server.presence.registered_devices(account_id) == ["d1"]
    assert server.presence.status_json(account_id) == b'[{"device_id":"d1","registered":true}]'

    assert (await phone.register(expires=0)).status == 200
    assert server.presence.status_json(account_id) == b"[]"


async def test_a_200_means_that_the_binding_is_in_the_database(server: Server, phone: Phone) -> None:
    """Design 3: the answer waits for the commit."""
    await phone.register()
    other = await Store.open(server.path)
    stored = await other.bindings.load()
    await other.close()

    assert [binding.contact for binding in stored] == ["sip:bob@10.0.0.9"]


async def test_bindings_are_there_after_a_restart(server: Server, phone: Phone) -> None:
    await phone.register()
    await server.stop()
    await server.start()

    assert server.loaded == 1
    assert [binding.contact for binding in server.presence.table.bindings(AOR, now())] == ["sip:bob@10.0.0.9"]


@pytest.mark.parametrize(
    ("credentials", "to"),
    [
        pytest.param(Credentials("bob", "wrong"), "sip:bob@acme.test", id="password"),
        pytest.param(Credentials("eve", "correct-horse"), "sip:eve@acme.test", id="unknown-user"),
        pytest.param(Credentials("bob", "correct-horse"), "sip:eve@acme.test", id="another's-aor"),
    ],
)
async def test_bad_credentials_never_register(server: Server, phone: Phone, credentials: Credentials, to: str) -> None:
    """RFC 3261 22.1: an unknown user and a wrong password look alike."""
    response = await phone.register(credentials, to=to)

    assert response.status == 401
    assert "stale" not in response.one("WWW-Authenticate")
    assert len(server.presence.table) == 0


async def test_an_old_nonce_is_stale_and_the_next_one_is_taken(server: Server, phone: Phone) -> None:
    """RFC 7616 3.3."""
    request = phone.request()
    challenged = await phone.ask(request)
    server.wall = lambda: time.time() + 61
    again = await phone.answer(request, challenged, GOOD)

    assert again.status == 401
    assert "stale=true" in again.one("WWW-Authenticate")
    assert (await phone.answer(request, again, GOOD)).status == 200


async def test_a_recorded_answer_cannot_be_used_again(phone: Phone) -> None:
    """RFC 7616 3.4.5: the nonce count must grow."""
    request = phone.request()
    challenged = await phone.ask(request)
    assert (await phone.answer(request, challenged, GOOD)).status == 200
    assert (await phone.answer(request, challenged, GOOD)).status == 401
    assert (await phone.answer(request, challenged, GOOD, nc=7)).status == 200


async def test_an_address_of_ours_means_the_default_realm(server: Server, phone: Phone) -> None:
    """Design 3: a domain that is one of our own addresses means the default account."""
    assert (await phone.register(to="sip:bob@127.0.0.1")).status == 200
    assert len(server.presence.table.bindings(AOR, now())) == 1


async def test_a_foreign_domain_is_not_served(phone: Phone) -> None:
    """RFC 3261 10.3 step 1."""
    assert (await phone.ask(phone.request(to="sip:bob@elsewhere.example"))).status == 404


async def test_a_disabled_device_is_only_challenged(server: Server, phone: Phone) -> None:
    """Contract 5.12: it looks like a wrong password."""
    device = server.directory.find(AOR)
    assert device is not None
    device.enabled = False

    assert (await phone.register()).status == 401


async def test_an_expired_binding_leaves_status_and_database(server: Server, phone: Phone) -> None:
    """RFC 3261 10.3; removed by its own alarm, without anybody asking."""
    await phone.register(expires=1)
    account_id = server.presence.table.bindings(AOR, now())[0].account_id
    deadline = time.monotonic() + 5
    while len(server.presence.table) and time.monotonic() < deadline:
        await asyncio.sleep(0.05)

    assert server.presence.count(account_id) == 0


async def test_a_store_that_fails_gets_503(server: Server, phone: Phone) -> None:
    """Design 6: REGISTER gets 503 with Retry-After where the store fails."""
    await server.store.close()
    response = await phone.register()
    await server.presence.close()

    assert response.status == 503
    assert response.first("Retry-After")


async def test_relaxed_durability_answers_without_waiting_for_the_store(server: Server) -> None:
    """`sip.durability = "relaxed"`: the table knows the phone, whatever becomes of the write."""
    relaxed = Server(server.path, wait_for_commit=False)
    await relaxed.start()
    await relaxed.store.close()
    transport, phone = await asyncio.get_running_loop().create_datagram_endpoint(Phone, remote_addr=relaxed.address)
    response = await phone.register()
    transport.close()
    await relaxed.stop()

    assert response.status == 200
    assert len(relaxed.presence.table) == 1


async def test_a_few_wrong_passwords_in_a_row_are_403(phone: Phone) -> None:
    """A phone stops at a 403; to 401 it would retry for ever."""
    statuses = [(await phone.register(Credentials("bob", "wrong"))).status for _ in range(3)]

    assert statuses == [401, 401, 403]
    assert (await phone.register()).status == 200


async def test_a_device_may_ask_for_sha256(server: Server, phone: Phone) -> None:
    """RFC 8760: MD5 for all but those who ask for more."""
    device = server.directory.find(AOR)
    assert device is not None
    device.algorithm = Algorithm.SHA256
    challenged = await phone.ask(phone.request())

    assert "algorithm=SHA-256" in challenged.one("WWW-Authenticate")
    assert (await phone.register()).status == 200


async def test_a_device_known_by_its_address_needs_no_digest(server: Server, phone: Phone) -> None:
    """Contract 4.1: `sip.method` ip."""
    device = server.directory.find(AOR)
    assert device is not None
    device.ip = "127.0.0.1"

    assert (await phone.ask(phone.request())).status == 200


class _NoDialogs:
    def on_dialog_request(self, request: Request, transaction: ServerTransaction) -> bool:
        return False

    def on_dialog_ack(self, request: Request, flow: Flow) -> None:
        raise AssertionError

    def on_flow_lost(self, flow: Flow) -> None:
        raise AssertionError


@pytest.mark.parametrize("method", [b"OPTIONS", b"INVITE", b"REGISTER"])
@pytest.mark.parametrize("tag", [b"", b";tag=made-up"], ids=["no-tag", "tag"])
async def test_a_known_scanner_gets_no_answer(server: Server, method: bytes, tag: bytes) -> None:
    """`sip.drop_strangers`: it must not even learn that something is here."""
    strict = Server(server.path, drop_strangers=True)
    await strict.start()
    transport, phone = await asyncio.get_running_loop().create_datagram_endpoint(Phone, remote_addr=strict.address)
    request = phone.request()
    scan = (
        request.encode()
        .replace(b"REGISTER", method)
        .replace(b"\r\nCall-ID", tag + b"\r\nUser-Agent: friendly-scanner\r\nCall-ID")
    )
    transport.sendto(scan)
    first = await phone.ask(phone.request())
    transport.close()
    await strict.stop()

    assert first.cseq.number == 2, "of the request that followed"
