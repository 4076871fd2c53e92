"""A transaction as its user holds it: a peer's request to answer, or one of ours (RFC 3261 17)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from sip.flow import Address
from sip.message import has_tag
from sip.transaction import (
    INVITE_CLIENT,
    INVITE_SERVER,
    NON_INVITE_CLIENT,
    NON_INVITE_SERVER,
    Effect,
    Event,
    State,
    Transaction,
    event_of_answer,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sip.errors import SipError
    from sip.flow import Flow
    from sip.message import Request, Response
    from sip.via import Via

_63_BITS: Final = 2**63 - 1

ServerKey = tuple[object, ...]
Identity = tuple["str | None", "str | None", "str | None"]
ClientKey = tuple[str, str]


class Layer(Protocol):
    """Who sends for transactions, keeps them and runs their timers."""

    @property
    def token(self) -> Callable[[], str]:
        """Makes tags that nobody can guess."""
        ...

    def run_server(self, transaction: ServerTransaction, effects: tuple[Effect, ...]) -> None:
        """Do what a server transaction's step asked for."""
        ...

    def send_last(self, transaction: ServerTransaction) -> None:
        """Send the last response of a server transaction, or count it as dropped."""
        ...

    def forget_server(self, transaction: ServerTransaction) -> None:
        """Let a request that comes again be a new one."""
        ...

    def answered(self, transaction: ServerTransaction) -> None:
        """Learn that the transaction has its final response."""
        ...

    def cancel(self, transaction: ClientTransaction, extra: tuple[tuple[str, str], ...]) -> None:
        """Send the CANCEL of an INVITE, or keep it until a provisional response allows it."""
        ...


class ServerTransaction:
    """A request that a peer sent, until it is answered and its retransmissions are over."""

    __slots__ = (
        *("_fsm", "_last", "_layer", "_machine", "_to_tag"),
        *("flow", "identity", "key", "on_cancel", "on_failure", "reply_to", "request"),
    )

    def __init__(self, layer: Layer, key: ServerKey, request: Request, flow: Flow, via: Via) -> None:
        self.key = key
        self.request: Request | None = request
        """None once a final response was sent."""
        self.identity: Identity | None = None
        """By which another copy of the request is known while this one waits for its answer."""
        self.flow = flow
        self.reply_to = None if flow.transport.reliable else _reply_to(via, flow)
        self.on_cancel: Callable[[], None] | None = None
        """Called when the peer cancels the request before it was answered."""
        self.on_failure: Callable[[SipError], None] | None = None
        """Called when our 2xx to an INVITE was never acknowledged."""
        self._machine = INVITE_SERVER if request.method == "INVITE" else NON_INVITE_SERVER
        self._fsm: Transaction | None = None
        self._layer = layer
        self._last = b""
        self._to_tag = ""

    @property
    def fsm(self) -> Transaction:
        """The transaction's place in its machine; most requests are answered and forgotten before it is asked for."""
        if self._fsm is None:
            self._fsm = Transaction(self._machine, reliable=self.flow.transport.reliable)
            if self.request is None:
                self._fsm.state = State.TERMINATED
        return self._fsm

    @property
    def to_tag(self) -> str:
        """Our tag in the responses of this transaction (RFC 3261 8.2.6.2)."""
        if not self._to_tag:
            self._to_tag = self._layer.token()
        return self._to_tag

    def respond(self, response: Response) -> None:
        """Send a response. Raises LocalProtocolError after a final one; a flow that fails is the layer's to handle."""
        effects = self.fsm.step(event_of_answer(response.status))
        self._last = self._encoded(response)
        if response.final:
            self.request = None
            self._layer.answered(self)
        self._layer.run_server(self, effects)

    def respond_and_forget(self, response: Response) -> None:
        """Send a final response and keep no state (RFC 3261 8.2.7): a challenge or a refusal that costs us nothing."""
        if not self._to_tag:
            # RFC 3261 8.2.7: without state, MUST give the same tag again should the request come again.
            self._to_tag = str(hash(self.key) & _63_BITS)
        self._last = self._encoded(response)
        self.forget()
        self._layer.send_last(self)

    def forget(self) -> None:
        """Answer nothing and keep no state: for those who are better left in the dark."""
        self.request = None
        if self._fsm is not None:
            self._fsm.state = State.TERMINATED
        self._layer.forget_server(self)

    def acknowledged(self) -> None:
        """Tell that the ACK of our 2xx came, so that it is not sent again."""
        self._layer.run_server(self, self.fsm.step(Event.ACK))

    @property
    def last_response(self) -> bytes:
        """What was sent last; empty while nothing was."""
        return self._last

    def _encoded(self, response: Response) -> bytes:
        to = response.first("To")
        if to is not None and response.status > 100 and not has_tag(to):
            response.set("To", f"{to};tag={self.to_tag}")
        return response.encode()


class ClientTransaction:
    """A request of ours, until its final response is in and no more retransmissions of it can come."""

    __slots__ = ("_cancelled", "_layer", "data", "flow", "fsm", "key", "on_failure", "on_response", "request")

    def __init__(
        self,
        layer: Layer,
        request: Request,
        flow: Flow,
        on_response: Callable[[Response], None],
        on_failure: Callable[[SipError], None],
    ) -> None:
        self.fsm = Transaction(
            INVITE_CLIENT if request.method == "INVITE" else NON_INVITE_CLIENT, reliable=flow.transport.reliable
        )
        self.key: ClientKey = (request.via.branch or "", request.method)
        self.request = request
        self.data = request.encode()
        self.flow = flow
        self.on_response = on_response
        self.on_failure = on_failure
        self._layer = layer
        self._cancelled = False

    def cancel(self, *extra: tuple[str, str]) -> None:
        """Cancel the INVITE, now or as soon as a provisional response is in (RFC 3261 9.1).

        `extra` are headers for the CANCEL, such as Reason (RFC 3326). The final response still comes to on_response.
        """
        if self._cancelled or self.fsm.state not in (State.CALLING, State.PROCEEDING):
            return
        self._cancelled = True
        self._layer.cancel(self, extra)

    def let_go(self) -> None:
        """Forget who is told, once nothing more can come, so that the two do not keep each other alive."""
        if self.fsm.over:
            self.on_response = self.on_failure = _tell_nobody


def _reply_to(via: Via, flow: Flow) -> Address | None:
    """Return where the answers go where that is not the flow's peer."""
    port = via.reply_port(flow.port)
    return None if port == flow.port else Address(flow.host, port)


def _tell_nobody(_what: Response | SipError) -> None:
    """Take what comes when all is over."""
