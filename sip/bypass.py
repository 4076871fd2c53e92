"""What each leg is told of the other's media when it flows between the phones themselves (RFC 3725 4, RFC 3264).

A device is first held, then each side hears what the other answered. Only origin and direction are ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sip.errors import LocalProtocolError, ParseError
from sip.outcome import Side
from sip.sdp import Origin, SessionDescription, held_answer, held_offer, media_moved, offer_from_answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sip.callevents import Branch


@dataclass(slots=True)
class _Leg:
    """What was said last on one leg."""

    origin: Origin
    told: SessionDescription | None = None
    heard: SessionDescription | None = None


class Bypass:
    """The descriptions of one call, by side. Every body comes in and goes out as bytes."""

    __slots__ = ("_before", "_codecs", "_legs", "_srtp_key")

    anchored = False

    def __init__(self, codecs: Sequence[str], address: str, *, session_id: int, srtp_key: str = "") -> None:
        self._codecs = tuple(codecs)
        self._srtp_key = srtp_key
        self._before: tuple[SessionDescription | None, SessionDescription | None] = None, None
        """What the side that offered last was heard to say before, and what the other one was told before."""
        self._legs = {side: _Leg(Origin(session_id + step, 0, address)) for step, side in enumerate(Side)}

    def first_offer(self) -> bytes:
        """Return what the device is invited with: its codecs, held."""
        leg = self._legs[Side.A]
        return self._tell(Side.A, held_offer(self._codecs, leg.origin, srtp_key=self._srtp_key))

    def invite(self, branch: Branch) -> bytes:
        """Return what a branch is invited with: every one of a side with the same."""
        return self.first_offer() if branch.side is Side.A else self.offer(branch.side)

    def rang(self, branch: Branch, body: bytes) -> None:
        """Take no notice: what a phone says before it answers reaches no other phone."""

    def choose(self, branch: Branch) -> None:
        """Take no notice: what it was invited with, all were."""

    def ask(self, side: Side) -> None:
        """Take no notice: nothing can be played to a phone."""

    def taken(self, side: Side) -> None:
        """Take no notice: its answer says all."""

    def answered(self, side: Side, body: bytes) -> Side | None:
        """Take a side's answer; returns which side must now be offered something, None where both agree.

        Raises ParseError where the answer cannot be used.
        """
        answer = SessionDescription.parse(body)
        if not any(media.port for media in answer.media):
            raise ParseError("the answer takes no stream", status=488)
        self._legs[side].heard = answer
        other = self._legs[side.other]
        if other.told is None or other.heard is None:
            return side.other
        return side.other if media_moved(other.told, answer.padded(len(other.told.media)), other.heard) else None

    def offer(self, side: Side) -> bytes:
        """Return the offer for a side, made from what the other last answered."""
        heard = self._legs[side.other].heard
        if heard is None:
            raise LocalProtocolError(f"nothing was heard of side {side.other.value} yet")
        offer = offer_from_answer(heard, self._legs[side].origin)
        return self._tell(side, offer.padded(self._streams(side)))

    def pass_offer(self, side: Side, body: bytes) -> bytes:
        """Return what the other side is offered when this one offers `body`. Raises ParseError."""
        heard = SessionDescription.parse(body)
        self._before = self._legs[side].heard, self._legs[side.other].told
        self._legs[side].heard = heard
        return self._tell(side.other, heard.padded(self._streams(side.other)))

    def pass_answer(self, side: Side, body: bytes) -> bytes:
        """Return the answer for the other side when this one answered `body`. Raises ParseError."""
        heard = self._legs[side].heard = SessionDescription.parse(body)
        offered = self._legs[side.other].heard
        streams = len(offered.media) if offered else len(heard.media)
        return self._tell(side.other, replace(heard, media=heard.media[:streams]).padded(streams))

    def withdraw(self, side: Side) -> None:
        """Forget the side's last `pass_offer`: it was refused, or taken back."""
        self._legs[side].heard, self._legs[side.other].told = self._before

    def renew(self, side: Side) -> None:
        """Forget all that was said on a side: another phone takes its place."""
        self._legs[side] = _Leg(replace(self._legs[side].origin, version=0))
        if side is Side.A:
            self.first_offer()  # every phone of the device's was invited with it

    def hold(self, side: Side, body: bytes) -> bytes:
        """Answer a side's own offer by keeping it held, without asking the other. Raises ParseError."""
        offer = self._legs[side].heard = SessionDescription.parse(body)
        return self._tell(side, held_answer(offer, self._legs[side].origin))

    def repeat(self, side: Side) -> bytes:
        """Return what the side was told last, as the offer that it asked for."""
        told = self._legs[side].told
        if told is None:
            raise LocalProtocolError(f"side {side.value} was told nothing yet")
        return told.encode()

    def agreed(self, side: Side, body: bytes) -> None:
        """Take a side's answer to what `repeat` offered: the other hears of it next. Raises ParseError."""
        self._legs[side].heard = SessionDescription.parse(body)

    def _streams(self, side: Side) -> int:
        told = self._legs[side].told
        return len(told.media) if told else 0

    def _tell(self, side: Side, description: SessionDescription) -> bytes:
        """Put our origin on it, one version on where anything else has changed (RFC 3264 8)."""
        leg = self._legs[side]
        told = description.with_origin(leg.origin)
        if told != leg.told:
            leg.origin = replace(leg.origin, version=leg.origin.version + 1)
            leg.told = told = told.with_origin(leg.origin)
        return told.encode()
