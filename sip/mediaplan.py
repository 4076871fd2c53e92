"""What a call's state machine asks about media: a Protocol, so that its mode changes nothing else."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sip.callevents import Branch
    from sip.outcome import Side


class Source(Enum):
    """What a side hears, where its media ends at us."""

    SILENCE = "silence"
    OTHER = "other"
    """The other side."""
    RINGBACK = "ringback"
    ASKING = "asking"
    """That a key is waited for."""


class MediaPlan(Protocol):
    """Where the descriptions of a call come from, and what a leg must be told of the other's.

    Every method that takes a body may raise ParseError; its status is then what the leg is refused with.
    """

    @property
    def anchored(self) -> bool:
        """Whether each side's media ends at us, so that its own offers are ours to answer."""
        ...

    def invite(self, branch: Branch) -> bytes:
        """Return what a branch is invited with."""
        ...

    def rang(self, branch: Branch, body: bytes) -> None:
        """Learn that a branch rings, and what it says of its media already, if anything. Raises nothing."""
        ...

    def choose(self, branch: Branch) -> None:
        """Learn whose answer is the side's: that of this branch, which `answered` is told of next."""
        ...

    def answered(self, side: Side, body: bytes) -> Side | None:
        """Take a side's answer; returns which side must now be offered something, None where both agree."""
        ...

    def ask(self, side: Side) -> None:
        """Let whoever has answered hear that a key is waited for."""
        ...

    def taken(self, side: Side) -> None:
        """Learn that the side's answer counts."""
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
        """Answer a side's own offer without asking the other: by keeping it held, unless its media ends at us."""
        ...

    def repeat(self, side: Side) -> bytes:
        """Return what the side was told last, as the offer that it asked for."""
        ...

    def agreed(self, side: Side, body: bytes) -> None:
        """Take a side's answer to what `repeat` offered."""
        ...
