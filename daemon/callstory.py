"""What is told of a call: its events, its record, and the answer to whoever waits for the device."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from daemon.order import describe
from sip import callevents as ev
from sip.outcome import Side

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from daemon.callrecord import CallRecord
    from daemon.invitation import Target
    from daemon.order import Order
    from sip.outcome import Ending

EVENTS: Final = {
    ev.Stage.RINGING: "quickcall.ringing",
    ev.Stage.ANSWERED: "quickcall.answered",
    ev.Stage.CONNECTED: "quickcall.connected",
}


class CallStory:
    """Of one call. `tell` takes its events, `keep` its record when it has ended."""

    def __init__(
        self, order: Order, tell: Callable[[str, Mapping[str, object]], None], keep: Callable[[CallRecord], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.device_answered: asyncio.Future[Ending | None] = self._loop.create_future()
        """Done with None when the device answers, or with the end where it does not."""
        self.record = order.record
        self._order = order
        self._sink = tell
        self._keep = keep
        self._shown: dict[Side, Target] = {}
        """Whose ringing or answer is told of a side."""
        self._began = self._connected = self._loop.time()
        self._ended = False

    def began(self) -> None:
        """Tell that the device is rung."""
        self._tell("quickcall.started", branches=len(self._order.targets))

    def rang(self, side: Side, target: Target, *, early_media: bool) -> None:
        """Note a 1xx other than 100."""
        self._shown[side] = target
        self.record.rang(target)
        lost = side is Side.B and early_media and not target.quiet and not self._order.media.anchored
        if lost and self.record.unheard(target):
            self._tell("quickcall.early_media", leg=target.invitee.call_id, heard=False)

    def answered(self, side: Side, target: Target) -> None:
        """Note a 2xx."""
        self._shown[side] = target

    def failed(self, target: Target, ending: Ending) -> None:
        """Note that a branch ended without a 2xx; once the call has ended, that is no news."""
        if not self._ended:
            self.record.failed(target, ending)

    def reached(self, stage: ev.Stage, side: Side | None) -> None:
        """Tell how far the call has come."""
        facts: dict[str, object] = {}
        if side is not None:
            target = self._shown[side]
            if stage is ev.Stage.ANSWERED:
                self.record.answered(target)
            facts = {"side": side.value, "leg": target.invitee.call_id, "leg_device": target.device_id}
        self._tell(EVENTS[stage], **facts)
        if stage is ev.Stage.CONNECTED:
            self._connected = self._loop.time()
        elif stage is ev.Stage.ANSWERED and not self.device_answered.done():
            self.device_answered.set_result(None)

    def ended(self, ending: Ending) -> None:
        """Tell of the end when it is decided, once: it takes a dead phone half a minute more to be let go of."""
        if self._ended:
            return
        self._ended = True
        self.record.ended(ending)
        now = self._loop.time()
        talked = round(now - self._connected, 3) if self._connected > self._began else 0.0
        lasted = round(now - self._began, 3)
        self._tell("quickcall.ended", **describe(ending), lasted=lasted, talked=talked, **self.record.summary())
        if not self.device_answered.done():
            self.device_answered.set_result(ending)
        self._keep(self.record)

    def _tell(self, name: str, **facts: object) -> None:
        self._sink(name, {**self._order.facts, **facts})
