"""Which part of the daemon a request is for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import structlog

from sip.message import Response
from sip.uas import options_answer

if TYPE_CHECKING:
    from daemon.presence import Presence
    from sip.flow import Flow
    from sip.io.exchange import ServerTransaction
    from sip.message import Request

log = structlog.get_logger(__name__)

NO_ROUTING: Final = 'SIP;cause=403;text="Roost does not route calls; use the PBX"'


class DialogUser(Protocol):
    """Whoever has dialogs."""

    def on_dialog_request(self, request: Request, transaction: ServerTransaction) -> bool:
        """Take a request with a To tag; False where its dialog is unknown."""
        ...

    def on_dialog_ack(self, request: Request, flow: Flow) -> None:
        """Take the ACK of a 2xx; that of an unknown dialog is dropped."""
        ...

    def on_flow_lost(self, flow: Flow) -> None:
        """Learn that a connection is gone."""
        ...


class Registrar(Protocol):
    """Who takes registrations, and knows whom not to talk to."""

    def on_register(self, request: Request, transaction: ServerTransaction) -> None:
        """Answer a REGISTER."""
        ...

    def is_welcome(self, request: Request, flow: Flow) -> bool:
        """Tell whether the request is to be looked at."""
        ...


class Dispatcher:
    """Implements `sip.io.endpoint.TransactionUser`. Its parts are given before the first request."""

    registrar: Registrar
    presence: Presence
    dialogs: DialogUser

    def is_welcome(self, request: Request, flow: Flow) -> bool:
        """Ask the registrar, who knows the phones from the scanners."""
        return self.registrar.is_welcome(request, flow)

    def on_request(self, request: Request, transaction: ServerTransaction) -> None:
        """Give the request to its dialog or the registrar, or answer it (RFC 3261 8.2.1, 12.2.2)."""
        if request.method == "REGISTER":  # which has no dialog, whatever its To says
            self.registrar.on_register(request, transaction)
            return
        self.presence.heard_from(request.from_.uri, transaction.flow)
        if request.to.tag is None:
            self._on_outside_request(request, transaction)
        elif not self.dialogs.on_dialog_request(request, transaction):
            transaction.respond_and_forget(Response.to_request(request, 481))

    def _on_outside_request(self, request: Request, transaction: ServerTransaction) -> None:
        if request.method == "OPTIONS":
            transaction.respond_and_forget(options_answer(request))
        elif request.method == "INVITE":
            log.debug("invite.refused", caller=request.one("From"), call_id=request.call_id, reason="not routed")
            response = Response.to_request(request, 403)
            response.add("Reason", NO_ROUTING)
            # Not repeated until an ACK comes: who has forged the source would have it sent eleven times to a victim.
            transaction.respond_and_forget(response)
        elif request.method == "NOTIFY":
            # Phones report things unasked (SPA's x-spa-cti); RFC 6665 4.1.3 wants 481 where there is no subscription.
            transaction.respond_and_forget(Response.to_request(request, 481, "Subscription does not exist"))
        else:
            transaction.respond_and_forget(Response.to_request(request, 481))

    def on_ack(self, request: Request, flow: Flow) -> None:
        """Give the ACK of a 2xx to its dialog."""
        self.dialogs.on_dialog_ack(request, flow)

    def on_flow_lost(self, flow: Flow) -> None:
        """Tell who has bindings on the connection, and who has dialogs."""
        log.debug("flow.lost", flow=str(flow))
        self.presence.flow_lost(flow)
        self.dialogs.on_flow_lost(flow)
