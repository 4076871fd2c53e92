"""The core's calls to a worker, one for each side of a bridge: plain SIP over loopback (RFC 3261 13, 14).

Rule: the first INVITE has no offer and its 2xx is acknowledged at once with a held answer, for a phone may ring for
longer than a worker waits for an ACK. What the far end says goes in a re-INVITE, one at a time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sip.audio import held_for_worker
from sip.dialog import Dialog
from sip.errors import SipError, TransportFailed
from sip.flow import Flow, Transport
from sip.headers import NameAddr
from sip.invite import Invitee, build_invite
from sip.io.endpoint import new_token
from sip.media.bridge import LOOPBACK, user_of
from sip.sdp import CONTENT_TYPE, Origin, SessionDescription

if TYPE_CHECKING:
    from collections.abc import Callable

    from sip.flow import Address
    from sip.io.endpoint import Endpoint
    from sip.message import Request, Response
    from sip.outcome import Side

CORE: Final = "core"
"""The user part of our URIs towards workers."""


class Link:
    """One side's call to the worker. `open` it, then `point` it wherever the far end's media is."""

    def __init__(
        self, endpoint: Endpoint, local: Address, worker: Address, side: Side, on_fault: Callable[[str], None]
    ) -> None:
        self.call_id = new_token()
        self.side = side
        self._endpoint = endpoint
        self._flow = Flow.between(Transport.UDP, local, worker)
        self._on_fault = on_fault
        self._origin = Origin(1, 0, LOOPBACK)
        self._dialog: Dialog | None = None
        self._telling: Request | None = None
        self._next: SessionDescription | None = None

    async def open(self, token: str) -> SessionDescription:
        """Invite the worker and return its offer. Raises TransportFailed, TransactionTimeout or ParseError."""
        uri = f"sip:{user_of(token, self.side)}@{self._flow.remote}"
        local = NameAddr("", f"sip:{CORE}@{self._flow.local}", (("tag", new_token()),))
        invite = build_invite(Invitee(uri, self.call_id, local, NameAddr("", uri)), f"<{local.uri}>", b"")
        response = await self._invite(invite)
        offer = SessionDescription.parse(response.body)
        self._dialog = Dialog.from_response(invite, response)
        self._hold(invite)
        return offer

    def point(self, said: SessionDescription) -> None:
        """Tell the worker where the far end's media is. What could not be told before is forgotten over it."""
        self._next = said
        if self._telling is None:
            self._tell()

    async def _invite(self, invite: Request) -> Response:
        outcome: asyncio.Future[Response] = asyncio.get_running_loop().create_future()

        def on_response(response: Response) -> None:
            if response.final and not outcome.done():
                outcome.set_result(response)
            elif response.success:
                self._hold(invite)  # RFC 3261 13.2.2.4: each 2xx that comes again gets the ACK again

        def on_failure(failure: SipError) -> None:
            if not outcome.done():
                outcome.set_exception(failure)

        self._endpoint.request(invite, self._flow, on_response, on_failure)
        response = await outcome
        if not response.success:
            raise TransportFailed(f"the media worker answered {response.status}")
        return response

    def _hold(self, invite: Request) -> None:
        if self._dialog is not None:
            body = held_for_worker(Origin(self._origin.session_id, 0, LOOPBACK)).encode()
            self._endpoint.send(self._dialog.ack(invite, body), self._flow)

    def _tell(self) -> None:
        dialog, said = self._dialog, self._next
        if dialog is None or said is None:
            return
        self._next = None
        self._origin = Origin(self._origin.session_id, self._origin.version + 1, LOOPBACK)
        body = said.with_origin(self._origin).encode()
        invite = self._telling = dialog.request("INVITE", {"Content-Type": CONTENT_TYPE}, body)

        def on_response(response: Response) -> None:
            if response.success:
                self._endpoint.send(dialog.ack(invite), self._flow)
                self._told(invite)
            elif response.final:
                self._on_fault(f"the media worker answered {response.status} to side {self.side.value}")

        def on_failure(failure: SipError) -> None:
            self._on_fault(f"the media worker is silent: {failure}")

        self._endpoint.request(invite, self._flow, on_response, on_failure)

    def _told(self, invite: Request) -> None:
        if self._telling is invite:
            self._telling = None
            self._tell()
