"""What call is wanted, and how an end is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from daemon.callrecord import CallRecord
    from daemon.invitation import Target
    from sip.calllimits import CallLimits
    from sip.mediaplan import MediaPlan
    from sip.outcome import Ending, Side


@dataclass(frozen=True, slots=True)
class Order:
    """What call is wanted."""

    targets: Sequence[Target]
    """Where the device is to be rung, all at once."""
    media: MediaPlan
    limits: CallLimits
    find_number: Callable[[str], Awaitable[Sequence[Target] | Ending]]
    """Looks a number up, once the device has answered."""
    admit: Callable[[Side, Sequence[Target]], Sequence[Target] | Ending]
    """Says which of what was found for a side can have the call's media, before it is rung."""
    record: CallRecord
    facts: Mapping[str, object]
    """What every log line and event of the call says."""


def describe(ending: Ending) -> dict[str, object]:
    """Return an end as the facts of a log line."""
    side = ending.side.value if ending.side else "us"
    return {"outcome": ending.outcome.value, "side": side, "status": ending.status, "cause": ending.cause}
