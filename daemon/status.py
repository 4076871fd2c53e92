"""What is known of devices beside that they are registered: their contacts, whether these answer, and calls."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from api.body import mend
from api.ports import GREGORIAN_EPOCH, ContactStatus, DeviceStatus
from daemon.presence import now
from sip.location import Reach

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from daemon.presence import Presence
    from sip.location import Binding
    from sip.vendors import VendorTable

REACHABLE = {Reach.REACHABLE: True, Reach.UNREACHABLE: False, Reach.UNVERIFIED: None}


class DeviceStatuses:
    """Implements `api.ports.Statuses`. `in_call` tells the ids of an account's devices that are in a call."""

    def __init__(self, presence: Presence, vendors: VendorTable, in_call: Callable[[str], Collection[str]]) -> None:
        self._presence = presence
        self._vendors = vendors
        self._in_call = in_call

    def of(self, account_id: str, device_ids: Iterable[str]) -> Sequence[DeviceStatus]:
        """Return what is known of each of these devices, in the same order."""
        in_call = self._in_call(account_id)
        moment = now()
        unix = time.time() - moment
        found: list[DeviceStatus] = []
        for device_id in device_ids:
            bindings = self._presence.bindings(account_id, device_id)
            contacts = [self._contact(binding, moment, unix) for binding in bindings]
            found.append(
                {
                    "device_id": device_id,
                    "registered": bool(contacts),
                    "reachable": _reachable(contacts),
                    "in_call": device_id in in_call,
                    "contacts": contacts,
                }
            )
        return found

    def _contact(self, binding: Binding, moment: float, unix: float) -> ContactStatus:
        return {
            "contact": mend(binding.contact),
            "source": str(binding.flow.remote),
            "transport": binding.flow.transport.value.lower(),
            "user_agent": mend(binding.user_agent),
            "vendor": self._vendors.match(binding.user_agent).name,
            "expires_in": max(0, round(binding.expires_at - moment)),
            "first_registered_at": int(binding.first_registered + unix) + GREGORIAN_EPOCH,
            "registered_at": int(binding.registered_at + unix) + GREGORIAN_EPOCH,
            "reachable": REACHABLE[binding.reach],
            "last_seen": int(max(binding.last_seen, binding.registered_at) + unix) + GREGORIAN_EPOCH,
            "latency_ms": None if binding.latency is None else round(binding.latency * 1000, 1),
            "path": [mend(value) for value in binding.path],
            "instance": mend(binding.instance),
        }


def _reachable(contacts: Sequence[ContactStatus]) -> bool | None:
    """Return whether any contact answers; None where there is none, or none did and one was not asked yet."""
    known = {contact["reachable"] for contact in contacts}
    if True in known:
        return True
    return None if None in known or not known else False
