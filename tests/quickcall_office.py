"""A small office for tests of quickcalls: its documents, its phones, and the calls between them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from call_peers import FakeBindings, FakeDocuments, FakeSip, FakeTransaction, FakeWorkers, Sent, flow, sdp

from api.ports import Document, Kind, QuickcallOptions
from config.settings import QuickcallSettings
from daemon.calls import LiveCalls
from daemon.dialplan import Dialplan
from daemon.directory import Directory
from daemon.extensions import Extensions
from daemon.media import MediaModes
from daemon.quickcall import Quickcalls
from daemon.targets import Targets
from sip.aor import aor_of
from sip.calllimits import CallLimits
from sip.location import Binding
from sip.message import Request
from sip.vendors import VendorTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from api.ports import Leg

ACCOUNT = "a" * 32
YEALINK = "Yealink SIP-T27G 69.86.0.15"
BARESIP = "baresip v1.0.0 (x86_64/linux)"


def document(kind: Kind, document_id: str, data: Mapping[str, Any]) -> Document:
    return Document(kind, ACCOUNT, document_id, "1-a", 0, 0, dict(data), {})


def options(number: str = "1002", **changes: Any) -> QuickcallOptions:
    fields: dict[str, Any] = {
        "number": number,
        "filtered_number": number,
        "auto_answer": True,
        "callee_name": "Reception",
        "callee_number": "100",
        "ignore_early_media": True,
        "bypass": True,
        "timeout": 30,
        "retain_caller_id": True,
    }
    return QuickcallOptions(**{**fields, **changes})


class World:
    """It has one account; phones are made by `device`."""

    def __init__(self, settings: QuickcallSettings | None = None, limits: CallLimits | None = None) -> None:
        self.sip, self.bindings, self.documents = FakeSip(), FakeBindings(), FakeDocuments()
        self.directory = Directory()
        self.kept: list[Leg] = []
        self.events: list[tuple[str, Mapping[str, object]]] = []
        self.live = LiveCalls(self.sip, self, keep=self.kept.extend)
        targets = Targets(
            self.sip,
            self.bindings,
            self.directory,
            VendorTable.shipped(),
            self.documents,
        )
        self.extensions = Extensions()
        dialplan = Dialplan(
            self.sip, targets, self.directory, self.extensions, self.documents, settings or QuickcallSettings()
        )
        self.workers = FakeWorkers()
        modes = MediaModes(self.sip, self.workers, "")
        self.quickcalls = Quickcalls(self.live, modes, targets, dialplan, limits or CallLimits())
        self.put(document(Kind.ACCOUNT, ACCOUNT, {"name": "Office", "realm": "office.example"}))

    def emit(self, account_id: str, name: str, data: Mapping[str, object]) -> None:
        """Keep an event (`daemon.events.EventSink`)."""
        self.events.append((name, data))

    def put(self, new: Document) -> Document:
        self.documents.documents[new.kind, new.id] = new
        self.directory.changed(None, new)
        self.extensions.changed(None, new)
        return new

    def device(self, name: str, port: int | None = None, *, user_agent: str = BARESIP, **data: Any) -> Document:
        """Make a device with the username `name`, registered from `port` unless that is None."""
        sip = {"username": name, "password": "secret-of-" + name, **data.pop("sip", {})}
        made = self.put(document(Kind.DEVICE, name, {"name": name, "sip": sip, **data}))
        if port is not None:
            self.register(name, port, user_agent=user_agent)
        return made

    def register(self, name: str, port: int, *, user_agent: str = BARESIP, **changes: Any) -> Binding:
        fields: dict[str, Any] = {
            "aor": aor_of(name, "office.example"),
            "account_id": ACCOUNT,
            "device_id": name,
            "contact": f"sip:x-{name}@10.0.0.7:{port};ob",
            "flow": flow(port),
            "call_id": "r",
            "cseq": 1,
            "expires_at": 1e9,
            "granted": 60,
            "first_registered": 0.0,
            "registered_at": 0.0,
            "user_agent": user_agent,
        }
        binding = Binding(**{**fields, **changes})
        self.bindings.live.setdefault(name, []).append(binding)
        return binding

    async def call(self, *devices: Document, **changes: Any) -> Mapping[str, str]:
        return await self.quickcalls.start(devices[0], devices, options(**changes), wait=False)

    async def waited(self, *devices: Document, **changes: Any) -> asyncio.Task[Mapping[str, str]]:
        """Begin a call as a POST does, and let it come as far as it does alone."""
        task = asyncio.ensure_future(self.quickcalls.start(devices[0], devices, options(**changes), wait=True))
        await settle()
        return task

    async def connect(self) -> tuple[Sent, Sent]:
        """Let device 1001 and number 1002 come to talk; returns their INVITEs."""
        await self.call(self.device("1001", 5001))
        self.device("1002", 5002)
        device = self.sip.take("INVITE").answer(200, sdp(4001, "a=inactive"), tag="dev")
        await settle()
        number = self.sip.take("INVITE").answer(200, sdp(4002), tag="num")
        self.sip.take("INVITE").answer(200, sdp(4001))
        self.sip.acks.clear()
        return device, number

    def ask(self, leg: Sent, method: str, cseq: int, body: bytes = b"", **headers: str) -> FakeTransaction:
        """Let a phone send a request within its dialog."""
        return self.deliver(self.of_phone(leg, method, cseq, body, **headers))

    def of_phone(self, leg: Sent, method: str, cseq: int, body: bytes = b"", **headers: str) -> Request:
        tag = {5001: "dev", 5002: "num"}.get(leg.flow.port, "peer")
        request = Request(method, "sip:roost@192.0.2.1:5060")
        request.set("From", f"{leg.request.first('To')};tag={tag}")
        request.set("To", str(leg.request.first("From")))
        request.set("Call-ID", leg.request.call_id)
        request.set("CSeq", f"{cseq} {method}")
        for name, value in headers.items():
            request.set(name.replace("_", "-"), value)
        request.body = body
        return request

    def deliver(self, request: Request) -> FakeTransaction:
        transaction = FakeTransaction(request, flow(5001))
        assert self.live.on_dialog_request(request, transaction)
        return transaction

    def nothing_left(self) -> bool:
        return (len(self.live), self.live.dialogs) == (0, 0)


async def settle() -> None:
    """Let tasks run until they wait for something else than the loop."""
    for _ in range(20):
        await asyncio.sleep(0)
