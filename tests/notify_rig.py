"""What tests of NOTIFYs share: all between the API and a phone's socket, and a phone that follows a script."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from typing import TYPE_CHECKING

from api.ports import Document, Draft, Kind
from daemon.deliveries import Deliveries
from daemon.directory import Directory
from daemon.dispatch import Dispatcher
from daemon.presence import Presence, now
from daemon.store import Store
from daemon.sync import DeviceControl
from daemon.sync_jobs import SyncJobs
from sip.aor import aor_of
from sip.digest import parse_auth
from sip.flow import Address, Flow, Transport
from sip.io.endpoint import Endpoint
from sip.location import Binding, BindingChanges, Reach
from sip.message import Request, Response, parse_message
from sip.vendors import VendorTable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from api.ports import DeliveryReport, JsonObject

REALM = "acme.test"
WAIT = 5.0


class Clock:
    """The clock of bindings, moved by hand on top of the real one."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return now() + self.ahead


class Events:
    """Keeps what is emitted: implements `daemon.events.EventSink`."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.data: list[Mapping[str, object]] = []

    def emit(self, account_id: str, name: str, data: Mapping[str, object]) -> None:
        self.names.append(name)
        self.data.append(data)


class Rig:
    """The daemon's part that sends NOTIFYs, over a database of its own."""

    def __init__(self, path: Path, *, window: float = 300.0) -> None:
        self.path = path
        self.window = window
        self.clock = Clock()
        self.phones: list[ScriptedPhone] = []

    async def start(self) -> Rig:
        self.store = await Store.open(self.path)
        accounts = await self.store.list_accounts()
        self.account_id = accounts[0].id if accounts else (await self.store.create_master("a", REALM)).account_id
        self.directory, self.events = Directory(), Events()
        self.store.documents.subscribe(
            lambda changes: [self.directory.changed(change.old, change.new) for change in changes] and None
        )
        for account in await self.store.list_accounts():
            self.directory.changed(None, account)
        await self.directory.load(self.store.documents)
        self.presence = Presence(self.store.bindings, self.directory)
        dispatcher = Dispatcher()
        self.endpoint = Endpoint(dispatcher)
        dispatcher.presence = self.presence
        self.deliveries = Deliveries(self.store.deliveries, window=self.window, events=self.events, clock=self.clock)
        self.presence.subscribe(self.deliveries.happened)
        self.control = DeviceControl(
            self.endpoint, self.presence, self.directory, VendorTable.shipped(), self.deliveries
        )
        self.jobs = SyncJobs(self.control, self.deliveries, self.store, events=self.events)
        await self.deliveries.load()
        await self.presence.load()
        self.address = await self.endpoint.listen(Transport.UDP, Address("127.0.0.1", 0))
        await self.jobs.load()
        return self

    async def stop(self) -> None:
        for close in (self.jobs, self.control, self.deliveries, self.presence, self.endpoint, self.store):
            await close.close()

    async def end(self) -> None:
        for phone in self.phones:
            phone.transport.close()
        await self.stop()

    async def device(self, device_id: str = "d1", **sip: str) -> Document:
        """Make a device with a username of its own."""
        data: JsonObject = {"name": device_id, "sip": {"username": f"u-{device_id}", "password": "secret", **sip}}
        return await self.store.documents.create(Draft(Kind.DEVICE, self.account_id, device_id, data))

    async def phone(self, device: Document, user_agent: str = "Phone 1.0", **facts: str) -> ScriptedPhone:
        """Give the device a phone that is registered."""
        phone = await ScriptedPhone.open(self, device, user_agent, facts)
        self.phones.append(phone)
        phone.register()
        return phone

    async def outcomes(self, device: Document) -> list[str]:
        """Return the states of the last deliveries to the device, the latest first."""
        return [each.state.value for each in await self.control.outcomes(self.account_id, device.id)]


class ScriptedPhone(asyncio.DatagramProtocol):
    """Answers each NOTIFY as its script says; 0 is no answer, 401 and 407 are challenges."""

    def __init__(self, rig: Rig, device: Document, user_agent: str, facts: Mapping[str, str]) -> None:
        self.rig = rig
        self.device = device
        self.user_agent = user_agent
        self.facts = facts
        self.call_id = "reg-1"
        self.script: deque[int] = deque()
        self.password = "secret"
        self.requests: list[Request] = []
        self.authorized: list[bool] = []
        """Of each NOTIFY with credentials, whether they were right."""
        self._came = asyncio.Event()
        self._seen: set[str] = set()

    @classmethod
    async def open(cls, rig: Rig, device: Document, user_agent: str, facts: Mapping[str, str]) -> ScriptedPhone:
        loop = asyncio.get_running_loop()
        _, phone = await loop.create_datagram_endpoint(
            lambda: cls(rig, device, user_agent, facts), local_addr=("127.0.0.1", 0)
        )
        return phone

    def answers(self, *statuses: int) -> ScriptedPhone:
        """Add to the script."""
        self.script.extend(statuses)
        return self

    @property
    def username(self) -> str:
        sip = self.device.data["sip"]
        assert isinstance(sip, dict)
        return str(sip["username"])

    @property
    def contact(self) -> str:
        return self.facts.get("contact", f"sip:{self.username}@127.0.0.1:{self.address.port}")

    def binding(self, expires: float = 3600.0) -> Binding:
        moment = now()
        return Binding(
            aor=aor_of(self.username, REALM),
            account_id=self.device.account_id,
            device_id=self.device.id,
            contact=self.contact,
            flow=self.flow,
            call_id=self.call_id,
            cseq=1,
            expires_at=moment + expires,
            granted=int(expires),
            first_registered=moment,
            registered_at=moment,
            user_agent=self.user_agent,
            instance=self.facts.get("instance", ""),
            last_seen=moment,
            reach=Reach.REACHABLE,
        )

    @property
    def flow(self) -> Flow:
        return Flow.between(Transport.UDP, self.rig.address, self.address)

    def register(self, call_id: str | None = None) -> None:
        """Register as the registrar notes it, with a new Call-ID where one is given."""
        self.call_id = call_id or self.call_id
        self.rig.presence.change(BindingChanges(put=(self.binding(),)))

    def unregister(self) -> None:
        self.rig.presence.change(BindingChanges(removed=(self.binding(),)))

    def fall_silent(self) -> None:
        """Answer an OPTIONS no more."""
        (binding,) = [each for each in self._bindings() if each.contact == self.contact]
        self.rig.presence.lost(binding)

    async def give_up(self) -> None:
        """End the exchange under way without an answer, as timer F does after its 32 seconds."""
        self.rig.endpoint.transactions.flow_lost(self.flow)
        await asyncio.wait(self.rig.control._under_way)

    async def request(self, number: int = 1) -> Request:
        """Return the NOTIFY of this number, once it is here."""

        async def come() -> None:
            while len(self.requests) < number:
                self._came.clear()
                await self._came.wait()

        await asyncio.wait_for(come(), WAIT)
        return self.requests[number - 1]

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self.transport = transport
        self.address = Address(*transport.get_extra_info("sockname"))

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        request = parse_message(data)
        assert isinstance(request, Request)
        branch = request.via.branch or ""
        if branch in self._seen:
            return  # a retransmission of what is not answered
        self._seen.add(branch)
        self.requests.append(request)
        self._came.set()
        if (line := request.first("Authorization") or request.first("Proxy-Authorization")) is not None:
            self.authorized.append(self._is_right(line, request))
        status = self.script.popleft() if self.script else 0
        if status:
            self.transport.sendto(self._answer(request, status).encode(), addr)

    def _answer(self, request: Request, status: int) -> Response:
        response = Response.to_request(request, status, to_tag="phone")
        if status in (401, 407):
            name = "WWW-Authenticate" if status == 401 else "Proxy-Authenticate"
            nonce = f"nonce-{len(self.requests)}"
            response.add(name, f'Digest realm="{REALM}", nonce="{nonce}", algorithm=MD5, qop="auth"')
        return response

    def _is_right(self, line: str, request: Request) -> bool:
        _, given = parse_auth(line)
        ha1 = _md5(f"{given['username']}:{given['realm']}:{self.password}")
        ha2 = _md5(f"{request.method}:{given['uri']}")
        wanted = _md5(f"{ha1}:{given['nonce']}:{given['nc']}:{given['cnonce']}:{given['qop']}:{ha2}")
        return given["response"] == wanted and given["username"] == self.username

    def _bindings(self) -> Sequence[Binding]:
        return self.rig.presence.bindings(self.device.account_id, self.device.id)


def told(reports: Sequence[DeliveryReport]) -> list[tuple[str, int | None]]:
    """Return the state and SIP status of each report."""
    return [(report.state.value, report.sip_status) for report in reports]


def expire(rig: Rig, seconds: float) -> None:
    """Let time pass for what is followed."""
    rig.clock.ahead += seconds
    rig.deliveries.expire()


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()
