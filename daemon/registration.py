"""A REGISTER's way: who asks, may they, what changes, and the answer once that is durable (design 3)."""

from __future__ import annotations

import secrets
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

import structlog

from daemon.directory import Standing
from daemon.presence import now
from sip.digest import Algorithm, Outcome, challenge, find_answer, verify
from sip.errors import ParseError
from sip.message import Response
from sip.nonce import SALT_BYTES, NonceCounts
from sip.registrar import Registrant, process_register
from sip.uri import Aor, SipUri, unescape

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.directory import Device, Directory
    from daemon.presence import Presence
    from sip.digest import DigestAnswer
    from sip.io.endpoint import Endpoint
    from sip.io.transactions import ServerTransaction
    from sip.message import Request
    from sip.nonce import NonceSigner
    from sip.registrar import RegistrarPolicy

log = structlog.get_logger(__name__)

ALGORITHM: Final = Algorithm.MD5
RETRY_AFTER: Final = 30  # seconds, told to phones while the store does not take their registration


class Registration:
    """Answers REGISTER requests."""

    def __init__(
        self,
        endpoint: Endpoint,
        directory: Directory,
        presence: Presence,
        policy: RegistrarPolicy,
        signer: NonceSigner,
        *,
        default_realm: str,
        wall: Callable[[], float],
    ) -> None:
        self._endpoint = endpoint
        self._directory = directory
        self._presence = presence
        self._policy = policy
        self._signer = signer
        self._default_realm = default_realm
        self._wall = wall
        self._nobody = NonceCounts()

    def on_register(self, request: Request, transaction: ServerTransaction) -> None:
        """Answer a REGISTER, after its change is stored where it makes one."""
        try:
            aor = self._aor(SipUri.parse(request.to.uri))
        except ParseError as fault:
            transaction.respond_and_forget(Response.to_request(request, 400, fault.reason))
            return
        if aor is None:
            transaction.respond_and_forget(Response.to_request(request, 404, "Domain not served here"))
            return
        device = self._authenticate(request, transaction, aor)
        if device is not None:
            self._register(request, transaction, device)

    def _aor(self, to: SipUri) -> Aor | None:
        """Return the AOR that the To names, in the default realm where it names only this host."""
        if to.user is None:
            raise ParseError("To has no user part")
        domain = to.host.lower()
        if self._directory.serves(domain):
            return Aor.of(unescape(to.user), domain)
        if not self._endpoint.is_own(to.host):
            return None
        return Aor.of(unescape(to.user), self._default_realm or self._directory.master_realm)

    def _authenticate(self, request: Request, transaction: ServerTransaction, aor: Aor) -> Device | None:
        """Return the device that the request proves to come from, or answer it with a challenge or a refusal."""
        answer = find_answer(request.lines("Authorization"), aor.domain, ALGORITHM)
        if isinstance(answer, Outcome):
            if answer is Outcome.MALFORMED:
                transaction.respond_and_forget(Response.to_request(request, 400, "Malformed credentials"))
            else:
                self._challenge(request, transaction, aor.domain, stale=False)
            return None
        device = self._directory.find(aor)
        outcome = self._verify(request, answer, device, aor)
        if outcome is not Outcome.OK or device is None:
            self._refuse(request, transaction, outcome, aor)
            return None
        standing = self._directory.standing(device)
        if standing is not Standing.GOOD:
            log.warning("registration.refused", aor=aor, reason=standing.value, source=str(transaction.flow))
            self._challenge(request, transaction, aor.domain, stale=False)
            return None
        return device

    def _verify(self, request: Request, answer: DigestAnswer, device: Device | None, aor: Aor) -> Outcome:
        # A phone may write its username with or without the domain; it must be the one it registers.
        theirs = answer.username.partition("@")[0].lower()
        known = device is not None and theirs == aor.user
        return verify(
            answer,
            method="REGISTER",
            request_uri=request.uri,
            ha1=device.ha1(answer.username) if device is not None and known else None,
            signer=self._signer,
            counts=device.counts() if device is not None and known else self._nobody,
            now=self._wall(),
        )

    def _refuse(self, request: Request, transaction: ServerTransaction, outcome: Outcome, aor: Aor) -> None:
        if outcome is Outcome.MALFORMED:
            transaction.respond_and_forget(Response.to_request(request, 400, "Malformed credentials"))
            return
        if not outcome.stale:
            log.warning("registration.refused", aor=aor, reason=outcome.value, source=str(transaction.flow))
        self._challenge(request, transaction, aor.domain, stale=outcome.stale)

    def _challenge(self, request: Request, transaction: ServerTransaction, realm: str, *, stale: bool) -> None:
        nonce = self._signer.issue(self._wall(), secrets.token_bytes(SALT_BYTES))
        response = Response.to_request(request, 401)
        response.add("WWW-Authenticate", challenge(realm, nonce, ALGORITHM, stale=stale))
        transaction.respond_and_forget(response)

    def _register(self, request: Request, transaction: ServerTransaction, device: Device) -> None:
        moment = now()
        who = Registrant(device.aor, device.account_id, device.device_id, transaction.flow)
        bindings = self._presence.table.bindings(device.aor, moment)
        result = process_register(request, bindings, self._policy, who, moment)
        if not result.changes:
            self._answer(transaction, result.response, None)
            return
        failed = Response.to_request(request, 503)
        failed.add("Retry-After", str(RETRY_AFTER))

        def stored(failure: Exception | None) -> None:
            self._answer(transaction, result.response if failure is None else failed, failure)

        self._presence.change(result.changes, stored)

    def _answer(self, transaction: ServerTransaction, response: Response, failure: Exception | None) -> None:
        if failure is not None:
            log.warning("registration.not_stored", source=str(transaction.flow), reason=str(failure))
        response.add("Date", formatdate(self._wall(), usegmt=True))
        transaction.respond(response)
