"""One live call: runs what its state machine asks for, and tells the machine what comes of it."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import structlog

from daemon.callstory import CallStory
from daemon.invitation import Invitation
from daemon.openrequests import OpenRequests, refusal
from daemon.probe import Probe
from sip import callevents as ev
from sip.callflow import Callflow
from sip.errors import ParseError
from sip.invite import ALLOW
from sip.message import Response
from sip.outcome import Ending, Outcome, Side, hung_up, refused, told_cause, unheard, unreachable
from sip.sdp import CONTENT_TYPE
from sip.uas import options_answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from daemon.callrecord import CallRecord
    from daemon.invitation import Target
    from daemon.leg import LiveLeg, SipUser
    from daemon.order import Order
    from sip.dialog import DialogId
    from sip.io.exchange import ServerTransaction
    from sip.message import Request

log = structlog.get_logger(__name__)


class Call:
    """A call. Make it, `begin` it; it ends by itself, and calls `on_over` once when nothing of it is left."""

    def __init__(
        self,
        sip: SipUser,
        order: Order,
        dialogs: dict[DialogId, tuple[Call, ev.Leg]],
        chance: Callable[[], float],
        tell: Callable[[str, Mapping[str, object]], None],
        keep: Callable[[CallRecord], None],
        on_over: Callable[[Call], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.over: asyncio.Future[None] = self._loop.create_future()
        self._sip = sip
        self._order = order
        self._dialogs = dialogs
        self._story = CallStory(order, tell, keep)
        self._on_over = on_over
        self._flow = Callflow(order.media, order.limits, chance)
        self._log = log.bind(**order.facts)
        self._number = order.record.number
        self._targets: dict[Side, Sequence[Target]] = {Side.A: order.targets}
        self._invitations: dict[ev.Branch, Invitation] = {}
        self._legs: dict[ev.Leg, LiveLeg] = {}
        self._open = OpenRequests(self._feed, self._lose)
        self._inbox: deque[ev.Input] = deque()
        self._running = False
        self._timer: asyncio.TimerHandle | None = None
        self._probe: Probe | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._search: asyncio.Task[None] | None = None

    @property
    def account_id(self) -> str:
        """The account that the call belongs to; empty where nobody said."""
        return str(self._order.facts.get("account_id", ""))

    @property
    def state(self) -> str:
        """What the call is doing."""
        return self._flow.state.value

    def device_of(self, leg: ev.Leg) -> str:
        """Return the id of the device behind a leg; empty where it is none of ours."""
        return self._invitations[leg.branch].target.device_id

    def begin(self) -> None:
        """Ring the device."""
        self._story.began()
        self._feed(ev.Start(len(self._order.targets), _keypress(self._order.targets)))

    @property
    def record(self) -> CallRecord:
        """What is known of its legs."""
        return self._order.record

    @property
    def device_answered(self) -> asyncio.Future[Ending | None]:
        """Done with None when the device answers, or with the end where it does not."""
        return self._story.device_answered

    def transfer(self, number: str) -> bool:
        """Let another number take the place of the one that the device talks to; False where that cannot be now."""
        if not self._flow.settled:
            return False
        self._number = self.record.number = number
        self._feed(ev.Reroute())
        return True

    def hang_up(self) -> None:
        """End the call because whoever asked for it wants it to end."""
        self.stop(replace(hung_up(Side.A, connected=self._flow.joined), side=None))

    def stop(self, ending: Ending) -> None:
        """End the call, whatever it is doing."""
        self._feed(ev.Stop(ending))

    def abandon(self) -> None:
        """Give up waiting for the answers to what `stop` sent, and for whatever else goes on."""
        self._feed(ev.TimedOut())
        for task in self._tasks:
            task.cancel()

    # What the branches tell

    def rang(self, invitation: Invitation, body: bytes) -> None:
        """Learn that a 1xx other than 100 came."""
        branch, target = invitation.branch, invitation.target
        self._story.rang(branch.side, target, early_media=bool(body))
        self._feed(ev.Ringing(branch, b"" if target.quiet else body))

    def answered(self, invitation: Invitation, tag: str, leg: LiveLeg, response: Response) -> None:
        """Learn of the first 2xx of a dialog."""
        key = ev.Leg(invitation.branch, tag)
        self._legs[key] = leg
        if self._flow.state is not ev.State.ENDED:
            self._story.answered(invitation.branch.side, invitation.target)
            self._dialogs[leg.dialog.id] = self, key
        event = ev.Answered(key, response.body)
        if invitation.target.by_uri:
            self.own(self._confirm(leg, event))
        else:
            self._feed(event)

    def failed(self, invitation: Invitation, ending: Ending, response: Response | None) -> None:
        """Learn that a branch ended without a 2xx."""
        self._story.failed(invitation.target, ending)
        if invitation.target.divert is None or invitation.cancelled:
            self._feed(ev.Failed(invitation.branch, ending))
        else:
            self.own(self._divert(invitation, ending, response))

    def own(self, work: Awaitable[None]) -> asyncio.Task[None]:
        """See a piece of the call's work through."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._finish)
        return task

    def pressed(self, side: Side, digit: str) -> None:
        """Learn of a key that was heard in a side's media."""
        leg = next((each for each in self._flow.legs if each.branch.side is side), None)
        if leg is not None:
            self._feed(ev.Pressed(leg, digit))

    # What the phones ask within their dialogs

    def on_request(self, key: ev.Leg, request: Request, transaction: ServerTransaction) -> None:
        """Take a request within a leg."""
        leg = self._legs[key]
        try:
            status = leg.dialog.accept(request)
        except ParseError as fault:
            status = fault.status
        leg.learn(request)
        if status is not None:
            transaction.respond(refusal(request, status))
        elif request.method == "BYE":
            transaction.respond(Response.to_request(request, 200))
            self._feed(ev.HungUp(key, told_cause(request)))
        elif request.method in ("INVITE", "UPDATE", "INFO"):
            self._open.take(key, request, transaction)
        elif request.method == "OPTIONS":
            transaction.respond(options_answer(request))
        else:
            transaction.respond(Response.to_request(request, 489 if request.method == "NOTIFY" else 405))

    def on_ack(self, key: ev.Leg, request: Request) -> None:
        """Take the ACK of our 2xx."""
        leg = self._legs[key]
        if leg.accepted is not None:
            leg.accepted.acknowledged()
            leg.accepted = None
            self._feed(ev.Acked(key, request.body or None))

    def _talking(self) -> Sequence[tuple[ev.Leg, LiveLeg]]:
        """Return the legs to be probed: all in a call that is connected, for other states have limits of their own."""
        up = self._flow.legs if self._flow.state is ev.State.CONNECTED else ()
        return [(key, self._legs[key]) for key in up]

    def _lose(self, leg: ev.Leg, status: int) -> None:
        self._feed(ev.Lost(leg, Ending(Outcome.LOST, leg.branch.side, status, 41)))

    # Running the machine

    def _feed(self, event: ev.Input) -> None:
        """Let the machine handle an input after those that came before it."""
        self._inbox.append(event)
        if self._running:
            return
        self._running = True
        try:
            while self._inbox:
                for effect in self._flow.handle(self._inbox.popleft()):
                    self._RUN[type(effect)](self, effect)
                if self._flow.ending is not None:
                    self._story.ended(self._flow.ending)
        finally:
            self._running = False

    def _invite(self, effect: ev.Invite) -> None:
        target = self._targets[effect.branch.side][effect.branch.number]
        invitation = Invitation(self._sip, self, effect.branch, target)
        self._invitations[effect.branch] = invitation
        self.record.invited(effect.branch.side, target)
        invitation.send(effect.body)

    def _route(self, _effect: ev.Route) -> None:
        self.record.transferred()
        self._search = self.own(self._find_number())

    async def _find_number(self) -> None:
        found = await self._order.find_number(self._number)
        admitted = found if isinstance(found, Ending) else self._widen(Side.B, found)
        if isinstance(admitted, Ending):
            self._feed(ev.Unroutable(admitted))
        else:
            self._feed(ev.Routed(len(admitted), _keypress(admitted)))

    def _widen(self, side: Side, found: Sequence[Target]) -> Sequence[Target] | Ending:
        """Take in what is to be rung next on a side, as far as it can have the call's media."""
        admitted = self._order.admit(side, found)
        if not isinstance(admitted, Ending):
            self._targets[side] = [*self._targets.get(side, ()), *admitted]
        return admitted

    async def _divert(self, invitation: Invitation, ending: Ending, response: Response | None) -> None:
        """Go on to where a branch that failed leads, if anywhere."""
        branch, divert = invitation.branch, invitation.target.divert
        found = await divert(response) if divert else ()
        given_up = not found or invitation.cancelled or self._flow.ending is not None
        admitted = ending if given_up else self._widen(branch.side, found)
        if isinstance(admitted, Ending):
            self._feed(ev.Failed(branch, admitted))
        else:
            self._feed(ev.Diverted(branch, len(admitted), _keypress(admitted)))

    async def _confirm(self, leg: LiveLeg, event: ev.Answered) -> None:
        await leg.follow_uris()
        self._feed(event)

    def _cancel(self, effect: ev.Cancel) -> None:
        self._invitations[effect.branch].cancel(effect.reason)

    def _ack(self, effect: ev.Ack) -> None:
        self._legs[effect.leg].acknowledge(effect.body)

    def _ask(self, effect: ev.Ask) -> None:
        """Leave it to whoever has the media to ask for a key, and to tell of it by `pressed`."""
        self._log.info("quickcall.key_awaited", leg=self._shown_of(effect.leg))

    def _shown_of(self, leg: ev.Leg) -> str:
        return self._invitations[leg.branch].target.invitee.call_id

    def _bye(self, effect: ev.Bye) -> None:
        done = ev.ByeDone(effect.leg)
        self._legs[effect.leg].send("BYE", lambda _status, _response: self._feed(done), {"Reason": effect.reason})

    def _reoffer(self, effect: ev.Reoffer) -> None:
        leg, live = effect.leg, self._legs[effect.leg]
        # RFC 3311 5.1: whether a phone knows UPDATE is told by its Allow; whoever does not gets the offer all the same.
        method = effect.method if live.allows(effect.method) or effect.body is None else "INVITE"

        def on_final(status: int, response: Response | None) -> None:
            if response is not None:
                self._open.keep_timer(effect.key, response)
            if response is not None and response.success:
                self._feed(ev.Reanswered(leg, method, response.body or None))
            else:
                self._feed(ev.Refused(leg, _refusal(leg.branch.side, status, response)))

        headers = {"Allow": ALLOW, **self._open.timer_headers(effect.key)}
        if effect.body:
            headers["Content-Type"] = CONTENT_TYPE
        live.send(method, on_final, headers, effect.body or b"")

    def _cancel_reoffer(self, effect: ev.CancelReoffer) -> None:
        self._legs[effect.leg].cancel_offer()

    def _respond(self, effect: ev.Respond) -> None:
        self._open.respond(effect, self._legs)

    def _relay(self, effect: ev.Relay) -> None:
        self._open.relay(effect, self._legs)

    def _wait(self, effect: ev.Wait) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = (
            None if effect.seconds is None else self._loop.call_later(effect.seconds, self._feed, ev.TimedOut())
        )

    def _report(self, effect: ev.Report) -> None:
        if effect.stage is ev.Stage.ENDED:
            self._end(effect.ending or Ending(Outcome.FAILED, None, 500, 41))
            return
        self._story.reached(effect.stage, effect.side)
        if effect.stage is ev.Stage.CONNECTED:
            self._probe = Probe(self._order.limits.probe, self._talking, self._lose)

    def _end(self, ending: Ending) -> None:
        self._story.ended(ending)
        self._wait(ev.Wait(None))
        if not self.over.done():
            self.over.set_result(None)
        self._on_over(self)
        self._let_go()

    def _let_go(self) -> None:
        """Keep nothing but what a late 2xx needs, and be kept alive by nothing but the INVITEs that may have one."""
        for leg in self._legs.values():
            self._dialogs.pop(leg.dialog.id, None)
        if self._probe is not None:
            self._probe.end()
            self._probe = None
        if self._search is not None:
            self._search.cancel()
            self._search = None
        self._open.close()
        self._invitations.clear()
        self._targets.clear()

    def _finish(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._log.error("quickcall.failed", exc_info=fault)
            self.stop(Ending(Outcome.FAILED, None, 500, 41))

    _RUN: ClassVar[Mapping[type[ev.Effect], Callable[..., None]]] = {
        ev.Invite: _invite,
        ev.Route: _route,
        ev.Cancel: _cancel,
        ev.Ack: _ack,
        ev.Ask: _ask,
        ev.Bye: _bye,
        ev.Reoffer: _reoffer,
        ev.CancelReoffer: _cancel_reoffer,
        ev.Respond: _respond,
        ev.Relay: _relay,
        ev.Wait: _wait,
        ev.Report: _report,
    }


def _keypress(targets: Sequence[Target]) -> frozenset[int]:
    return frozenset(index for index, target in enumerate(targets) if target.keypress)


def _refusal(side: Side, status: int, response: Response | None) -> Ending:
    if response is None:
        return unheard(side) if status == 408 else unreachable(side)
    return refused(side, status, told_cause(response))
