"""What a quickcall's state machine is told, and what it asks for, as values (`sip.callflow`)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from sip.outcome import Ending, Side


class State(Enum):
    """Where a call stands."""

    IDLE = "idle"
    CALLING_A = "calling_a"
    """The device rings."""
    ROUTING_B = "routing_b"
    """The device answered and is held; where the number is to be found is being looked up."""
    CALLING_B = "calling_b"
    CONNECTING = "connecting"
    """Both answered; one is being told of the other's media."""
    GLARE = "glare"
    """Both offered at once; we wait to offer again."""
    CONNECTED = "connected"
    ENDING = "ending"
    """Decided; legs are being cancelled and ended."""
    ENDED = "ended"


class Stage(Enum):
    """What is worth telling whoever asked for the call."""

    RINGING = "ringing"
    ANSWERED = "answered"
    CONNECTED = "connected"
    ENDED = "ended"


class Branch(NamedTuple):
    """One invitation. It may take several requests, such as one with credentials after a 407."""

    side: Side
    number: int


class Leg(NamedTuple):
    """One dialog of an invitation that was answered; forks give several."""

    branch: Branch
    tag: str
    """The peer's."""


@dataclass(frozen=True, slots=True)
class Start:
    """Ring this many branches of the device."""

    branches: int
    keypress: frozenset[int] = frozenset()
    """Those whose answer only counts when a key is pressed then (`Pressed`)."""


@dataclass(frozen=True, slots=True)
class Routed:
    """The number was found, behind this many branches."""

    branches: int
    keypress: frozenset[int] = frozenset()
    """As in `Start`."""


@dataclass(frozen=True, slots=True)
class Unroutable:
    """The number was not found."""

    ending: Ending


@dataclass(frozen=True, slots=True)
class Ringing:
    """A 1xx other than 100 came."""

    branch: Branch
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answered:
    """The first 2xx of a leg came."""

    leg: Leg
    body: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """The branch ended without a 2xx."""

    branch: Branch
    ending: Ending


@dataclass(frozen=True, slots=True)
class Diverted:
    """The branch ended without a 2xx, and the call goes on to this many others in its place."""

    branch: Branch
    branches: int
    keypress: frozenset[int] = frozenset()
    """As in `Start`."""


@dataclass(frozen=True, slots=True)
class Pressed:
    """A key was pressed on a leg, and heard in its media."""

    leg: Leg
    digit: str


@dataclass(frozen=True, slots=True)
class Reroute:
    """Let another number take the place of the one that the device talks to. Ignored while an offer is on its way."""


@dataclass(frozen=True, slots=True)
class Reanswered:
    """A 2xx came to our offer within a leg."""

    leg: Leg
    method: str
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Refused:
    """Our offer within a leg was refused, or got no answer."""

    leg: Leg
    ending: Ending


@dataclass(frozen=True, slots=True)
class Offered:
    """A leg sent a re-INVITE or UPDATE."""

    leg: Leg
    key: int
    method: str
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A leg cancelled its re-INVITE."""

    leg: Leg


@dataclass(frozen=True, slots=True)
class Acked:
    """A leg acknowledged our 2xx to its re-INVITE."""

    leg: Leg
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Said:
    """A leg sent an INFO."""

    leg: Leg
    key: int


@dataclass(frozen=True, slots=True)
class HungUp:
    """A leg sent BYE; it has its 200."""

    leg: Leg
    cause: int | None
    """Q.850, where it said so."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A leg has died without a BYE."""

    leg: Leg
    ending: Ending


@dataclass(frozen=True, slots=True)
class ByeDone:
    """Our BYE was answered, or never will be."""

    leg: Leg


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The time of the last `Wait` is over."""


@dataclass(frozen=True, slots=True)
class Stop:
    """We ourselves want the call to end."""

    ending: Ending


Input: TypeAlias = (
    "Start | Routed | Unroutable | Ringing | Answered | Failed | Diverted | Reanswered | Refused | Offered | Withdrawn"
    " | Acked | Said | HungUp | Lost | ByeDone | Pressed | Reroute | TimedOut | Stop"
)


@dataclass(frozen=True, slots=True)
class Invite:
    """Send the INVITE of a branch with this offer."""

    branch: Branch
    body: bytes


@dataclass(frozen=True, slots=True)
class Route:
    """Find the number; answer with Routed or Unroutable."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """Send CANCEL, as soon as RFC 3261 9.1 lets us."""

    branch: Branch
    reason: str


@dataclass(frozen=True, slots=True)
class Ack:
    """Acknowledge the last 2xx to an INVITE of the leg, with an answer where it held the offer."""

    leg: Leg
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask on the leg for the key that takes the call, and say `Pressed`."""

    leg: Leg


@dataclass(frozen=True, slots=True)
class Bye:
    """Send BYE."""

    leg: Leg
    reason: str


@dataclass(frozen=True, slots=True)
class Reoffer:
    """Send a re-INVITE or UPDATE within the leg."""

    leg: Leg
    method: str
    body: bytes | None
    key: int = 0
    """The request of the other leg that it passes on; 0 where it is ours."""


@dataclass(frozen=True, slots=True)
class CancelReoffer:
    """Cancel the re-INVITE that is on its way within the leg."""

    leg: Leg


@dataclass(frozen=True, slots=True)
class Respond:
    """Answer a leg's request."""

    key: int
    status: int
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Relay:
    """Send the request on within this leg, and its answer back."""

    leg: Leg
    key: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Say TimedOut after so many seconds, in the place of any earlier Wait; None waits for nothing any more."""

    seconds: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """Tell whoever asked for the call."""

    stage: Stage
    side: Side | None = None
    ending: Ending | None = None


Effect: TypeAlias = (
    "Invite | Route | Cancel | Ack | Ask | Bye | Reoffer | CancelReoffer | Respond | Relay | Wait | Report"
)
