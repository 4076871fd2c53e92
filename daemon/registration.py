"""A REGISTER's way: who asks, may they, what changes, and the answer once that is durable (design 3)."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

import structlog

from daemon.directory import Standing
from daemon.figures import Histogram
from daemon.presence import Happening, now
from sip.admission import Admission, retry_after
from sip.aor import Aor, aor_of, domain_of
from sip.digest import Algorithm, Outcome, challenge, find_answer, verify
from sip.errors import ParseError
from sip.io.turn import this_turn
from sip.location import NO_CHANGES
from sip.message import Response
from sip.nonce import SALT_BYTES, NonceCounts
from sip.offenders import Offenders
from sip.registrar import (
    RegisterResult,
    Registrant,
    RegistrarPolicy,
    addressee,
    answer_register,
    is_repeated,
    process_register,
)
from sip.uri import SipUri
from sip.vendor import Quirk

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.directory import Device, Directory
    from daemon.presence import Presence
    from sip.digest import DigestAnswer
    from sip.flow import Flow
    from sip.io.endpoint import Endpoint
    from sip.io.exchange import ServerTransaction
    from sip.location import Binding, BindingChanges
    from sip.message import Request
    from sip.nonce import NonceSigner
    from sip.vendors import VendorTable

log = structlog.get_logger(__name__)

OUTCOMES: Final = (
    *("added", "refreshed", "removed", "queried", "repeated"),
    *("challenged", "wrong_credentials", "disabled", "malformed", "rejected", "foreign_domain"),
    *("not_stored", "overloaded"),
)
"""What may become of a REGISTER, as the figures name it."""


@dataclass(frozen=True, slots=True)
class RegistrationPolicy:
    """What an operator may choose."""

    registrar: RegistrarPolicy
    default_realm: str = ""
    """Of the account that is meant by an address of this host; empty for the master account's."""
    algorithm: Algorithm = Algorithm.MD5
    drop_strangers: bool = True
    """Whether scanners, and requests for foreign domains, go unanswered."""
    wait_for_commit: bool = True
    """Whether a registration is answered only once it is stored."""
    max_waiting: int = 2000
    """REGISTER requests that may wait for their answer."""


class Registration:
    """Answers REGISTER requests."""

    def __init__(
        self,
        endpoint: Endpoint,
        directory: Directory,
        presence: Presence,
        policy: RegistrationPolicy,
        *,
        vendors: VendorTable,
        signer: NonceSigner,
        wall: Callable[[], float],
    ) -> None:
        self._endpoint = endpoint
        self._directory = directory
        self._presence = presence
        self._policy = policy
        self._vendors = vendors
        self._signer = signer
        self._wall = wall
        self._offenders = Offenders(endpoint.trusted)
        self._nobody = NonceCounts()
        self._admission = Admission(policy.max_waiting)
        turn = this_turn()
        self._asking = turn.line(self._prove)
        self._unproven = turn.line(self._challenge)
        self._proven = turn.line(self._register)
        self._granted = turn.line(self._succeeded)
        self._date = ""
        self._date_of = -1
        self.outcomes: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
        """How many REGISTER requests there were, by what became of them."""
        self.latency = Histogram()
        """Seconds from a REGISTER that changed something to its answer, which is after the commit."""
        presence.subscribe(self._trust, Happening.REGISTERED, Happening.REFRESHED)

    def reload(self, policy: RegistrationPolicy) -> None:
        """Answer by another policy from now on."""
        self._policy = policy
        self._admission.limit(policy.max_waiting)

    def on_register(self, request: Request, transaction: ServerTransaction) -> None:
        """Answer a REGISTER soon, after its change is stored where it makes one.

        Those of one turn of the loop are handled together, first who they are, then what they want, then the answers:
        each step finds its code and data in the processor's caches.
        """
        if not self._admission.admits(self.waiting, self._endpoint.backlog, signed=request.has("Authorization")):
            self._put_off(request, transaction)
            return
        self._asking.put((request, transaction))

    @property
    def waiting(self) -> int:
        """How many REGISTER requests have no answer yet."""
        unstored = self._presence.waiting if self._policy.wait_for_commit else 0
        return len(self._asking) + len(self._unproven) + len(self._proven) + unstored

    def _put_off(self, request: Request, transaction: ServerTransaction) -> None:
        self.outcomes["overloaded"] += 1
        if self._admission.should_tell(now()):
            log.warning("registration.overloaded", waiting=self.waiting, buffered=round(self._endpoint.backlog, 2))
        after = self._admission.retry_after(now(), random.random())  # noqa: S311 - spreads load
        transaction.respond_and_forget(_come_again(request, after))

    def _prove(self, asking: tuple[Request, ServerTransaction]) -> None:
        """Find the device that a REGISTER comes from, or answer it at once."""
        request, transaction = asking
        try:
            user, host = addressee(request)
        except ParseError as fault:
            self.outcomes["malformed"] += 1
            transaction.respond_and_forget(Response.to_request(request, 400, fault.reason))
            return
        realm = self._realm(host)
        if realm is None:
            self._refuse_domain(request, transaction)
            return
        device = self._authenticate(request, transaction, user, realm)
        if device is not None:
            self._proven.put((request, transaction, device))

    def is_welcome(self, request: Request, flow: Flow) -> bool:
        """Tell whether the sender gets an answer: not who guessed passwords, nor strangers where they are dropped.

        Strangers are known scanners, and who wants something of another domain. At an address with a good registration
        they are none: phones ask after their outbound proxy by any of its names.
        """
        source = flow.host
        if self._offenders.is_silenced(source, now()):
            return False
        if not self._policy.drop_strangers:
            return True
        if Quirk.SCANNER in self._vendors.match(request.first("User-Agent") or "").quirks:
            return False
        # A REGISTER's domain is that of its To, which is read when all else about it is found to be well.
        return request.method == "REGISTER" or self._is_for_us(request) or self._endpoint.trusted.has(source, now())

    def _trust(self, _happening: Happening, binding: Binding) -> None:
        self._endpoint.trusted.add(binding.flow.host, binding.expires_at, now())

    def _is_for_us(self, request: Request) -> bool:
        """Tell whether the Request-URI names a domain that is served here, or none that can be read."""
        try:
            host = SipUri.parse(request.uri).host
        except ParseError:
            return True
        return self._directory.serves(host.lower()) or self._endpoint.is_own(host)

    def _realm(self, host: str) -> str | None:
        """Return the realm that a To's host stands for: the default one where it is this host; None for others'."""
        if self._directory.serves(host):
            return host
        if not self._endpoint.is_own(host):
            return None
        return (self._policy.default_realm or self._directory.master_realm).lower()

    def _refuse_domain(self, request: Request, transaction: ServerTransaction) -> None:
        self.outcomes["foreign_domain"] += 1
        log.info(
            "registration.refused",
            to=request.to.uri,
            call_id=request.call_id,
            reason="foreign-domain",
            source=str(transaction.flow),
        )
        if self._policy.drop_strangers:
            transaction.forget()
        else:
            transaction.respond_and_forget(Response.to_request(request, 404, "Domain not served here"))

    def _authenticate(self, request: Request, transaction: ServerTransaction, user: str, realm: str) -> Device | None:
        """Return the device that the request proves to come from, or answer it with a challenge or a refusal."""
        device = self._directory.find(f"{user}@{realm}")
        algorithm = (device.algorithm if device is not None else None) or self._policy.algorithm
        if device is not None and device.ip and device.ip == transaction.flow.host:
            return self._if_good(request, transaction, device, algorithm)
        answer = find_answer(request.lines("Authorization"), realm, algorithm)
        outcome = answer if isinstance(answer, Outcome) else self._verify(request, answer, device, user)
        if outcome is Outcome.OK and device is not None:
            return self._if_good(request, transaction, device, algorithm)
        if outcome is Outcome.REPLAYED and device is not None and self._answer_again(request, transaction, device):
            return None
        if outcome is Outcome.MALFORMED:
            self.outcomes["malformed"] += 1
            transaction.respond_and_forget(Response.to_request(request, 400, "Malformed credentials"))
        elif outcome in (Outcome.WRONG, Outcome.UNKNOWN_USER):
            self.outcomes["wrong_credentials"] += 1
            self._on_wrong_answer(request, transaction, aor_of(user, realm), outcome.value, algorithm, device)
        else:
            self.outcomes["challenged"] += 1
            self._unproven.put((request, transaction, realm, algorithm, outcome.stale))
        return None

    def _verify(self, request: Request, answer: DigestAnswer, device: Device | None, user: str) -> Outcome:
        # A phone may write its username with or without the domain; it must be the one it registers.
        known = device is not None and answer.username.partition("@")[0].lower() == user
        return verify(
            answer,
            method="REGISTER",
            request_uri=request.uri,
            ha1=device.ha1(answer.username, answer.algorithm) if device is not None and known else None,
            signer=self._signer,
            counts=device.counts() if device is not None and known else self._nobody,
            now=self._wall(),
        )

    def _if_good(
        self, request: Request, transaction: ServerTransaction, device: Device, algorithm: Algorithm
    ) -> Device | None:
        """Return the device unless it is disabled; then its right password is answered as a wrong one is."""
        standing = self._directory.standing(device)
        if standing is Standing.GOOD:
            self._offenders.right(transaction.flow.host, device.aor)
            return device
        self.outcomes["disabled"] += 1
        self._on_wrong_answer(request, transaction, device.aor, standing.value, algorithm, device)
        return None

    def _on_wrong_answer(
        self,
        request: Request,
        transaction: ServerTransaction,
        aor: Aor,
        reason: str,
        algorithm: Algorithm,
        device: Device | None,
    ) -> None:
        source = transaction.flow.host
        facts = {"device_id": device.device_id} if device is not None else {}
        # systemd/fail2ban reads this line, whose facts must come in this order.
        log.warning(
            "registration.refused",
            aor=aor,
            call_id=request.call_id,
            reason=reason,
            source=str(transaction.flow),
            **facts,
        )
        if self._offenders.wrong(source, aor, now()):
            transaction.respond_and_forget(Response.to_request(request, 403))
        else:
            self._unproven.put((request, transaction, domain_of(aor), algorithm, False))

    def _challenge(self, unproven: tuple[Request, ServerTransaction, str, Algorithm, bool]) -> None:
        request, transaction, realm, algorithm, stale = unproven
        # The salt need not be secret: it tells two nonces of one second apart.
        nonce = self._signer.issue(self._wall(), random.randbytes(SALT_BYTES))  # noqa: S311
        response = Response.to_request(request, 401)
        response.add("WWW-Authenticate", challenge(realm, nonce, algorithm, stale=stale))
        transaction.respond_and_forget(response)

    def _register(self, proven: tuple[Request, ServerTransaction, Device]) -> None:
        request, transaction, device = proven
        moment = now()
        who = Registrant(device.aor, device.account_id, device.device_id, transaction.flow, random.random())  # noqa: S311 - spreads load
        bindings = self._presence.table.bindings(device.aor, moment)
        result = process_register(request, bindings, self._policy.registrar, who, moment)
        if not result.changes:
            self.outcomes["queried" if result.refusal is None else "rejected"] += 1
            self._answer_and_forget(transaction, answer_register(request, result, moment))
            return

        if not self._policy.wait_for_commit:
            self._presence.change(result.changes)
            self._granted.put((request, transaction, result, moment))
            return

        def stored(failure: Exception | None) -> None:
            if failure is None:
                self._succeeded((request, transaction, result, moment))
                return
            self.outcomes["not_stored"] += 1
            facts = {"device_id": device.device_id, "call_id": request.call_id, "source": str(transaction.flow)}
            log.warning("registration.not_stored", reason=str(failure), **facts)
            self._answer(transaction, _come_again(request, retry_after(random.random())))  # noqa: S311 - spreads load

        self._presence.change(result.changes, stored)

    def _answer_again(self, request: Request, transaction: ServerTransaction, device: Device) -> bool:
        """Answer the phone's last REGISTER once more, for its answer was lost; False where it is another one."""
        moment = now()
        bindings = self._presence.table.bindings(device.aor, moment)
        if not is_repeated(request, transaction.flow, bindings):
            return False
        self.outcomes["repeated"] += 1
        standing = RegisterResult(bindings, NO_CHANGES)

        def stored(failure: Exception | None) -> None:
            if failure is None:
                self._answer_and_forget(transaction, answer_register(request, standing, moment))
            else:
                transaction.forget()

        self._presence.when_stored(stored)
        return True

    def _succeeded(self, granted: tuple[Request, ServerTransaction, RegisterResult, float]) -> None:
        request, transaction, result, began = granted
        response = answer_register(request, result, began)
        if result.changes.put:
            self._answer_and_forget(transaction, response)
        else:
            self._answer(transaction, response)
        self.outcomes[_outcome(result.changes)] += 1
        self.latency.observe(now() - began)

    def _answer(self, transaction: ServerTransaction, response: Response) -> None:
        response.add("Date", self._now_as_date())
        transaction.respond(response)

    def _answer_and_forget(self, transaction: ServerTransaction, response: Response) -> None:
        """Answer, and keep nothing for a REGISTER that comes again: its binding tells what the answer was.

        Transactions of 32 seconds would be most of the memory that a storm of registrations takes.
        """
        response.add("Date", self._now_as_date())
        transaction.respond_and_forget(response)

    def _now_as_date(self) -> str:
        second = int(self._wall())
        if second != self._date_of:
            self._date, self._date_of = formatdate(second, usegmt=True), second
        return self._date


def _come_again(request: Request, after: int) -> Response:
    response = Response.to_request(request, 503)
    response.add("Retry-After", str(after))
    return response


def _outcome(changes: BindingChanges) -> str:
    if not changes.put:
        return "removed"
    for binding in changes.put:
        if binding.first_registered == binding.registered_at:
            return "added"
    return "refreshed"
