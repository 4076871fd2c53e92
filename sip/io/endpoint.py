"""The endpoint: every socket, the transactions over them, and one user above (RFC 3261 17, 18).

It feeds the core with what arrives and does what the core says. Requests that no transaction knows are inspected and
handed to the `TransactionUser`.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, TypeVar

import structlog

from sip.errors import ParseError, TransportFailed
from sip.flow import Address, Flow, Transport
from sip.guard import ConnectionGate, SourceGuard
from sip.io.accept import Acceptor
from sip.io.host import is_local, is_unspecified, local_host_towards, own_names
from sip.io.policy import EndpointPolicy
from sip.io.pool import ConnectionPool
from sip.io.resolver import Resolver
from sip.io.tcp import StreamConnection, open_stream
from sip.io.tls import Tls
from sip.io.transactions import TransactionLayer
from sip.io.udp import UdpListener
from sip.io.ways import Ways
from sip.io.websocket import WebSocketServer
from sip.message import Request, Response, parse_message
from sip.stun import answer_binding
from sip.trust import TrustedSources
from sip.uas import inspect
from sip.via import MAGIC_COOKIE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from sip.errors import SipError
    from sip.io.exchange import ClientTransaction, ServerTransaction
    from sip.locate import Hop
    from sip.uri import SipUri

log = structlog.get_logger(__name__)

KEEPALIVES: Final = frozenset({b"\r\n\r\n", b"\r\n", b"\0", b""})
"""Datagrams that only keep a NAT open: many phones send these in the place of STUN (RFC 5626 4.4.2)."""

KEEPALIVE_LENGTH: Final = max(map(len, KEEPALIVES))
BATCH: Final = 64  # messages that are parsed before the first of them is handled
CLOSE_TIMEOUT: Final = 1.0  # seconds that WebSockets get to close
EXCERPT: Final = 256  # bytes of a message that a log line may show


class TransactionUser(Protocol):
    """What lies above the transactions: the registrar, the calls."""

    def is_welcome(self, request: Request, flow: Flow) -> bool:
        """Tell whether the request is to be looked at: to what is not, nothing is answered, however wrong it is."""
        ...

    def on_request(self, request: Request, transaction: ServerTransaction) -> None:
        """Take a new request that passed inspection, and answer it, now or later, by the transaction."""
        ...

    def on_ack(self, request: Request, flow: Flow) -> None:
        """Take the ACK of a 2xx."""
        ...

    def on_flow_lost(self, flow: Flow) -> None:
        """Learn that a connection is gone."""
        ...


@dataclass(slots=True, init=False)
class Arrival:
    """A message that came, read."""

    message: Request | Response
    flow: Flow
    data: bytes

    def __init__(self, message: Request | Response, flow: Flow, data: bytes) -> None:
        self.message = message
        self.flow = flow
        self.data = data


Came = TypeVar("Came", Arrival, "ServerTransaction")

Tap: TypeAlias = "Callable[[bytes, Flow, Address | None, bool], None]"
"""Is told the message, its flow, where it went to if not to the flow's peer, and whether we sent it. Never raises."""


class Endpoint:
    """Our side of SIP. Make it and call `listen` within a running event loop."""

    def __init__(self, user: TransactionUser, policy: EndpointPolicy | None = None) -> None:
        policy = policy or EndpointPolicy()
        self._user = user
        self._loop = asyncio.get_running_loop()
        self.transactions = TransactionLayer(self._send, user.on_ack, new_token)
        self.trusted = TrustedSources()
        """Sources that are not limited."""
        self._guard = SourceGuard(policy.rate_per_source, policy.rate_burst, self.trusted)
        self._gate = ConnectionGate(policy.max_connections, policy.max_connections_per_source)
        self._tls = Tls(policy.tls)
        self._resolver = Resolver(policy.nameservers)
        self._udp: dict[Address, UdpListener] = {}
        self._pools = {
            transport: ConnectionPool(transport, policy.streams, self.receive, self._on_flow_lost)
            for transport in Transport
            if transport.reliable
        }
        self._web: dict[Transport, WebSocketServer] = {}
        self._acceptors: list[Acceptor] = []
        self._bound: list[tuple[Transport, Address]] = []
        self._parsed: list[Arrival] = []
        self.tap: Tap | None = None
        """Who is shown every message, raw; None where nobody looks."""
        self.received = 0
        """How many messages came, whatever became of them; keepalives are none."""

    @property
    def bound(self) -> Sequence[tuple[Transport, Address]]:
        """The addresses that are listened at, with the ports that the kernel chose where 0 was asked for."""
        return self._bound

    @property
    def connections(self) -> int:
        """How many connections of peers are open."""
        return len(self._gate)

    @property
    def accepting(self) -> bool:
        """Whether every listener for connections lets them in."""
        return all(acceptor.accepting for acceptor in self._acceptors)

    @property
    def backlog(self) -> float:
        """How full the fullest buffer of arrived datagrams is, from 0 to 1."""
        fullest = 0.0
        for listener in self._udp.values():
            fullest = max(fullest, listener.backlog)
        return fullest

    @property
    def lost(self) -> int:
        """How many datagrams came too fast to be received."""
        return sum(listener.lost for listener in self._udp.values())

    async def listen(self, transport: Transport, address: Address) -> Address:
        """Open a listener and return where it is. Raises OSError where it cannot be bound or has no certificate."""
        if transport is Transport.UDP:
            listener = UdpListener(address, self.receive)
            local = listener.local
            self._udp[local] = listener
        else:
            context = self._tls.server() if transport.secure else None
            acceptor = Acceptor(
                address, self._enter, self._door(transport), context, patience=self._pools[transport].limits.handshake
            )
            self._acceptors.append(acceptor)
            local = acceptor.local
        self._bound.append((transport, local))
        return local

    async def close(self) -> None:
        """Close every socket; nothing is sent or heard any more."""
        for acceptor in self._acceptors:
            await acceptor.close()
        for pool in self._pools.values():
            pool.close()
        for web in self._web.values():
            await web.shutdown(CLOSE_TIMEOUT)
        for listener in self._udp.values():
            listener.close()
        self.transactions.close()

    def reload(self, policy: EndpointPolicy) -> None:
        """Take certificate, key, CA and limits for new connections, and limits for messages; the rest stays.

        Raises OSError where the files do not fit together, and then keeps everything as it was.
        """
        self._tls.reload(policy.tls)
        self._guard.limit(policy.rate_per_source, policy.rate_burst)
        self._gate.limit(policy.max_connections, policy.max_connections_per_source)
        for pool in self._pools.values():
            pool.limits = policy.streams

    def certificate_expires(self) -> datetime | None:
        """Return when the certificate of our listeners is over; None where none needs it. Raises OSError."""
        secure = any(transport.secure for transport, _ in self._bound)
        return self._tls.expires() if secure else None

    def request(
        self,
        request: Request,
        flow: Flow,
        on_response: Callable[[Response], None],
        on_failure: Callable[[SipError], None],
    ) -> ClientTransaction:
        """Send a request in a client transaction of its own, with our Via on top.

        `on_response` gets every provisional and final response, for an INVITE also each 2xx that comes again or from
        another fork; `on_failure` gets TransactionTimeout or TransportFailed instead of a final response.
        """
        self._add_via(request, flow)
        return self.transactions.begin_client(request, flow, on_response, on_failure)

    def send(self, request: Request, flow: Flow) -> None:
        """Send a request that has no transaction: the ACK of a 2xx. Raises TransportFailed."""
        self._add_via(request, flow)
        self._send(request.encode(), flow)

    def address_of(self, flow: Flow) -> Address:
        """Return our address as the peer of the flow sees it, as far as this host knows."""
        if flow.transport.reliable:
            listening = self._listener_of(flow)
            if listening is None:
                return flow.local
            return Address(flow.local.host if is_unspecified(listening.host) else listening.host, listening.port)
        if not is_unspecified(flow.local.host):
            return flow.local
        return Address(local_host_towards(flow.host), flow.local.port)

    def contact_uri(self, flow: Flow, user: str = "roost") -> str:
        """Return a Contact URI of ours that the peer of the flow can send requests to."""
        suffix = "" if flow.transport is Transport.UDP else f";transport={flow.transport.uri_param}"
        return f"sip:{user}@{self.address_of(flow)}{suffix}"

    async def ways_to(self, uri: SipUri) -> Ways:
        """Find the ways to a URI that no flow is known for. Raises TransportFailed where there is none."""
        return Ways(await self._resolver.locate(uri), self._connect)

    async def flow_to(self, uri: SipUri) -> Flow:
        """Open the first way to a URI that can be opened. Raises TransportFailed where there is none."""
        return await (await self.ways_to(uri)).next()

    def is_own(self, host: str) -> bool:
        """Return whether a URI's host names this machine: one of its addresses, or its name."""
        try:
            address = ip_address(host)
        except ValueError:
            return host.lower() in own_names()
        if address.is_loopback or any(local.host == host for _, local in self._bound):
            return True
        return any(is_unspecified(local.host) for _, local in self._bound) and is_local(host)

    def receive(self, data: bytes, flow: Flow) -> None:
        """Take one message from the network. Nothing that a peer can send raises out of here."""
        if len(data) <= KEEPALIVE_LENGTH and data in KEEPALIVES:
            return
        self.received += 1
        if not self._guard.admit(flow.host, self._loop.time()):
            self._refuse("message of a source over its rate", flow.host)
            return
        if self.tap is not None:
            self.tap(data, flow, None, False)
        try:
            self._parsed.append(Arrival(parse_message(data), flow, data))
        except ParseError as fault:
            self._unreadable(fault, flow, data)
            return
        except Exception as error:  # noqa: BLE001 - logged
            self._failed(flow, error)
            return
        if len(self._parsed) == 1:
            self._loop.call_soon(self._handle_parsed)
        elif len(self._parsed) >= BATCH:
            self._handle_parsed()

    def _handle_parsed(self) -> None:
        """Handle what came in this turn of the loop, by steps: each finds its code and data in the caches.

        All of it, however long it takes: what comes meanwhile waits in the kernel's buffers, which are bounded.
        """
        parsed, self._parsed = self._parsed, []
        begun = self._each(self._match, parsed)
        self._each(self._hand_over, self._each(self._inspect, begun))

    def _each(self, step: Callable[[Came], ServerTransaction | None], items: Sequence[Came]) -> list[ServerTransaction]:
        """Take all items through a step, and return what goes on from there; one that fails stops no other."""
        results = []
        for item in items:
            try:
                result = step(item)
            except Exception as error:  # noqa: BLE001 - logged
                self._failed(item.flow, error)
            else:
                if result is not None:
                    results.append(result)
        return results

    def _failed(self, flow: Flow, error: Exception) -> None:
        self.transactions.dropped["our fault"] += 1
        log.error("message.failed", flow=str(flow), exc_info=error)

    def _unreadable(self, fault: ParseError, flow: Flow, data: bytes) -> None:
        if flow.transport is Transport.UDP and self._keep_open(data, flow):
            return
        self.transactions.dropped["unreadable message"] += 1
        log.debug("message.unreadable", flow=str(flow), reason=fault.reason, excerpt=repr(data[:EXCERPT]))

    def _keep_open(self, data: bytes, flow: Flow) -> bool:
        """Answer a STUN keepalive; False where it is none."""
        answer = answer_binding(data, flow.remote)
        if answer is not None:
            with contextlib.suppress(TransportFailed):
                self._send(answer, flow)
        return answer is not None

    def _match(self, arrival: Arrival) -> ServerTransaction | None:
        """Give a message to the transaction that it belongs to, and return the one that a new request begins."""
        message, flow = arrival.message, arrival.flow
        try:
            if isinstance(message, Request):
                return self._receive_request(message, flow)
            if message.defect is not None:
                raise message.defect
            self.transactions.receive_response(message)
        except ParseError as fault:
            self._unreadable(fault, flow, arrival.data)
        return None

    def _receive_request(self, request: Request, flow: Flow) -> ServerTransaction | None:
        if not self._user.is_welcome(request, flow):
            self.transactions.dropped["unwelcome request"] += 1
            return None
        try:
            return self.transactions.receive_request(request, flow)
        except ParseError as fault:
            # RFC 4475 3.1.2.1: a Via that cannot be read SHOULD be answered 400; where from is known all the same.
            if request.method == "ACK" or not request.lines("Via"):
                raise
            refusal = Response.to_request(request, fault.status, to_tag=new_token())
            with contextlib.suppress(TransportFailed):
                self._send(refusal.encode(), flow)
            return None

    def _inspect(self, transaction: ServerTransaction) -> ServerTransaction | None:
        """Return the transaction if its request is one to look at, else answer it."""
        request = transaction.request
        if request is None:
            return None  # a CANCEL came right behind
        refusal = inspect(request)
        if refusal is None:
            return transaction
        facts = {"method": request.method, "call_id": request.first("Call-ID"), "status": refusal.status}
        log.debug("request.refused", flow=str(transaction.flow), **facts)
        transaction.respond_and_forget(refusal)
        return None

    def _hand_over(self, transaction: ServerTransaction) -> None:
        if transaction.request is not None:
            self._user.on_request(transaction.request, transaction)

    def _door(self, transport: Transport) -> Callable[[Callable[[], None]], asyncio.Protocol]:
        """Return what makes the protocol of an accepted connection."""
        pool = self._pools[transport]
        if transport in (Transport.WS, Transport.WSS):
            return self._web.setdefault(transport, WebSocketServer(pool)).door
        return lambda left: StreamConnection(pool, left)

    def _enter(self, host: str) -> Callable[[], None] | None:
        leave = self._gate.enter(host) if self._guard.admit(host, self._loop.time()) else None
        if leave is None:
            self._refuse("connection of a source over its limit", host)
        return leave

    def _refuse(self, what: str, host: str) -> None:
        self.transactions.dropped[what] += 1
        if self._guard.should_tell(self._loop.time()):
            log.warning("source.limited", source=host, dropped=what)

    def _on_flow_lost(self, flow: Flow) -> None:
        self.transactions.flow_lost(flow)
        self._user.on_flow_lost(flow)

    def _send(self, data: bytes, flow: Flow, to: Address | None = None) -> None:
        if flow.transport is Transport.UDP:
            listener = self._udp.get(flow.local) or self._udp_listener(flow.remote)
            listener.send(data, flow, to)
        else:
            self._pools[flow.transport].send(data, flow)
        if self.tap is not None:
            self.tap(data, flow, to, True)

    def _udp_listener(self, remote: Address) -> UdpListener:
        """Find a socket that can reach the address: a binding may be older than the listener it came by."""
        wants_six = ":" in remote.host
        for listener in self._udp.values():
            if (":" in listener.local.host) == wants_six:
                return listener
        raise TransportFailed(f"no UDP listener for {remote}")

    def _listener_of(self, flow: Flow) -> Address | None:
        """Find the listener that the flow came by, or another that its peer may reach."""
        six = ":" in flow.local.host
        ours = [local for kind, local in self._bound if kind is flow.transport and (":" in local.host) == six]
        for local in ours:
            if local.port == flow.local.port and (local.host == flow.local.host or is_unspecified(local.host)):
                return local
        return ours[0] if ours else None

    async def _connect(self, hop: Hop) -> Flow:
        if hop.transport is Transport.UDP:
            return Flow.between(Transport.UDP, self._udp_listener(hop.address).local, hop.address)
        context = self._tls.client() if hop.transport.secure else None
        return await open_stream(self._pools[hop.transport], hop.address, name=hop.name, context=context)

    def _add_via(self, request: Request, flow: Flow) -> None:
        ours = self.address_of(flow)
        request.put_first("Via", f"SIP/2.0/{flow.transport.value} {ours};branch={MAGIC_COOKIE}{new_token()};rport")


def new_token() -> str:
    """Return a fresh tag, branch or Call-ID part: 64 random bits (RFC 3261 19.3 asks for 32)."""
    return secrets.token_hex(8)
