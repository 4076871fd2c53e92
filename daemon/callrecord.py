"""What is known of a call's legs, while they last and after: what the API tells as channels and as CDRs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from api.body import mend
from api.ports import Leg
from daemon.invitation import Target
from sip.errors import ParseError, TransportFailed
from sip.headers import NameAddr
from sip.invite import Invitee
from sip.outcome import ELSEWHERE, TRANSFERRED, Outcome, Side, best_told
from sip.uri import SipUri, unescape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from daemon.directory import Device
    from sip.flow import Flow
    from sip.outcome import Ending

SIDES: Final = {Side.A: "device", Side.B: "number"}
US: Final = "roost"
UNHEARD: Final = "sent early media, which media=bypass does not pass on"
NOT_BY_ITSELF: Final = "rang but did not auto-answer"


@dataclass(slots=True)
class _Told:
    """A leg, and why its branches failed so far."""

    leg: Leg
    side: Side
    failures: list[Ending] = field(default_factory=list)


@dataclass(slots=True)
class CallRecord:
    """The legs of one call. Its methods are told what happens, in the order it does."""

    account_id: str
    interaction_id: str
    number: str
    """What was dialled."""
    media: str
    find_device: Callable[[str], Device | None]
    wall: Callable[[], float]
    _legs: dict[str, _Told] = field(default_factory=dict)

    def invited(self, side: Side, target: Target) -> None:
        """Note a branch. Those that have the Call-ID in common are one leg: the contacts of a device."""
        if target.invitee.call_id not in self._legs:
            self._legs[target.invitee.call_id] = _Told(self._begin(side, target), side)

    def absent(self, device_id: str, call_id: str, caller: NameAddr, ending: Ending) -> None:
        """Note a device that was to be rung and cannot be."""
        invitee = Invitee("", call_id, caller, NameAddr("", ""))
        leg = self._begin(Side.A, Target(invitee, _nowhere, device_id))
        self._legs[call_id] = _Told(_over(leg, ending, leg.began), Side.A)

    def rang(self, target: Target) -> None:
        """Note the first sign that a phone rings."""
        told = self._legs[target.invitee.call_id]
        if told.leg.rang is None:
            told.leg = replace(told.leg, rang=self.wall())

    def unheard(self, target: Target) -> bool:
        """Note early media that nobody could hear; returns whether it is the leg's first."""
        told = self._legs[target.invitee.call_id]
        first = not told.leg.remark
        told.leg = replace(told.leg, remark=UNHEARD)
        return first

    def answered(self, target: Target) -> None:
        """Note the leg that a side has from now on, and join it with the other side's."""
        told = self._legs[target.invitee.call_id]
        told.leg = replace(told.leg, answered=self.wall(), ended=None, outcome="")
        other = next((each for each in self._legs.values() if each.side is not told.side and _is_up(each.leg)), None)
        if other is not None:
            told.leg = replace(told.leg, other_leg=other.leg.call_id)
            other.leg = replace(other.leg, other_leg=told.leg.call_id)

    def failed(self, target: Target, ending: Ending) -> None:
        """Note that a branch ended without an answer, because another one of its side was faster if there is one."""
        told = self._legs[target.invitee.call_id]
        if told.leg.answered is None:
            told.failures.append(ELSEWHERE if self._has_won(told.side) else ending)
            told.leg = _over(told.leg, best_told(told.failures), self.wall())

    def transferred(self) -> None:
        """Note that the number's leg is left, because another number takes its place."""
        for told in self._legs.values():
            if told.side is Side.B and told.leg.ended is None:
                told.leg = _over(told.leg, TRANSFERRED, self.wall())

    def ended(self, ending: Ending) -> None:
        """Note the end of all that is not over yet."""
        won = [side for side in Side if self._has_won(side)]
        for told in self._legs.values():
            if told.leg.ended is None:
                lost = told.leg.answered is None and told.side in won
                told.leg = _over(told.leg, ELSEWHERE if lost else ending, self.wall())

    def _has_won(self, side: Side) -> bool:
        """Return whether a leg of the side was answered, and is up."""
        return any(told.side is side and _is_up(told.leg) for told in self._legs.values())

    @property
    def legs(self) -> Sequence[Leg]:
        """All legs, those that are over too."""
        return [told.leg for told in self._legs.values()]

    def find(self, call_id: str) -> Leg | None:
        """Return a leg that is not over."""
        told = self._legs.get(call_id)
        return None if told is None or told.leg.ended is not None else told.leg

    def summary(self) -> Mapping[str, object]:
        """Return what the event of the end says of the legs."""
        return {**self._times(), **({"remark": self.remark} if self.remark else {})}

    @property
    def remark(self) -> str:
        """What else there is to say of the end; empty mostly."""
        return next((leg.remark for leg in self.legs if leg.remark), "")

    def _times(self) -> Mapping[str, float]:
        """Return after how many seconds each side first rang, and answered."""
        began = min((leg.began for leg in self.legs), default=0.0)
        first: dict[str, float] = {}
        for leg in self.legs:
            for what, moment in (("rang", leg.rang), ("answered", leg.answered)):
                if moment is not None:
                    key = f"{leg.side}_{what}_after"
                    first[key] = min(first.get(key, moment - began), moment - began)
        return {key: round(seconds, 3) for key, seconds in first.items()}

    def _begin(self, side: Side, target: Target) -> Leg:
        device_id = target.forwarded_by or target.device_id
        device = self.find_device(device_id) if device_id else None
        caller, invitee = target.invitee.local, target.invitee
        presence = (device.presence_id or device.username) if device else ""
        username = device.username if device else ""
        return Leg(
            call_id=invitee.call_id,
            interaction_id=self.interaction_id,
            account_id=self.account_id,
            side=SIDES[side],
            device_id=device_id,
            owner_id=device.owner_id if device else "",
            username=mend(username),
            presence_id=mend(presence if "@" in presence or not device else f"{presence}@{device.realm}"),
            destination=mend(self._destination(side, target, username)),
            request=mend(invitee.uri),
            caller_id_name=mend(caller.display),
            caller_id_number=mend(_user(caller)),
            callee_id_name="",
            callee_id_number=mend(_user(invitee.remote)),
            other_leg=next((each.leg.call_id for each in self._legs.values() if _joins(each, side)), ""),
            media=self.media,
            auto_answer=target.talk,
            began=self.wall(),
        )

    def _destination(self, side: Side, target: Target, username: str) -> str:
        if target.forwarded_by:
            return _user(target.invitee.remote)
        return self.number if side is Side.B else username or _user(target.invitee.remote)


def _joins(told: _Told, side: Side) -> bool:
    return told.side is not side and told.leg.answered is not None and told.leg.ended is None


def _is_up(leg: Leg) -> bool:
    return leg.answered is not None and leg.ended is None


def _over(leg: Leg, ending: Ending, now: float) -> Leg:
    rang_out = ending.outcome is Outcome.NO_ANSWER and leg.rang is not None and leg.answered is None
    return replace(
        leg,
        ended=now,
        remark=NOT_BY_ITSELF if rang_out and leg.auto_answer else leg.remark,
        outcome=ending.outcome.value,
        sip_status=ending.status,
        q850_cause=ending.cause,
        hangup_side=SIDES[ending.side] if ending.side else US,
    )


def _nowhere() -> Flow:
    raise TransportFailed("the device has no contact")


def _user(address: NameAddr) -> str:
    try:
        uri = SipUri.parse(address.uri)
    except ParseError:
        return ""
    return unescape(uri.user or "") or uri.host
