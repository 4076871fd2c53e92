"""The transactions that are under way: matching, timers, and what each tells its user (RFC 3261 17)."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Final, Protocol

from sip.errors import ConnectionLost, ParseError, SipError, TransactionTimeout, TransportFailed
from sip.headers import split_first
from sip.io.exchange import ClientKey, ClientTransaction, Identity, ServerKey, ServerTransaction
from sip.message import Request, Response, has_tag
from sip.timers import LINGER, Timer, TimerLanes
from sip.transaction import (
    EVENT_OF_TIMER,
    Effect,
    Event,
    State,
    event_of_response,
)
from sip.via import MAGIC_COOKIE, Via

if TYPE_CHECKING:
    from collections.abc import Callable

    from sip.flow import Address, Flow

MAX_SERVER_TRANSACTIONS: Final = 262_144  # at some 700 bytes each; requests beyond it are dropped and counted
MAX_CLIENT_TRANSACTIONS: Final = 131_072  # our own requests: one OPTIONS or NOTIFY a phone at the most


class Sender(Protocol):
    """Puts bytes on a flow."""

    def __call__(self, data: bytes, flow: Flow, to: Address | None = None) -> None:
        """Send along the flow, to another address than its remote one where `to` is given. Raises TransportFailed."""
        ...


class TransactionLayer:
    """All transactions of the process.

    `handle_ack` is told of each ACK that acknowledges no refusal of ours.
    """

    def __init__(
        self,
        send: Sender,
        handle_ack: Callable[[Request, Flow], None],
        token: Callable[[], str],
    ) -> None:
        self._send = send
        self._handle_ack = handle_ack
        self.token = token
        self.dropped: Counter[str] = Counter()
        """How many messages were dropped, by reason."""
        self._servers: dict[ServerKey, ServerTransaction] = {}
        self._clients: dict[ClientKey, ClientTransaction] = {}
        self._unanswered: set[Identity] = set()
        self._waiting_cancels: dict[ClientKey, tuple[tuple[str, str], ...]] = {}
        self._lanes: TimerLanes[tuple[ServerTransaction | ClientTransaction, Timer, int]] = TimerLanes()
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_due = 0.0  # not asked of the handle: uvloop's has no when() where the time was past
        self._loop = asyncio.get_running_loop()

    def __len__(self) -> int:
        return len(self._servers) + len(self._clients)

    @property
    def servers(self) -> int:
        """How many requests of peers are under way."""
        return len(self._servers)

    @property
    def clients(self) -> int:
        """How many requests of ours are under way."""
        return len(self._clients)

    def receive_request(self, request: Request, flow: Flow) -> ServerTransaction | None:
        """Match a request to its transaction; for a new one that is to be answered, return the transaction begun.

        Raises ParseError where it has no usable Via.
        """
        topmost, others = split_first(request.first("Via") or "")
        via = Via.parse(topmost)
        marked = via.marked(flow.host, flow.port)
        request.replace_first("Via", f"{marked}, {others}" if others else marked)
        key = _server_key(request, via, flow)
        transaction = self._servers.get(key)
        if transaction is not None:
            event = Event.ACK if request.method == "ACK" else Event.REQUEST
            self.run_server(transaction, transaction.fsm.step(event))
        elif request.method == "ACK":
            self._handle_ack(request, flow)
        elif request.method == "CANCEL":
            self._cancel_server(request, flow, via, key)
        else:
            return self._begin_server(request, flow, via, key)
        return None

    def receive_response(self, response: Response) -> None:
        """Give a response to the transaction that waits for it; any other is dropped (RFC 3261 18.1.2)."""
        if len(response.values("Via")) != 1:
            self.dropped["response with another's Via"] += 1
            return
        key = (response.via.branch or "", response.cseq.method)
        transaction = self._clients.get(key)
        if transaction is None:
            self.dropped["response to nothing"] += 1
            return
        effects = transaction.fsm.step(event_of_response(response.status))
        self._run_client(transaction, effects, response)
        if key in self._waiting_cancels:
            self._release_cancel(transaction, response)

    def begin_client(
        self,
        request: Request,
        flow: Flow,
        on_response: Callable[[Response], None],
        on_failure: Callable[[SipError], None],
    ) -> ClientTransaction:
        """Send a request that carries our Via, and see it through. Failures are told by `on_failure`, from the loop."""
        transaction = ClientTransaction(self, request, flow, on_response, on_failure)
        if len(self._clients) >= MAX_CLIENT_TRANSACTIONS:
            self._loop.call_soon(on_failure, TransportFailed("too many requests under way"))
            return transaction
        self._clients[transaction.key] = transaction
        try:
            self._send(transaction.data, flow)
        except TransportFailed as failure:
            self._loop.call_soon(self._client_failed, transaction, failure)
        self._start_timers(transaction)
        return transaction

    def cancel(self, transaction: ClientTransaction, extra: tuple[tuple[str, str], ...]) -> None:
        """Send the CANCEL of an INVITE, or keep it until a provisional response allows it."""
        if transaction.fsm.state is State.CALLING:
            self._waiting_cancels[transaction.key] = extra
            return
        cancel = _same_hop(transaction.request, "CANCEL", transaction.request.one("To"))
        for name, value in extra:
            cancel.add(name, value)
        self.begin_client(cancel, transaction.flow, lambda _response: None, lambda _failure: None)
        # RFC 3261 9.1: without a final response 64*T1 after the CANCEL, the INVITE SHOULD be taken as cancelled.
        self._set_timer(LINGER, transaction, Timer.B)

    def flow_lost(self, flow: Flow) -> None:
        """Fail the requests that wait for an answer over a connection that is gone."""
        for transaction in [client for client in self._clients.values() if client.flow == flow]:
            self._client_failed(transaction, ConnectionLost("the connection closed"))

    def run_server(self, transaction: ServerTransaction, effects: tuple[Effect, ...]) -> None:
        """Do what a server transaction's step asked for."""
        for effect in effects:
            if effect is Effect.SEND and transaction.last_response:
                self.send_last(transaction)
            elif effect in (Effect.TIME_OUT, Effect.FAIL) and transaction.on_failure is not None:
                transaction.on_failure(TransactionTimeout("no ACK came"))
        if transaction.fsm.over:
            self.forget_server(transaction)
        elif transaction.fsm.entered:
            self._start_timers(transaction)

    def send_last(self, transaction: ServerTransaction) -> None:
        """Send the last response of a server transaction, or count it as dropped."""
        try:
            self._send(transaction.last_response, transaction.flow, transaction.reply_to)
        except TransportFailed:
            self.dropped["response on a dead flow"] += 1

    def forget_server(self, transaction: ServerTransaction) -> None:
        """Let a request that comes again be a new one."""
        self._servers.pop(transaction.key, None)
        self.answered(transaction)

    def answered(self, transaction: ServerTransaction) -> None:
        """Learn that the transaction has its final response."""
        if transaction.identity is not None:
            self._unanswered.discard(transaction.identity)
            transaction.identity = None

    def close(self) -> None:
        """Forget everything; nobody is told."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._servers.clear()
        self._clients.clear()
        self._unanswered.clear()

    def _begin_server(self, request: Request, flow: Flow, via: Via, key: ServerKey) -> ServerTransaction | None:
        if len(self._servers) >= MAX_SERVER_TRANSACTIONS:
            self.dropped["too many transactions"] += 1
            return None
        transaction = self._servers[key] = ServerTransaction(self, key, request, flow, via)
        identity = _identity(request)
        if identity not in self._unanswered:
            self._unanswered.add(identity)
            transaction.identity = identity
        elif not has_tag(request.first("To") or ""):
            # RFC 3261 8.2.2.2: the same request, which was forked on its way to us.
            transaction.respond_and_forget(Response.to_request(request, 482, "Merged Request"))
            return None
        return transaction

    def _cancel_server(self, request: Request, flow: Flow, via: Via, key: ServerKey) -> None:
        """Answer a CANCEL, and end the INVITE it names where that still waits (RFC 3261 9.2)."""
        transaction = self._servers[key] = ServerTransaction(self, key, request, flow, via)
        target = self._servers.get((*key[:-1], "INVITE"))
        if target is None:
            transaction.respond_and_forget(Response.to_request(request, 481))
            return
        transaction.respond(Response.to_request(request, 200, to_tag=target.to_tag))
        if target.request is not None:
            invite = target.request
            if target.on_cancel is not None:
                target.on_cancel()
            if target.request is not None:
                target.respond(Response.to_request(invite, 487))

    def _run_client(self, transaction: ClientTransaction, effects: tuple[Effect, ...], response: Response) -> None:
        if transaction.fsm.entered:
            self._settle_client(transaction)
        for effect in effects:
            if effect is Effect.SEND_ACK:
                self._send_quietly(_same_hop(transaction.request, "ACK", response.one("To")), transaction.flow)
            elif effect is Effect.DELIVER:
                transaction.on_response(response)
        transaction.let_go()

    def _release_cancel(self, transaction: ClientTransaction, response: Response) -> None:
        extra = self._waiting_cancels.pop(transaction.key)
        if not response.final:
            self.cancel(transaction, extra)

    def _cancel_late(self, transaction: ClientTransaction) -> None:
        """Let an INVITE that nobody answered be cancelled, should the phone begin to ring yet."""
        if transaction.fsm.state is State.ABANDONED:
            self._waiting_cancels.setdefault(transaction.key, ())

    def _client_failed(self, transaction: ClientTransaction, failure: SipError) -> None:
        effects = transaction.fsm.step(Event.TRANSPORT_ERROR)
        if transaction.fsm.entered:
            self._settle_client(transaction)
        if Effect.FAIL in effects:
            transaction.on_failure(failure)
        transaction.let_go()

    def _settle_client(self, transaction: ClientTransaction) -> None:
        if transaction.fsm.over:
            self._clients.pop(transaction.key, None)
            self._waiting_cancels.pop(transaction.key, None)
        else:
            self._start_timers(transaction)

    def _send_quietly(self, request: Request, flow: Flow) -> None:
        try:
            self._send(request.encode(), flow)
        except TransportFailed:
            self.dropped["ACK on a dead flow"] += 1

    def _start_timers(self, transaction: ServerTransaction | ClientTransaction) -> None:
        for timer, delay in transaction.fsm.timers():
            self._set_timer(delay, transaction, timer)

    def _set_timer(self, delay: float, transaction: ServerTransaction | ClientTransaction, timer: Timer) -> None:
        due = self._lanes.set(delay, (transaction, timer, transaction.fsm.generation), self._loop.time())
        if self._alarm is None or due < self._alarm_due:
            self._arm(due)

    def _arm(self, due: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._loop.call_at(due, self._on_alarm)
        self._alarm_due = due

    def _on_alarm(self) -> None:
        self._alarm = None
        try:
            for transaction, timer, generation in self._lanes.take_due(self._loop.time()):
                if transaction.fsm.generation == generation and not transaction.fsm.over:
                    self._fire(transaction, timer)
        finally:
            due = self._lanes.next_due()
            if due is not None:
                self._arm(due)

    def _fire(self, transaction: ServerTransaction | ClientTransaction, timer: Timer) -> None:
        event = EVENT_OF_TIMER[timer]
        effects = transaction.fsm.step(event)
        if isinstance(transaction, ServerTransaction):
            self.run_server(transaction, effects)
        elif Effect.SEND in effects:
            try:
                self._send(transaction.data, transaction.flow)
            except TransportFailed as failure:
                self._client_failed(transaction, failure)
        elif transaction.fsm.entered:
            self._settle_client(transaction)
            if Effect.TIME_OUT in effects:
                self._cancel_late(transaction)
                transaction.on_failure(TransactionTimeout("no final response came"))
            transaction.let_go()
        if event is Event.RETRANSMIT and not transaction.fsm.over and not transaction.fsm.entered:
            self._set_timer(transaction.fsm.repeat_delay(), transaction, timer)


def _server_key(request: Request, via: Via, flow: Flow) -> ServerKey:
    """Return what tells a server transaction from all others (RFC 3261 17.2.3).

    The source address is part of it: two clients behind different NATs may name themselves alike and choose poor
    branches.
    """
    method = "INVITE" if request.method == "ACK" else request.method
    branch = via.branch or ""
    if branch.startswith(MAGIC_COOKIE) and len(branch) > len(MAGIC_COOKIE):
        return branch, via.sent_by, flow.host, flow.port, method
    # An RFC 2543 client, or one with the bare cookie: the request's identity must do.
    try:
        identity = (request.call_id, str(request.cseq.number), request.from_.tag or "")
    except ParseError:
        identity = ("", "", "")
    return via.text, *identity, flow.host, flow.port, method


def _identity(request: Request) -> Identity:
    """Return what two copies of a request have in common that came by different ways."""
    return request.first("Call-ID"), request.first("CSeq"), request.first("From")


def _same_hop(request: Request, method: str, to: str) -> Request:
    """Build the ACK or CANCEL that follows its INVITE's way (RFC 3261 9.1, 17.1.1.3)."""
    following = Request(method, request.uri)
    following.add("Via", request.one("Via"))
    following.set("Route", *request.lines("Route"))
    following.add("Max-Forwards", "70")
    following.add("From", request.one("From"))
    following.add("To", to)
    following.add("Call-ID", request.call_id)
    following.add("CSeq", f"{request.cseq.number} {method}")
    return following
