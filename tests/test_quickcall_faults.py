"""Many calls with random faults: whatever the phones do, nothing of a call stays behind."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from call_peers import FakeSip, FakeTransaction, Sent, flow, sdp

from daemon.callrecord import CallRecord
from daemon.calls import LiveCalls
from daemon.invitation import Target
from daemon.order import Order
from sip.bypass import Bypass
from sip.calllimits import CallLimits
from sip.errors import SipError, TransactionTimeout, TransportFailed
from sip.headers import NameAddr
from sip.invite import Invitee
from sip.message import Request, Response
from sip.outcome import Ending, Outcome, Side

if TYPE_CHECKING:
    from collections.abc import Callable

    from sip.flow import Flow

CALLS = 1000
SHORT = CallLimits(ring_a=0.4, ring_b=0.4, route=0.4, connect=0.4, talk=0.3, end=0.5, probe=0.1)


@dataclass
class RandomPhones(FakeSip):
    """Phones that answer as chance will have it: late, badly, twice, across a CANCEL, or not at all."""

    chance: random.Random = field(default_factory=lambda: random.Random(20))
    live: LiveCalls | None = None

    def request(
        self,
        request: Request,
        flow: Flow,
        on_response: Callable[[Response], None],
        on_failure: Callable[[SipError], None],
    ) -> Sent:
        sent = Sent(request, flow, on_response, on_failure)
        asyncio.get_running_loop().call_later(self.chance.random() / 100, self._react, sent)
        return sent

    def send(self, request: Request, flow: Flow) -> None:
        """Take an ACK; now and then the phone does something of its own then."""
        if self.chance.random() < 0.5:
            asyncio.get_running_loop().call_later(self.chance.random() / 10, self._act, request)

    def _react(self, sent: Sent) -> None:
        if sent.cancelled is not None and self.chance.random() < 0.8:
            sent.answer(487)
            return
        invites = sent.request.method == "INVITE" and ";tag=" not in sent.request.one("To")
        {0: self._silent, 1: self._broken, 2: self._refuse, 3: self._ring}.get(
            self.chance.randrange(16 if invites else 50), self._accept
        )(sent)

    def _silent(self, sent: Sent) -> None:
        asyncio.get_running_loop().call_later(0.03, sent.on_failure, TransactionTimeout("silence"))

    def _broken(self, sent: Sent) -> None:
        sent.on_failure(TransportFailed("broken"))

    def _refuse(self, sent: Sent) -> None:
        sent.answer(self.chance.choice([302, 401, 404, 408, 481, 486, 488, 491, 503, 603]))

    def _ring(self, sent: Sent) -> None:
        sent.answer(180, tag=f"t{id(sent)}")
        asyncio.get_running_loop().call_later(self.chance.random() / 30, self._react, sent)

    def _accept(self, sent: Sent) -> None:
        tag = f"t{id(sent)}"
        good = [sdp(4000), sdp(4002), sdp(4000, "a=inactive")]
        body = self.chance.choice([*good * 8, sdp(0), b"", b"noise"])
        invite = sent.request.method == "INVITE"
        sent.answer(200, body if invite else b"", tag=tag)
        if invite and self.chance.random() < 0.3:
            sent.answer(200, body, tag=self.chance.choice([tag, "fork"]))

    def _act(self, ack: Request) -> None:
        """Let the phone send a request within the dialog that this ACK names."""
        method = self.chance.choice(["BYE", "INVITE", "UPDATE", "INFO", "OPTIONS"])
        request = Request(method, "sip:roost@192.0.2.1")
        request.set("From", ack.one("To"))
        request.set("To", ack.one("From"))
        request.set("Call-ID", ack.call_id)
        request.set("CSeq", f"{self.chance.randrange(1, 5)} {method}")
        request.body = self.chance.choice([sdp(4004), b"", b"noise"]) if method in ("INVITE", "UPDATE") else b""
        transaction = FakeTransaction(request, flow(5001))
        assert self.live is not None
        known = self.live.on_dialog_request(request, transaction)
        if known and method == "INVITE" and self.chance.random() < 0.3 and transaction.on_failure is not None:
            transaction.on_failure(TransactionTimeout("no ACK"))


def order(number: int, sip: RandomPhones) -> Order:
    def target(side: str) -> Target:
        local = NameAddr("", "sip:roost@office.example", (("tag", f"{side}{number}"),))
        invitee = Invitee("sip:phone@10.0.0.7", f"{side}{number}", local, NameAddr("", "sip:phone@office.example"))
        return Target(invitee, lambda: flow(5001), talk=side == "a")

    async def find_number(_number: str) -> list[Target] | Ending:
        await asyncio.sleep(0)
        if sip.chance.random() < 0.1:
            return Ending(Outcome.NO_ROUTE, Side.B, 404, 3)
        return [target("b")]

    record = CallRecord("a" * 32, str(number), "1002", "bypass", lambda _device: None, lambda: 0.0)
    targets = [target("a") for _ in range(sip.chance.randint(1, 3))]
    media = Bypass(["PCMU"], "192.0.2.1", session_id=number)
    return Order(targets, media, SHORT, find_number, lambda _side, found: found, record, {})


async def test_a_thousand_calls_with_random_faults_leave_nothing() -> None:
    """No call, no dialog, no task and no timer outlives its call, and none fails by a fault of ours."""
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: faults.append(context))
    sip = RandomPhones()
    sip.live = live = LiveCalls(sip)
    ends = [live.begin(order(number, sip)).over for number in range(CALLS)]
    await asyncio.wait_for(asyncio.gather(*ends), 20)
    await asyncio.sleep(0.05)

    assert not faults
    assert (0, 0) == (len(live), live.dialogs)
    assert {asyncio.current_task()} == asyncio.all_tasks()
