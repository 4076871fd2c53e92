"""Peers for tests of calls: an endpoint that sends nothing and keeps everything, and phones that a test answers for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sip.errors import TransportFailed
from sip.flow import Address, Flow, Transport
from sip.io.ways import Ways
from sip.locate import Hop
from sip.message import Request, Response
from sip.outcome import Side
from sip.sdp import SessionDescription

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from api.ports import Document, Kind, PageQuery
    from sip.errors import SipError
    from sip.location import Binding
    from sip.media.supervisor import NoMedia
    from sip.mediaplan import Source
    from sip.uri import SipUri

WORKER_PORTS = {Side.A: 9000, Side.B: 9002}

OURS = Address("192.0.2.1", 5060)


def flow(port: int, host: str = "10.0.0.7", *, local: str = OURS.host) -> Flow:
    return Flow.between(Transport.UDP, Address(local, 5060), Address(host, port))


def sdp(port: int, *attributes: str) -> bytes:
    lines = ["v=0", "o=phone 1 1 IN IP4 10.0.0.9", "s=-", "c=IN IP4 10.0.0.9", "t=0 0"]
    lines += [f"m=audio {port} RTP/AVP 0 101", "a=rtpmap:101 telephone-event/8000", *attributes]
    return "".join(f"{line}\r\n" for line in lines).encode()


@dataclass
class Sent:
    """A request that was sent in a transaction, and how to answer it."""

    request: Request
    flow: Flow
    on_response: Callable[[Response], None]
    on_failure: Callable[[SipError], None]
    cancelled: list[tuple[str, str]] | None = None

    def cancel(self, *extra: tuple[str, str]) -> None:
        self.cancelled = list(extra)

    def answer(self, status: int, body: bytes = b"", *, tag: str = "peer", **headers: str) -> Sent:
        """Let the peer answer; a dialog's request keeps the tag that it has."""
        response = Response.to_request(self.request, status, to_tag=tag if status > 100 else "")
        response.set("Contact", f"<sip:phone@10.0.0.7:{self.flow.port}>")
        for name, value in headers.items():
            response.set(name.replace("_", "-"), value)
        if body:
            response.set("Content-Type", "application/sdp")
            response.body = body
        self.on_response(response)
        return self


@dataclass
class FakeSip:
    """Implements `daemon.leg.SipUser`."""

    sent: list[Sent] = field(default_factory=list)
    acks: list[tuple[Request, Flow]] = field(default_factory=list)
    routes: dict[str, Flow | list[Flow]] = field(default_factory=dict)
    """By host; several are tried one after the other."""

    def request(
        self,
        request: Request,
        flow: Flow,
        on_response: Callable[[Response], None],
        on_failure: Callable[[SipError], None],
    ) -> Sent:
        self.sent.append(Sent(request, flow, on_response, on_failure))
        return self.sent[-1]

    def send(self, request: Request, flow: Flow) -> None:
        self.acks.append((request, flow))

    def contact_uri(self, flow: Flow) -> str:
        return f"sip:roost@{flow.local}"

    async def ways_to(self, uri: SipUri) -> Ways:
        found = self.routes.get(uri.host, [])
        flows = found if isinstance(found, list) else [found]
        if not flows:
            raise TransportFailed(f"no way to {uri.host}")
        return Ways([Hop(each.transport, each.remote, uri.host) for each in flows], self.connect)

    async def connect(self, hop: Hop) -> Flow:
        if not hop.address.port:
            raise TransportFailed("refused")
        return Flow.between(hop.transport, OURS, hop.address)

    def is_own(self, host: str) -> bool:
        return host == OURS.host

    def take(self, method: str) -> Sent:
        """Return the oldest request of a method that no test has taken yet."""
        found = next((sent for sent in self.sent if sent.request.method == method), None)
        assert found is not None, f"no {method} among {[sent.request for sent in self.sent]}"
        self.sent.remove(found)
        return found

    def take_ack(self) -> Request:
        return self.acks.pop(0)[0]


@dataclass
class FakeTransaction:
    """A request of a phone's, and what it was answered."""

    request: Request | None
    flow: Flow
    responses: list[Response] = field(default_factory=list)
    on_cancel: Callable[[], None] | None = None
    on_failure: Callable[[SipError], None] | None = None
    acknowledgements: int = 0

    def respond(self, response: Response) -> None:
        assert self.request is not None, "answered twice"
        self.responses.append(response)
        if response.final:
            self.request = None

    def acknowledged(self) -> None:
        self.acknowledgements += 1

    @property
    def status(self) -> int:
        return self.responses[-1].status


@dataclass
class FakeBindings:
    """Implements `daemon.targets.Bindings`."""

    live: dict[str, list[Binding]] = field(default_factory=dict)

    def bindings(self, account_id: str, device_id: str) -> Sequence[Binding]:
        return self.live.get(device_id, [])


@dataclass
class FakeDocuments:
    """The reading half of `api.ports.Documents`."""

    documents: dict[tuple[Kind, str], Document] = field(default_factory=dict)

    async def get(self, kind: Kind, account_id: str, document_id: str) -> Document | None:
        return self.documents.get((kind, document_id))

    async def page(self, query: PageQuery) -> Sequence[Document]:
        """Return all that an owner may have: who asks looks closer."""
        return [document for (kind, _), document in self.documents.items() if kind is query.kind]


class FakeWorker:
    """Implements `daemon.media.Worker`: it has G.711 and G.722, and keeps what it is told."""

    def __init__(self) -> None:
        self.said: dict[Side, SessionDescription] = {}
        self.hears: dict[Side, Source] = {}
        self.closed = 0

    def offer(self, side: Side) -> SessionDescription:
        lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0"]
        lines += [f"m=audio {WORKER_PORTS[side]} RTP/AVP 0 8 9 101", "a=rtpmap:101 telephone-event/8000"]
        return SessionDescription.parse("".join(f"{line}\r\n" for line in lines).encode())

    def point(self, side: Side, said: SessionDescription) -> None:
        self.said[side] = said

    def hear(self, side: Side, source: Source) -> None:
        self.hears[side] = source

    def listen(self, on_lost: Callable[[], None], on_pressed: Callable[[Side, str], None], /) -> None:
        self.lose, self.press = on_lost, on_pressed

    def close(self) -> None:
        self.closed += 1


@dataclass
class FakeWorkers:
    """Implements `daemon.media.Workers`."""

    given: list[FakeWorker] = field(default_factory=list)
    refusal: NoMedia | None = None

    async def open(self) -> FakeWorker:
        if self.refusal is not None:
            raise self.refusal
        self.given.append(FakeWorker())
        return self.given[-1]
