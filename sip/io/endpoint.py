"""The endpoint: every socket, the transactions over them, and one user above (RFC 3261 17, 18).

It feeds the core with what arrives and does what the core says. Requests that no transaction knows are inspected and
handed to the `TransactionUser`.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from sip.errors import ParseError, TransportFailed
from sip.flow import Address, Flow, Transport
from sip.io.tcp import StreamPool, listen_tcp
from sip.io.transactions import ClientTransaction, ServerTransaction, TransactionLayer
from sip.io.udp import UdpListener
from sip.message import Request, Response, parse_message
from sip.uas import inspect
from sip.via import MAGIC_COOKIE, Via

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sip.errors import SipError
    from sip.uri import SipUri

log = structlog.get_logger(__name__)

KEEPALIVES: Final = frozenset({b"\r\n\r\n", b"\r\n", b"\0", b""})
"""Datagrams that only keep a NAT open (RFC 5626 4.4.2 has STUN for it; phones send these)."""

EXCERPT: Final = 256  # bytes of a message that a log line may show
RESOLVE_TIMEOUT: Final = 5.0  # seconds


class TransactionUser(Protocol):
    """What lies above the transactions: the registrar, the calls."""

    def on_request(self, request: Request, transaction: ServerTransaction) -> None:
        """Take a new request that passed inspection, and answer it, now or later, by the transaction."""
        ...

    def on_ack(self, request: Request, flow: Flow) -> None:
        """Take the ACK of a 2xx."""
        ...

    def on_flow_lost(self, flow: Flow) -> None:
        """Learn that a connection is gone."""
        ...


class Endpoint:
    """Our side of SIP. Make it and call `listen` within a running event loop."""

    def __init__(self, user: TransactionUser) -> None:
        self._user = user
        self.transactions = TransactionLayer(self._send, self._on_request, user.on_ack, new_token)
        self._udp: dict[Address, UdpListener] = {}
        self._pools: dict[Transport, StreamPool] = {
            Transport.TCP: StreamPool(Transport.TCP, self.receive, self._on_flow_lost)
        }
        self._servers: list[asyncio.Server] = []
        self._bound: list[tuple[Transport, Address]] = []

    @property
    def bound(self) -> Sequence[tuple[Transport, Address]]:
        """The addresses that are listened at, with the ports that the kernel chose where 0 was asked for."""
        return self._bound

    async def listen(self, transport: Transport, address: Address) -> Address:
        """Open a listener and return where it is. Raises OSError where it cannot be bound."""
        if transport is Transport.UDP:
            listener = UdpListener(address, self.receive)
            local = listener.local
            self._udp[local] = listener
        else:
            server = await listen_tcp(self._pools[transport], address)
            self._servers.append(server)
            local = Address(*server.sockets[0].getsockname()[:2])
        self._bound.append((transport, local))
        return local

    async def close(self) -> None:
        """Close every socket; nothing is sent or heard any more."""
        for server in self._servers:
            server.close()
        for pool in self._pools.values():
            pool.close()
        for listener in self._udp.values():
            listener.close()
        self.transactions.close()
        for server in self._servers:
            await server.wait_closed()

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
            listening = next((local for transport, local in self._bound if transport is flow.transport), None)
            return Address(flow.local.host, listening.port if listening else flow.local.port)
        if not ip_address(flow.local.host).is_unspecified:
            return flow.local
        return Address(local_host_towards(flow.remote.host), flow.local.port)

    def contact_uri(self, flow: Flow, user: str = "roost") -> str:
        """Return a Contact URI of ours that the peer of the flow can send requests to."""
        suffix = "" if flow.transport is Transport.UDP else f";transport={flow.transport.value.lower()}"
        return f"sip:{user}@{self.address_of(flow)}{suffix}"

    async def flow_to(self, uri: SipUri) -> Flow:
        """Find the way to a URI that no flow is known for. Raises TransportFailed where there is none."""
        named = (uri.param("transport") or ("tls" if uri.scheme == "sips" else "udp")).upper()
        transport = next((known for known in Transport if known.value == named), None)
        port = uri.port or (transport or Transport.UDP).default_port
        host = uri.param("maddr") or uri.host
        address = Address(await _resolve(host, port), port)
        if transport is Transport.UDP:
            return self._udp_flow(address)
        pool = self._pools.get(transport) if transport else None
        if pool is None:
            raise TransportFailed(f"no {named} towards {host}")
        return await pool.connect(address)

    def is_own(self, host: str) -> bool:
        """Return whether a URI's host names this machine: one of its addresses, or its name."""
        try:
            address = ip_address(host)
        except ValueError:
            return host.lower() in _own_names()
        if address.is_loopback or any(local.host == host for _, local in self._bound):
            return True
        return any(ip_address(local.host).is_unspecified for _, local in self._bound) and _is_local(host)

    def receive(self, data: bytes, flow: Flow) -> None:
        """Take one message from the network. Nothing that a peer can send raises out of here."""
        if data in KEEPALIVES:
            return
        try:
            message = parse_message(data)
            if isinstance(message, Request):
                self.transactions.receive_request(message, flow)
            else:
                self._receive_response(message)
        except ParseError as fault:
            self.transactions.dropped["unreadable message"] += 1
            log.debug("message.unreadable", flow=str(flow), reason=fault.reason, excerpt=repr(data[:EXCERPT]))
        except Exception:
            self.transactions.dropped["our fault"] += 1
            log.exception("message.failed", flow=str(flow))

    def _receive_response(self, response: Response) -> None:
        if response.defect is not None:
            raise response.defect
        self.transactions.receive_response(response)

    def _on_request(self, transaction: ServerTransaction, request: Request) -> None:
        refusal = inspect(request)
        if refusal is None:
            self._user.on_request(request, transaction)
        else:
            log.debug("request.refused", flow=str(transaction.flow), method=request.method, status=refusal.status)
            transaction.respond_and_forget(refusal)

    def _on_flow_lost(self, flow: Flow) -> None:
        self.transactions.flow_lost(flow)
        self._user.on_flow_lost(flow)

    def _send(self, data: bytes, flow: Flow, to: Address | None = None) -> None:
        if flow.transport is Transport.UDP:
            listener = self._udp.get(flow.local) or self._udp_listener(flow.remote)
            listener.send(data, flow, to)
        elif (pool := self._pools.get(flow.transport)) is not None:
            pool.send(data, flow)
        else:
            raise TransportFailed(f"no {flow.transport.value} here")

    def _udp_listener(self, remote: Address) -> UdpListener:
        """Find a socket that can reach the address: a binding may be older than the listener it came by."""
        wants_six = ":" in remote.host
        for listener in self._udp.values():
            if (":" in listener.local.host) == wants_six:
                return listener
        raise TransportFailed(f"no UDP listener for {remote}")

    def _udp_flow(self, remote: Address) -> Flow:
        return Flow(Transport.UDP, self._udp_listener(remote).local, remote)

    def _add_via(self, request: Request, flow: Flow) -> None:
        ours = self.address_of(flow)
        via = Via(flow.transport.value, ours.host, ours.port, (("branch", MAGIC_COOKIE + new_token()), ("rport", None)))
        request.put_first("Via", str(via))


def new_token() -> str:
    """Return a fresh tag, branch or Call-ID part: 64 random bits (RFC 3261 19.3 asks for 32)."""
    return secrets.token_hex(8)


@lru_cache(maxsize=4096)
def local_host_towards(remote: str) -> str:
    """Return the local address that the host would send from towards the remote one; no packet is sent."""
    family = socket.AF_INET6 if ":" in remote else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((remote, 9))
        except OSError:
            return "::1" if family == socket.AF_INET6 else "127.0.0.1"
        return str(probe.getsockname()[0])


@lru_cache(maxsize=1024)
def _is_local(host: str) -> bool:
    return local_host_towards(host) == host


@lru_cache(maxsize=1)
def _own_names() -> frozenset[str]:
    return frozenset({"localhost", socket.gethostname().lower()})


async def _resolve(host: str, port: int) -> str:
    try:
        return str(ip_address(host))
    except ValueError:
        pass
    loop = asyncio.get_running_loop()
    try:
        found = await asyncio.wait_for(loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM), RESOLVE_TIMEOUT)
    except (OSError, asyncio.TimeoutError, UnicodeError) as failure:
        raise TransportFailed(f"{host} cannot be resolved") from failure
    return str(found[0][4][0])
