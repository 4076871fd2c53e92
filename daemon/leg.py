"""One leg of a live call: its dialog, the requests we send within it, and the ACKs we owe (RFC 3261 12-14, 22)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from sip.digest import answer_response
from sip.errors import ParseError, SipError, TransactionTimeout, TransportFailed
from sip.io.client import with_credentials
from sip.io.endpoint import new_token
from sip.uri import SipUri

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sip.dialog import Dialog
    from sip.digest import Credentials
    from sip.flow import Flow
    from sip.io.exchange import ClientTransaction, ServerTransaction
    from sip.io.ways import Ways
    from sip.message import Message, Request, Response

log = structlog.get_logger(__name__)

MAX_CHALLENGES: Final = 2  # the password, and once more where the nonce has become stale
STATUS_OF_FAILURE: Final = {TransactionTimeout: 408, TransportFailed: 503}  # RFC 3261 8.1.3.1


class SipUser(Protocol):
    """What the calls need of the endpoint."""

    def request(
        self,
        request: Request,
        flow: Flow,
        on_response: Callable[[Response], None],
        on_failure: Callable[[SipError], None],
    ) -> ClientTransaction:
        """Send a request in a transaction of its own."""
        ...

    def send(self, request: Request, flow: Flow) -> None:
        """Send the ACK of a 2xx. Raises TransportFailed."""
        ...

    def contact_uri(self, flow: Flow) -> str:
        """Return a URI of ours that the peer of the flow can send requests to."""
        ...

    async def ways_to(self, uri: SipUri) -> Ways:
        """Find the ways to a URI. Raises TransportFailed where there is none."""
        ...

    def is_own(self, host: str) -> bool:
        """Return whether a URI's host names this machine."""
        ...


class LiveLeg:
    """A dialog that is up."""

    def __init__(
        self,
        sip: SipUser,
        dialog: Dialog,
        find_flow: Callable[[], Flow],
        invite: Request,
        credentials: Credentials | None,
    ) -> None:
        self.dialog = dialog
        self.find_flow = find_flow
        self.accepted: ServerTransaction | None = None
        """The peer's re-INVITE that has our 2xx and no ACK yet."""
        self._allowed: frozenset[str] = frozenset()
        self._sip = sip
        self._invite = invite
        self._credentials = credentials
        self._ack: Request | None = None
        self._offering: ClientTransaction | None = None

    def learn(self, message: Message) -> None:
        """Note which methods the peer says it knows (RFC 3261 20.5)."""
        self._allowed = message.tokens("Allow") or self._allowed

    def allows(self, method: str) -> bool:
        """Return whether the peer has said that it knows a method; INVITE is known to all."""
        return method == "INVITE" or method.lower() in self._allowed

    def acknowledge(self, body: bytes | None) -> None:
        """Send the ACK of the last 2xx to an INVITE of ours, with an answer if there is one."""
        self._ack = self.dialog.ack(self._invite, body or b"")
        self.repeat_ack()

    def repeat_ack(self) -> None:
        """Send the same ACK again: its 2xx came again (RFC 3261 13.2.2.4)."""
        if self._ack is not None:
            # A flow that is gone is noticed by the next request of the dialog.
            with contextlib.suppress(TransportFailed):
                self._sip.send(self._ack, self.find_flow())

    async def follow_uris(self) -> None:
        """Follow the dialog's own URIs where they lead elsewhere than the INVITE went (RFC 3261 12.2.1.1)."""
        try:
            uri = SipUri.parse(self.dialog.next_hop)
            if (uri.host, uri.port or 5060) != self.find_flow().remote:
                ways = await self._sip.ways_to(uri)
                await ways.next()
                self.find_flow = lambda: ways.flow
        except (ParseError, TransportFailed) as failure:
            log.warning("quickcall.way_unknown", call_id=self.dialog.id.call_id, reason=str(failure))

    def send(
        self,
        method: str,
        on_final: Callable[[int, Response | None], None],
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> None:
        """Send a request within the dialog, with credentials where they are asked for.

        `on_final` gets the status and the response, which is None where nothing came (408) or could be sent (503).
        """
        self._begin(self.dialog.request(method, headers, body), on_final, challenges=0)

    def cancel_offer(self) -> None:
        """Cancel the re-INVITE that is under way."""
        if self._offering is not None:
            self._offering.cancel()

    def _begin(self, request: Request, on_final: Callable[[int, Response | None], None], *, challenges: int) -> None:
        def on_response(response: Response) -> None:
            if not response.final:
                return
            again = authorised(request, response, self._credentials) if challenges < MAX_CHALLENGES else None
            if again is not None:
                self.dialog.local_cseq += 1
                again.set("CSeq", f"{self.dialog.local_cseq} {request.method}")
                self._begin(again, on_final, challenges=challenges + 1)
            elif self._take(request, response):
                on_final(response.status, response)

        def on_failure(failure: SipError) -> None:
            on_final(STATUS_OF_FAILURE.get(type(failure), 503), None)

        transaction = self._sip.request(request, self.find_flow(), on_response, on_failure)
        if request.method == "INVITE":
            self._offering = transaction

    def _take(self, request: Request, response: Response) -> bool:
        """Let the dialog learn from a final response; False for the repetition of a 2xx, which has its ACK again."""
        if not response.success:
            return True
        self.learn(response)
        if request.method == "INVITE":
            if self._invite is request:
                self.repeat_ack()
                return False
            self._invite, self._ack = request, None
        if request.method in ("INVITE", "UPDATE"):
            # A Contact that cannot be read leaves the target as it was.
            with contextlib.suppress(ParseError):
                self.dialog.refresh(response)
        return True


def authorised(request: Request, response: Response, credentials: Credentials | None) -> Request | None:
    """Return the request again with the answer to a 401 or 407; None where there is nothing to answer it with."""
    if credentials is None or response.status not in (401, 407):
        return None
    try:
        answer = answer_response(response, credentials, uri=request.uri, nc=1, cnonce=new_token())
    except ParseError:
        return None
    if answer is None:
        return None
    again = with_credentials(request, answer)
    again.set("Via")
    return again
