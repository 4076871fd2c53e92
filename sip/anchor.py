"""What each leg is told of its media when that ends at a worker of ours, which joins the two (RFC 3264).

Each side has an offer of the worker's, with our address and the device's codecs; what a phone says goes to the worker
alone. So the phones need not reach each other, nor share a codec.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from sip.audio import audio_of, codecs_of, for_worker, own_answer, own_offer
from sip.errors import LocalProtocolError, ParseError
from sip.mediaplan import Source
from sip.outcome import Side
from sip.sdp import Origin, SessionDescription

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sip.callevents import Branch


class Bridge(Protocol):
    """The worker of one call."""

    def offer(self, side: Side) -> SessionDescription:
        """Return what the worker offers on a side."""
        ...

    def point(self, side: Side, said: SessionDescription) -> None:
        """Tell the worker where a side's media is; the last word holds."""
        ...

    def hear(self, side: Side, source: Source) -> None:
        """Tell the worker what a side hears."""
        ...


@dataclass(frozen=True, slots=True)
class Party:
    """What a branch is to be offered."""

    address: str
    """Where our media is, for its phone."""
    encodings: tuple[str, ...]
    """Such as `PCMU/8000`, in its device's order."""


@dataclass(slots=True)
class _Leg:
    """What was said last on one leg."""

    origin: Origin
    offer: SessionDescription | None = None
    """What its phone was invited with."""
    told: SessionDescription | None = None


class Anchor:
    """The descriptions of one call. Implements `sip.mediaplan.MediaPlan`."""

    anchored = True

    def __init__(self, bridge: Bridge, *, session_id: int, early_media: bool) -> None:
        self._bridge = bridge
        self._early_media = early_media
        self._parties: dict[Side, list[Party]] = {Side.A: [], Side.B: []}
        self._legs = {side: _Leg(Origin(session_id + step, 0, "")) for step, side in enumerate(Side)}
        self._known = {side: codecs_of(bridge.offer(side)) for side in Side}
        self._said: dict[Branch, bytes] = {}
        """What branches said before they answered."""
        self._chosen: dict[Side, Branch] = {}
        """Whose answer is the side's."""
        self._joined = False
        """Whether each side hears the other, or would."""

    def expect(self, side: Side, parties: Iterable[Party]) -> None:
        """Learn of the branches that are rung next on a side, in their order."""
        self._parties[side] += parties

    def invite(self, branch: Branch) -> bytes:
        """Return what a branch is invited with: the worker's offer, in its device's codecs."""
        party = self._parties[branch.side][branch.number]
        origin = replace(self._legs[branch.side].origin, version=1, address=party.address)
        return own_offer(self._bridge.offer(branch.side), party.encodings, origin).encode()

    def rang(self, branch: Branch, body: bytes) -> None:
        """Let the device hear the ringing of the far network, or else ours."""
        if body:
            self._said[branch] = body
        if branch.side is Side.A or self._joined:
            return
        self._bridge.hear(Side.A, Source.RINGBACK)
        if body and self._early_media:
            # What cannot be used of early media is not missed: the answer says it again.
            with suppress(ParseError):
                self._point(Side.B, body)
                self._join()

    def choose(self, branch: Branch) -> None:
        """Learn whose answer is the side's."""
        party, leg = self._parties[branch.side][branch.number], self._legs[branch.side]
        self._chosen[branch.side] = branch
        leg.origin = replace(leg.origin, version=1, address=party.address)
        leg.told = leg.offer = own_offer(self._bridge.offer(branch.side), party.encodings, leg.origin)

    def answered(self, side: Side, body: bytes) -> Side | None:
        """Take an answer; nobody has to hear of it but the worker. Raises ParseError."""
        # RFC 3261 13.2.1 wants the answer in the 2xx again; some gateways say it in the 183 alone.
        self._point(side, body or self._said.get(self._chosen[side], b""))
        return None

    def ask(self, side: Side) -> None:
        """Let whoever has answered hear that a key is waited for."""
        self._bridge.hear(side, Source.ASKING)

    def taken(self, side: Side) -> None:
        """Join the sides when both are there."""
        if side is Side.B:
            self._join()
        else:
            self._bridge.hear(side, Source.SILENCE)

    def hold(self, side: Side, body: bytes) -> bytes:
        """Answer a side's own offer, for its media ends at us. Raises ParseError."""
        offer = SessionDescription.parse(body)
        port = audio_of(self._bridge.offer(side)).port
        answer = own_answer(offer, self._known[side], port, self._legs[side].origin)
        self._bridge.point(side, for_worker(offer, self._known[side], self._legs[side].origin))
        return self._tell(side, answer)

    def repeat(self, side: Side) -> bytes:
        """Return an offer for a side that asked for one."""
        leg = self._legs[side]
        if leg.offer is None or leg.told is None:
            raise LocalProtocolError(f"side {side.value} was told nothing yet")
        return self._tell(side, leg.offer.padded(len(leg.told.media)))

    def agreed(self, side: Side, body: bytes) -> None:
        """Take a side's answer to what `repeat` offered. Raises ParseError."""
        self._point(side, body)

    def renew(self, side: Side) -> None:
        """Forget all that was said on a side: another phone takes its place."""
        leg = self._legs[side]
        self._legs[side] = _Leg(replace(leg.origin, session_id=leg.origin.session_id + len(Side), version=0))
        self._bridge.hear(side, Source.SILENCE)
        if self._joined:
            self._joined = False
            self._bridge.hear(side.other, Source.SILENCE)

    def offer(self, side: Side) -> bytes:
        """Never asked for: no side hears of the other."""
        raise LocalProtocolError(f"side {side.value} is not to hear of the other's media")

    def pass_offer(self, side: Side, body: bytes) -> bytes:
        """Never asked for: a side's offers are answered here."""
        raise LocalProtocolError(f"an offer of {len(body)} bytes of side {side.value} is ours to answer")

    pass_answer = pass_offer

    def withdraw(self, side: Side) -> None:
        """Forget nothing: no offer of a side's waits for the other."""

    def _join(self) -> None:
        self._joined = True
        for side in Side:
            self._bridge.hear(side, Source.OTHER)

    def _point(self, side: Side, body: bytes) -> None:
        said = SessionDescription.parse(body)
        self._bridge.point(side, for_worker(said, self._known[side], self._legs[side].origin))

    def _tell(self, side: Side, description: SessionDescription) -> bytes:
        """Put our origin on it, one version on where anything else has changed (RFC 3264 8)."""
        leg = self._legs[side]
        told = description.with_origin(leg.origin)
        if told != leg.told:
            leg.origin = replace(leg.origin, version=leg.origin.version + 1)
            leg.told = told = told.with_origin(leg.origin)
        return told.encode()
