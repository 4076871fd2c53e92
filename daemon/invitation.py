"""One branch of a live call: its INVITE, again with credentials where asked, and the dialogs that it makes."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from daemon.leg import MAX_CHALLENGES, LiveLeg, authorised
from sip.dialog import Dialog
from sip.errors import ParseError, SipError, TransactionTimeout
from sip.invite import Invitee, build_invite
from sip.outcome import ANSWERED_ELSEWHERE, refused, told_cause, unheard, unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.leg import SipUser
    from sip.callevents import Branch
    from sip.digest import Credentials
    from sip.flow import Flow
    from sip.io.transactions import ClientTransaction
    from sip.message import Request, Response
    from sip.outcome import Ending


@dataclass(frozen=True, slots=True)
class Target:
    """Where an INVITE goes."""

    invitee: Invitee
    find_flow: Callable[[], Flow]
    """The flow as it is now: a phone may have registered anew since."""
    device_id: str = ""
    """Empty for what is no device of ours."""
    credentials: Credentials | None = None
    by_uri: bool = False
    """Whether the dialog's requests find their way by its URIs rather than along the flow of a registration."""
    talk: bool = False
    """Whether a phone that knows `talk` is told to answer by it."""
    keypress: bool = False
    """Whether its answer counts only once a key was pressed: a forwarded call (contract 6.5)."""
    quiet: bool = False
    """Whether nobody hears what comes before its answer: a forwarded call (contract 6.5)."""
    forwarded_by: str = ""
    """The id of the device that forwards its calls here; empty for what was called itself."""
    codecs: tuple[str, ...] = ()
    """What its device takes, by Kazoo's names in its order; empty for what is no device of ours."""
    enforces_security: bool = False
    """Whether its device has no media that is not encrypted (contract 6.7)."""
    counts_missed: bool = False
    """Whether the phone is not told that a call was answered elsewhere (`sip.ignore_completed_elsewhere` false)."""


class Host(Protocol):
    """What a branch tells its call."""

    def rang(self, branch: Branch, target: Target, body: bytes) -> None:
        """Learn that a 1xx other than 100 came."""
        ...

    def answered(self, branch: Branch, tag: str, leg: LiveLeg, response: Response) -> None:
        """Learn of the first 2xx of a dialog."""
        ...

    def failed(self, branch: Branch, ending: Ending) -> None:
        """Learn that the branch ended without a 2xx."""
        ...


class Invitation:
    """An invitation. `send` begins it; the host hears of every dialog it makes."""

    def __init__(self, sip: SipUser, host: Host, branch: Branch, target: Target) -> None:
        self.target = target
        self._sip = sip
        self._host = host
        self._branch = branch
        self._transaction: ClientTransaction | None = None
        self._cancelled = False
        self._early: dict[str, LiveLeg] = {}
        self._legs: dict[str, LiveLeg] = {}

    def send(self, body: bytes) -> None:
        """Send the INVITE."""
        contact = f"<{self._sip.contact_uri(self.target.find_flow())}>"
        self._begin(build_invite(self.target.invitee, contact, body), challenges=0)

    def cancel(self, reason: str) -> None:
        """Send CANCEL, as soon as RFC 3261 9.1 lets us."""
        self._cancelled = True
        if self._transaction is not None:
            untold = self.target.counts_missed and reason == ANSWERED_ELSEWHERE
            self._transaction.cancel(*(() if untold else (("Reason", reason),)))

    def _begin(self, request: Request, *, challenges: int) -> None:
        def on_response(response: Response) -> None:
            if response.success:
                self._answer(request, response)
            elif response.final:
                self._refuse(request, response, challenges)
            elif response.status > 100:
                self._ring(request, response)

        def on_failure(failure: SipError) -> None:
            silent = isinstance(failure, TransactionTimeout)
            self._host.failed(self._branch, (unheard if silent else unreachable)(self._branch.side))

        self._transaction = self._sip.request(request, self.target.find_flow(), on_response, on_failure)

    def _refuse(self, request: Request, response: Response, challenges: int) -> None:
        may_ask_again = challenges < MAX_CHALLENGES and not self._cancelled
        again = authorised(request, response, self.target.credentials) if may_ask_again else None
        if again is not None:
            self._begin(again, challenges=challenges + 1)
        else:
            self._host.failed(self._branch, refused(self._branch.side, response.status, told_cause(response)))

    def _ring(self, request: Request, response: Response) -> None:
        if not self._cancelled:
            self._host.rang(self._branch, self.target, response.body)
            if self.target.talk and "talk" in response.tokens("Allow-Events"):
                self._talk(request, response)

    def _talk(self, request: Request, response: Response) -> None:
        """Ask a ringing phone to answer within its early dialog, once (vendors 3, fallback)."""
        tag = response.to.tag or ""
        if not tag or tag in self._early:
            return
        leg = self._early[tag] = self._leg(request, response)
        headers = {"Event": "talk", "Subscription-State": "active"}
        leg.send("NOTIFY", lambda _status, _response: None, headers)

    def _answer(self, request: Request, response: Response) -> None:
        tag = response.to.tag or ""
        known = self._legs.get(tag)
        if known is not None:
            known.repeat_ack()
            return
        leg = self._legs[tag] = self._confirmed(tag, request, response)
        self._host.answered(self._branch, tag, leg, response)

    def _confirmed(self, tag: str, request: Request, response: Response) -> LiveLeg:
        early = self._early.pop(tag, None)
        if early is None:
            return self._leg(request, response)
        early.learn(response)
        # What cannot be read of the 2xx stays as the 1xx said it.
        with contextlib.suppress(ParseError):
            early.dialog.confirm(response)
        return early

    def _leg(self, request: Request, response: Response) -> LiveLeg:
        try:
            dialog = Dialog.from_response(request, response)
        except ParseError:
            # A 2xx whose Contact or Record-Route cannot be read still needs its ACK: it goes where the INVITE went.
            response.set("Contact")
            response.set("Record-Route")
            dialog = Dialog.from_response(request, response)
        leg = LiveLeg(self._sip, dialog, self.target.find_flow, request, self.target.credentials)
        leg.learn(response)
        return leg
