"""What a call's state machine asks about media: a Protocol, so that its mode changes nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sip.outcome import Side


class MediaPlan(Protocol):
    """Where the descriptions of a call come from, and what a leg must be told of the other's.

    Every method that takes a body may raise ParseError; its status is then what the leg is refused with.
    """

    def first_offer(self) -> bytes:
        """Return what the device is invited with."""
        ...

    def answered(self, side: Side, body: bytes) -> Side | None:
        """Take a side's answer; returns which side must now be offered something, None where both agree."""
        ...

    def offer(self, side: Side) -> bytes:
        """Return the offer for a side, made from what the other last answered."""
        ...

    def pass_offer(self, side: Side, body: bytes) -> bytes:
        """Return what the other side is offered when this one offers `body`."""
        ...

    def pass_answer(self, side: Side, body: bytes) -> bytes:
        """Return the answer for the other side when this one answered `body` to what was passed on."""
        ...

    def withdraw(self, side: Side) -> None:
        """Forget the side's last `pass_offer`, and whatever came of it: it was refused, or taken back."""
        ...

    def renew(self, side: Side) -> None:
        """Forget all that was said on a side: another phone takes its place."""
        ...

    def hold(self, side: Side, body: bytes) -> bytes:
        """Answer a side's own offer by keeping it held, without asking the other."""
        ...

    def repeat(self, side: Side) -> bytes:
        """Return what the side was told last, as the offer that it asked for."""
        ...
