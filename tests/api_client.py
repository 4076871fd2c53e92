"""What the tests of the API share: a client of the whole API over a real store, and stand-ins for the SIP side."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp.test_utils import BaseTestServer
from aiohttp.web import ServerRunner

from api.app import Api as Served
from api.policy import Policy
from api.ports import (
    CannotTransfer,
    ContactStatus,
    DeliveryReport,
    DeviceStatus,
    Document,
    Kind,
    Leg,
    NoEndpoint,
    Ports,
    Registration,
    SyncJob,
    TokenIdentity,
    Trace,
    WebhookAttempt,
)
from api.server import make_server
from daemon.events import EventBus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from aiohttp import ClientResponse
    from aiohttp.test_utils import TestClient

    from api.ports import QuickcallOptions
    from daemon.store import Store
    from daemon.store.store import NewAccount
    from sip.sighting import Sighting
    from sip.vendor import Mode


class ApiServer(BaseTestServer):
    """Serves the API at a port of its own."""

    def __init__(self, ports: Ports, policy: Policy | None = None) -> None:
        super().__init__()
        self._api = Served(ports, policy)

    async def _make_runner(self, **_: Any) -> ServerRunner:
        # Streams of events have no end of their own, and the test has seen what it wanted.
        return ServerRunner(make_server(self._api.handle), shutdown_timeout=0.1)


class TablePresence:
    """Registrations that a test writes down: implements `api.ports.Presence`."""

    def __init__(self) -> None:
        self.table: list[Registration] = []

    def register(self, account_id: str, device_id: str, **values: Any) -> Registration:
        defaults: dict[str, Any] = {
            "owner_id": None,
            "username": "bob",
            "realm": "master.example",
            "contact": "sip:bob@192.0.2.7:5062",
            "received_host": "192.0.2.7",
            "received_port": 5062,
            "transport": "udp",
            "call_id": "a84b4c76e66710",
            "user_agent": "Phone 1.0",
            "from_user": "bob",
            "from_host": "master.example",
            "expires_in": 100,
            "granted": 300,
            "first_registered": 63_867_219_000,
            "last_registered": 63_867_219_200,
            "path": (),
        }
        self.table.append(Registration(device_id=device_id, account_id=account_id, **{**defaults, **values}))
        return self.table[-1]

    def edition(self, account_id: str) -> tuple[str, ...]:
        return tuple(self.registered_devices(account_id))

    def registered_devices(self, account_id: str) -> Sequence[str]:
        return list(dict.fromkeys(each.device_id for each in self.table if each.account_id == account_id))

    def status_json(self, account_id: str) -> bytes:
        return orjson.dumps([{"device_id": each, "registered": True} for each in self.registered_devices(account_id)])

    def are_registered(self, account_id: str, device_ids: Iterable[str]) -> Sequence[bool]:
        registered = self.registered_devices(account_id)
        return [device_id in registered for device_id in device_ids]

    def registrations(self, account_id: str) -> Sequence[Registration]:
        return [each for each in self.table if each.account_id == account_id]

    def count(self, account_id: str | None) -> int:
        return sum(account_id in (None, each.account_id) for each in self.table)

    async def drop_all(self, account_id: str) -> None:
        self.table = [each for each in self.table if each.account_id != account_id]


@dataclass
class TableStatuses:
    """Tells of what is in the table: implements `api.ports.Statuses`."""

    presence: TablePresence

    def of(self, account_id: str, device_ids: Iterable[str]) -> Sequence[DeviceStatus]:
        found = {device_id: self._contacts(account_id, device_id) for device_id in device_ids}
        return [
            DeviceStatus(device_id=each, registered=bool(contacts), reachable=None, in_call=False, contacts=contacts)
            for each, contacts in found.items()
        ]

    def _contacts(self, account_id: str, device_id: str) -> list[ContactStatus]:
        return [
            ContactStatus(
                contact=each.contact,
                source=f"{each.received_host}:{each.received_port}",
                transport=each.transport,
                user_agent=each.user_agent,
                vendor="unknown",
                expires_in=each.expires_in,
                first_registered_at=each.first_registered,
                registered_at=each.last_registered,
                reachable=None,
                last_seen=each.last_registered,
                latency_ms=None,
                path=each.path,
                instance="",
            )
            for each in self.presence.registrations(account_id)
            if each.device_id == device_id
        ]


@dataclass
class TriedWebhooks:
    """Attempts that a test writes down: implements `api.ports.Webhooks`."""

    tried: list[tuple[str, WebhookAttempt]] = field(default_factory=list)

    def attempts(self, account_id: str, webhook_id: str | None = None) -> Sequence[WebhookAttempt]:
        return [
            attempt
            for owner, attempt in reversed(self.tried)
            if owner == account_id and webhook_id in (None, attempt.hook_id)
        ]


@dataclass
class LoggedControl:
    """Notes what the API asked of phones: implements `api.ports.Control`."""

    store: Store
    synced: list[str] = field(default_factory=list)
    notified: list[tuple[str, str, str, bytes]] = field(default_factory=list)
    flushed: list[str] = field(default_factory=list)
    asked: list[tuple[Mode | None, str | None, float]] = field(default_factory=list)
    """The mode, contact and wait of each sync and notify."""
    reports: list[DeliveryReport] = field(default_factory=list)
    """What is told of every NOTIFY."""

    async def flush(self, account_id: str, username: str) -> bool:
        self.flushed.append(username)
        return username == "bob"

    async def check_sync(
        self, device: Document, *, mode: Mode | None = None, contact: str | None = None, wait: float = 0.0
    ) -> Sequence[DeliveryReport]:
        self.synced.append(device.id)
        self.asked.append((mode, contact, wait))
        return self.reports

    async def notify(
        self,
        device: Document,
        *,
        event: str,
        content_type: str,
        body: bytes,
        contact: str | None = None,
        wait: float = 0.0,
    ) -> Sequence[DeliveryReport]:
        self.notified.append((device.id, event, content_type, body))
        self.asked.append((None, contact, wait))
        return self.reports

    async def outcomes(self, account_id: str, device_id: str) -> Sequence[DeliveryReport]:
        return self.reports


@dataclass
class LoggedJobs:
    """Jobs that do nothing: implements `api.ports.SyncJobs`."""

    jobs: list[tuple[str, SyncJob]] = field(default_factory=list)
    """With their accounts."""
    devices: list[list[str]] = field(default_factory=list)
    failure: Exception | None = None

    async def start(
        self, account_id: str, device_ids: Sequence[str], *, mode: Mode | None, rate: float, user_id: str | None = None
    ) -> SyncJob:
        if self.failure is not None:
            raise self.failure
        total = len(device_ids)
        job = SyncJob(f"{len(self.jobs):032x}", user_id, mode, rate, "running", total, total, 0, 63_867_219_200, None)
        self.jobs.append((account_id, job))
        self.devices.append(list(device_ids))
        return job

    async def get(self, account_id: str, job_id: str) -> SyncJob | None:
        return next((job for job in await self.of_account(account_id) if job.id == job_id), None)

    async def of_account(self, account_id: str) -> Sequence[SyncJob]:
        return [job for owner, job in reversed(self.jobs) if owner == account_id]

    async def stop(self, account_id: str, job_id: str) -> SyncJob | None:
        job = await self.get(account_id, job_id)
        if job is None:
            return None
        stopped = replace(job, state="stopped", ended=63_867_219_300)
        self.jobs[self.jobs.index((account_id, job))] = account_id, stopped
        return stopped


@dataclass
class LoggedQuickcalls:
    """Notes the calls asked for: implements `api.ports.Quickcalls`."""

    started: list[tuple[str, list[str], QuickcallOptions, bool]] = field(default_factory=list)
    failure: Exception | None = None

    async def start(
        self, owner: Document, devices: Sequence[Document], options: QuickcallOptions, *, wait: bool
    ) -> Mapping[str, str]:
        if self.failure is not None:
            raise self.failure
        if not devices:
            raise NoEndpoint
        self.started.append((owner.id, [device.id for device in devices], options, wait))
        return {device.id: f"{index:036x}-quickcall" for index, device in enumerate(devices)}


@dataclass
class TableChannels:
    """Legs that a test writes down: implements `api.ports.Channels`."""

    legs: list[Leg] = field(default_factory=list)
    hung_up: list[str] = field(default_factory=list)
    transferred: list[tuple[str, str]] = field(default_factory=list)
    settled: bool = True

    def add(self, account_id: str, **values: Any) -> Leg:
        """Write down a leg of a device that has answered, unless `values` say otherwise."""
        defaults: dict[str, Any] = {
            "call_id": "0a1b-quickcall",
            "interaction_id": "63867219200-0a1b2c3d",
            "side": "device",
            "device_id": "d" * 32,
            "owner_id": "",
            "username": "bob",
            "presence_id": "bob@master.example",
            "destination": "bob",
            "request": "sip:bob@192.0.2.7:5062",
            "caller_id_name": "Device QuickCall",
            "caller_id_number": "2600",
            "callee_id_name": "",
            "callee_id_number": "bob",
            "other_leg": "",
            "media": "bypass",
            "auto_answer": True,
            "began": 1_700_000_000.25,
            "rang": 1_700_000_001.0,
            "answered": 1_700_000_003.5,
        }
        self.legs.append(Leg(account_id=account_id, **{**defaults, **values}))
        return self.legs[-1]

    def list(self, account_id: str) -> Sequence[Leg]:
        return [leg for leg in self.legs if leg.account_id == account_id]

    def find(self, account_id: str, call_id: str) -> Leg | None:
        return next((leg for leg in self.list(account_id) if leg.call_id == call_id), None)

    def hang_up(self, account_id: str, call_id: str) -> None:
        self.hung_up.append(call_id)

    def transfer(self, account_id: str, call_id: str, number: str) -> None:
        if not self.settled:
            raise CannotTransfer("not now")
        self.transferred.append((call_id, number))


@dataclass
class TableTraces:
    """Traces with the messages that a test writes down: implements `api.ports.Traces`."""

    traces: dict[str, Trace] = field(default_factory=dict)
    messages: list[Sighting] = field(default_factory=list)
    asked: list[tuple[int, int]] = field(default_factory=list)
    failure: Exception | None = None

    def start(self, device: Document, *, seconds: int, messages: int) -> Trace:
        if self.failure is not None:
            raise self.failure
        self.asked.append((seconds, messages))
        began = 63_867_219_200
        self.traces[device.id] = Trace(True, began, began + seconds, 0, self.messages)
        return self.traces[device.id]

    def stop(self, account_id: str, device_id: str) -> Trace | None:
        trace = self.get(account_id, device_id)
        if trace is not None:
            self.traces[device_id] = trace = replace(trace, running=False)
        return trace

    def get(self, account_id: str, device_id: str) -> Trace | None:
        return self.traces.get(device_id)

    def clear(self, account_id: str, device_id: str) -> None:
        self.traces.pop(device_id, None)


@dataclass
class Api:
    """A client with a token of the master account."""

    client: TestClient[Any, Any]
    store: Store
    master: NewAccount
    token: str
    presence: TablePresence
    control: LoggedControl
    quickcalls: LoggedQuickcalls
    events: EventBus
    jobs: LoggedJobs
    webhooks: TriedWebhooks
    channels: TableChannels
    traces: TableTraces

    @classmethod
    async def start(cls, aiohttp_client: Any, store: Store, policy: Policy | None = None) -> Api:
        master = await store.create_master("Master", "master.example")
        presence, control, quickcalls = TablePresence(), LoggedControl(store), LoggedQuickcalls()
        jobs, statuses, events, webhooks = LoggedJobs(), TableStatuses(presence), EventBus(), TriedWebhooks()
        channels, traces = TableChannels(), TableTraces()
        ports = Ports(
            store.documents,
            store.tokens,
            presence,
            control,
            quickcalls,
            jobs,
            statuses=statuses,
            events=events,
            webhooks=webhooks,
            channels=channels,
            cdrs=store.cdrs,
            traces=traces,
        )
        client = await aiohttp_client(ApiServer(ports, policy or Policy(version="1.2.3")))
        token = await store.tokens.issue(TokenIdentity(master.account_id, None, "cb_api_auth"))
        return cls(
            client, store, master, token, presence, control, quickcalls, events, jobs, webhooks, channels, traces
        )

    @property
    def account(self) -> str:
        """The path of the master account."""
        return f"/v2/accounts/{self.master.account_id}"

    async def send(self, method: str, path: str, **options: Any) -> ClientResponse:
        """Send a request, with the master's token unless `token` says otherwise.

        `data` goes into an envelope; `body` is sent as it is.
        """
        token = options.pop("token", self.token)
        headers = dict(options.pop("headers", {}))
        if token is not None:
            headers["X-Auth-Token"] = token
        if "data" in options:
            options["json"] = {"data": options.pop("data")}
        if "body" in options:
            options["data"] = options.pop("body")
        path = path if path == "/" or path.startswith("/v") else self.account + path
        return await self.client.request(method, path, headers=headers, **options)

    async def ask(self, method: str, path: str, *, status: int = 200, **options: Any) -> dict[str, Any]:
        """Send a request and return the envelope of its answer, which must have this status."""
        response = await self.send(method, path, **options)
        envelope = orjson.loads(await response.read())

        assert status == response.status, envelope
        assert response.headers["Content-Type"] == "application/json"
        assert isinstance(envelope, dict)
        return envelope

    async def put_device(self, **data: Any) -> dict[str, Any]:
        """Create a device and return it."""
        data.setdefault("name", "desk")
        return (await self.ask("PUT", "/devices", data=data, status=201))["data"]

    async def put_user(self, **data: Any) -> dict[str, Any]:
        """Create a user and return it."""
        user = {"first_name": "Ann", "last_name": "Lee", **data}
        return (await self.ask("PUT", "/users", data=user, status=201))["data"]

    async def child(self, name: str = "child", parent: str | None = None) -> tuple[NewAccount, str]:
        """Make an account below the master or the parent; returns it and a token of its own."""
        account = await self.store.add_account(name, f"{name}.example", parent)
        token = await self.store.tokens.issue(TokenIdentity(account.account_id, None, "cb_api_auth"))
        return account, token

    async def stored(self, kind: Kind, document_id: str) -> Document:
        """Return a document of the master account as it is stored."""
        document = await self.store.documents.get(kind, self.master.account_id, document_id)
        assert document is not None
        return document
