"""All calls that are up: which dialog is whose, how many there may be, and their end when the daemon stops."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING, Final

import structlog

from daemon.call import Call
from sip.dialog import DialogId
from sip.outcome import Ending, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from api.ports import Leg
    from daemon.callrecord import CallRecord
    from daemon.events import EventSink
    from daemon.leg import SipUser
    from daemon.order import Order
    from sip import callevents as ev
    from sip.flow import Flow
    from sip.io.exchange import ServerTransaction
    from sip.message import Request

log = structlog.get_logger(__name__)

MAX_CALLS: Final = 1000  # unless it is set: each keeps two dialogs and some ten transactions
CLOSE_LIMIT: Final = 4.0  # seconds that phones have to answer the last BYE or CANCEL; within a stage of the stop
SHUTDOWN: Final = Ending(Outcome.SHUTDOWN, None, 503, 41)


class LiveCalls:
    """Implements `daemon.dispatch.DialogUser`."""

    def __init__(
        self,
        sip: SipUser,
        events: EventSink | None = None,
        *,
        most: int = MAX_CALLS,
        keep: Callable[[Sequence[Leg]], None] | None = None,
    ) -> None:
        self._sip = sip
        self._events = events
        self.most = most
        """How many calls may be up at once; changing it ends none."""
        self._keep = keep
        self._calls: set[Call] = set()
        self._dialogs: dict[DialogId, tuple[Call, ev.Leg]] = {}
        self._closing = False
        self.ended: Counter[str] = Counter()
        """How many calls ended, by their outcome."""

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def full(self) -> bool:
        """Whether no call can be begun: there are too many, or the daemon stops."""
        return self._closing or len(self._calls) >= self.most

    @property
    def dialogs(self) -> int:
        """How many dialogs are up."""
        return len(self._dialogs)

    def begin(self, order: Order) -> Call:
        """Ring the device of an order."""
        call = Call(self._sip, order, self._dialogs, random.random, self.tell, self.keep, self._over)
        self._calls.add(call)
        call.begin()
        return call

    def count_states(self) -> Counter[str]:
        """Return how many calls are in each state."""
        return Counter(call.state for call in self._calls)

    def of_account(self, account_id: str) -> Sequence[Call]:
        """Return the calls of an account."""
        return [call for call in self._calls if call.account_id == account_id]

    def keep(self, record: CallRecord) -> None:
        """Keep what is known of a call that is over."""
        if self._keep is not None:
            self._keep(record.legs)

    def in_call(self, account_id: str) -> set[str]:
        """Return the ids of the account's devices that talk, or are held, in a call of ours."""
        found = {call.device_of(leg) for call, leg in self._dialogs.values() if call.account_id == account_id}
        return found - {""}

    def tell(self, name: str, facts: Mapping[str, object]) -> None:
        """Log what happened to a call, and emit it as an event of its account."""
        log.info(name, **facts)
        if name == "quickcall.ended":
            self.ended[str(facts.get("outcome"))] += 1
        account_id = facts.get("account_id")
        if self._events is not None and isinstance(account_id, str):
            self._events.emit(account_id, name, facts)

    def on_dialog_request(self, request: Request, transaction: ServerTransaction) -> bool:
        """Take a request with a To tag; False where its dialog is unknown."""
        found = self._dialogs.get(DialogId.of_request(request))
        if found is None:
            return False
        call, leg = found
        call.on_request(leg, request, transaction)
        return True

    def on_dialog_ack(self, request: Request, flow: Flow) -> None:
        """Take the ACK of a 2xx; that of an unknown dialog is dropped."""
        found = self._dialogs.get(DialogId.of_request(request))
        if found is None:
            log.debug("ack.unknown", call_id=request.call_id, flow=str(flow))
            return
        call, leg = found
        call.on_ack(leg, request)

    def on_flow_lost(self, flow: Flow) -> None:
        """Leave the calls as they are: the phone may come back, and their probes will find out."""

    def _over(self, call: Call) -> None:
        self._calls.discard(call)

    async def close(self) -> None:
        """End every call: CANCEL what rings, BYE what talks, and wait for the answers within a limit."""
        self._closing = True
        calls = list(self._calls)
        for call in calls:
            call.stop(SHUTDOWN)
        ends = [call.over for call in calls if not call.over.done()]
        if ends:
            await asyncio.wait(ends, timeout=CLOSE_LIMIT)
        for call in list(self._calls):
            call.abandon()
