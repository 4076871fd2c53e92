"""One branch of a live call: its INVITE, again with credentials where asked, and the dialogs that it makes."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from daemon.leg import MAX_CHALLENGES, LiveLeg, authorised
from sip.dialog import Dialog
from sip.errors import ParseError, SipError, TransactionTimeout, TransportFailed
from sip.invite import Invitee, build_invite
from sip.outcome import ANSWERED_ELSEWHERE, refused, told_cause, unheard, unreachable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from daemon.leg import SipUser
    from sip.callevents import Branch
    from sip.digest import Credentials
    from sip.flow import Flow
    from sip.io.exchange import ClientTransaction
    from sip.io.ways import Ways
    from sip.message import Request, Response
    from sip.outcome import Ending


log = structlog.get_logger(__name__)

SILENCE: Final = 4.0  # seconds without even a 100 until the next way is tried; the INVITE was sent four times by then


@dataclass(frozen=True, slots=True)
class Target:
    """Where an INVITE goes."""

    invitee: Invitee
    find_flow: Callable[[], Flow]
    """The flow as it is now: a phone may have registered anew since."""
    device_id: str = ""
    """Empty for what is no device of ours."""
    credentials: Credentials | None = None
    ways: Ways | None = None
    """Further ways to where `find_flow` leads (RFC 3263 4.3)."""
    divert: Callable[[Response | None], Awaitable[Sequence[Target]]] | None = None
    """Where to go on to after this failure; None, or nothing, is the end of it."""
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

    def rang(self, invitation: Invitation, body: bytes) -> None:
        """Learn that a 1xx other than 100 came."""
        ...

    def answered(self, invitation: Invitation, tag: str, leg: LiveLeg, response: Response) -> None:
        """Learn of the first 2xx of a dialog."""
        ...

    def failed(self, invitation: Invitation, ending: Ending, response: Response | None) -> None:
        """Learn that the branch ended without a 2xx; the response is None where none came."""
        ...

    def own(self, work: Awaitable[None]) -> asyncio.Task[None]:
        """See a piece of work through."""
        ...


class Invitation:
    """An invitation. `send` begins it; the host hears of every dialog it makes.

    It takes as many transactions as it needs: with credentials after a challenge, and by the next way where one leads
    nowhere. Whichever is answered first is the one that counts; the others are cancelled.
    """

    def __init__(self, sip: SipUser, host: Host, branch: Branch, target: Target) -> None:
        self.branch = branch
        self.target = target
        self.cancelled = False
        self._sip = sip
        self._host = host
        self._transactions: list[ClientTransaction] = []
        """One for each way that was tried; the last one is in use."""
        self._silence: asyncio.TimerHandle | None = None
        self._early: dict[str, LiveLeg] = {}
        self._legs: dict[str, LiveLeg] = {}

    def send(self, body: bytes) -> None:
        """Send the INVITE."""
        self._try(build_invite(self.target.invitee, self._contact(), body))

    def cancel(self, reason: str) -> None:
        """Send CANCEL, as soon as RFC 3261 9.1 lets us."""
        self.cancelled = True
        self._hear()
        untold = self.target.counts_missed and reason == ANSWERED_ELSEWHERE
        for transaction in self._transactions:
            transaction.cancel(*(() if untold else (("Reason", reason),)))

    def _contact(self) -> str:
        return f"<{self._sip.contact_uri(self.target.find_flow())}>"

    def _try(self, request: Request) -> None:
        """Send the INVITE by the way that is open now."""
        way = len(self._transactions)
        self._transactions.append(self._begin(request, way, challenges=0))
        if self.target.ways is not None and self.target.ways.more:
            loop = asyncio.get_running_loop()
            self._silence = loop.call_later(SILENCE, self._fail, request, way, unheard(self.branch.side), None)

    def _begin(self, request: Request, way: int, *, challenges: int) -> ClientTransaction:
        flow = self.target.find_flow()
        # The leg stays on the way that its answer came by, though the invitation may go on by another.
        find_flow = self.target.find_flow if self.target.ways is None else lambda: flow

        def on_response(response: Response) -> None:
            if way == len(self._transactions) - 1:
                self._hear()
            if response.success:
                self._answer(request, way, response, find_flow)
            elif response.final:
                self._refuse(request, way, response, challenges)
            elif response.status > 100:
                self._ring(request, response, find_flow)

        def on_failure(failure: SipError) -> None:
            silent = isinstance(failure, TransactionTimeout)
            self._fail(request, way, (unheard if silent else unreachable)(self.branch.side), None)

        return self._sip.request(request, flow, on_response, on_failure)

    def _hear(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None

    def _refuse(self, request: Request, way: int, response: Response, challenges: int) -> None:
        may_ask_again = challenges < MAX_CHALLENGES and not self.cancelled and way == len(self._transactions) - 1
        again = authorised(request, response, self.target.credentials) if may_ask_again else None
        if again is not None:
            self._transactions[way] = self._begin(again, way, challenges=challenges + 1)
        else:
            ending = refused(self.branch.side, response.status, told_cause(response))
            self._fail(request, way, ending, response)

    def _fail(self, request: Request, way: int, ending: Ending, response: Response | None) -> None:
        """Go on by the next way where this one leads nowhere (RFC 3263 4.3); otherwise the branch has failed."""
        if self._legs or way < len(self._transactions) - 1:
            return
        self._hear()
        nowhere = response is None or response.status == 503
        ways = self.target.ways
        if nowhere and ways is not None and ways.more and not self.cancelled:
            self._host.own(self._change_way(ways, request, ending, response))
        else:
            self._host.failed(self, ending, response)

    async def _change_way(self, ways: Ways, request: Request, ending: Ending, response: Response | None) -> None:
        left = self._transactions[-1]
        try:
            flow = await ways.next()
        except TransportFailed:
            self._host.failed(self, ending, response)
            return
        if self.cancelled or self._legs:
            self._fail(request, len(self._transactions) - 1, ending, response)
            return
        left.cancel()
        log.warning("quickcall.next_way", call_id=request.call_id, flow=str(flow), outcome=ending.outcome.value)
        self._try(_repeated(request, self._contact()))

    def _ring(self, request: Request, response: Response, find_flow: Callable[[], Flow]) -> None:
        if not self.cancelled:
            self._host.rang(self, response.body)
            if self.target.talk and "talk" in response.tokens("Allow-Events"):
                self._talk(request, response, find_flow)

    def _talk(self, request: Request, response: Response, find_flow: Callable[[], Flow]) -> None:
        """Ask a ringing phone to answer within its early dialog, once (vendors 3, fallback)."""
        tag = response.to.tag or ""
        if not tag or tag in self._early:
            return
        leg = self._early[tag] = self._leg(request, response, find_flow)
        headers = {"Event": "talk", "Subscription-State": "active"}
        leg.send("NOTIFY", lambda _status, _response: None, headers)

    def _answer(self, request: Request, way: int, response: Response, find_flow: Callable[[], Flow]) -> None:
        tag = response.to.tag or ""
        known = self._legs.get(tag)
        if known is not None:
            known.repeat_ack()
            return
        leg = self._legs[tag] = self._confirmed(tag, request, response, find_flow)
        for transaction in self._transactions[:way] + self._transactions[way + 1 :]:
            transaction.cancel()
        self._host.answered(self, tag, leg, response)

    def _confirmed(self, tag: str, request: Request, response: Response, find_flow: Callable[[], Flow]) -> LiveLeg:
        early = self._early.pop(tag, None)
        if early is None:
            return self._leg(request, response, find_flow)
        early.learn(response)
        # What cannot be read of the 2xx stays as the 1xx said it.
        with contextlib.suppress(ParseError):
            early.dialog.confirm(response)
        return early

    def _leg(self, request: Request, response: Response, find_flow: Callable[[], Flow]) -> LiveLeg:
        try:
            dialog = Dialog.from_response(request, response)
        except ParseError:
            # A 2xx whose Contact or Record-Route cannot be read still needs its ACK: it goes where the INVITE went.
            response.set("Contact")
            response.set("Record-Route")
            dialog = Dialog.from_response(request, response)
        leg = LiveLeg(self._sip, dialog, find_flow, request, self.target.credentials)
        leg.learn(response)
        return leg


def _repeated(request: Request, contact: str) -> Request:
    """Return the INVITE for another way: as it was, with the Contact that can be reached from there."""
    again = request.copy()
    again.set("Via")
    again.set("Contact", contact)
    return again
