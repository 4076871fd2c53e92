"""Call-forward: where an endpoint's calls go instead of its phone, or beside it (contract 6.3, 6.5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from api.call import text_of
from api.documents import at
from api.filters import is_empty

if TYPE_CHECKING:
    from api.quickcall_devices import Target


@dataclass(frozen=True, slots=True)
class Forward:
    """What a device, its owner or its account want. `direct_calls_only` is no part of it: all calls here are direct."""

    number: str
    active: bool
    """Whether calls are forwarded; otherwise it is only for a phone that is not registered."""
    substitute: bool
    """Whether the phone itself is not rung then."""
    failover: bool
    """Whether a phone that is not registered is forwarded although it is not active."""
    require_keypress: bool
    """Whether whoever answers has to press 1, so that no mailbox takes the call."""
    keep_caller_id: bool
    """Whether the number sees who calls, rather than who forwards."""
    ignore_early_media: bool
    """Whether nobody hears what comes before the answer."""

    @property
    def replaces(self) -> bool:
        """Whether the number is called in the phone's place."""
        return self.active and self.substitute

    @property
    def adds(self) -> bool:
        """Whether the number is called beside the phone."""
        return self.active and not self.substitute


def forward_of(endpoint: Target) -> Forward | None:
    """Return what is to become of an endpoint's calls; None where there is no number to forward them to."""
    wanted = endpoint.device.data.get("call_forward")
    # The device's own where that is on, or else the merged one (contract 6.3).
    if at(wanted, "enabled") is not True:
        wanted = endpoint.merged("call_forward")
    number, active, failover = at(wanted, "number"), at(wanted, "enabled") is True, at(wanted, "failover") is True
    if is_empty(number) or not (active or failover):
        return None
    substitute, keypress = at(wanted, "substitute") is not False, at(wanted, "require_keypress") is not False
    return Forward(
        number=text_of(number),
        active=active,
        substitute=substitute,
        failover=failover,
        require_keypress=keypress,
        keep_caller_id=at(wanted, "keep_caller_id") is not False,
        ignore_early_media=keypress or not substitute or at(wanted, "ignore_early_media") is not False,
    )


def beside(device_id: str) -> str:
    """Return what stands for the leg by which a device's calls are forwarded while it rings itself."""
    return f"{device_id}:forward"
