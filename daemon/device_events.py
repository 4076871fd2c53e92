"""What happens to registrations, as events of their accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api.body import mend
from daemon.presence import Happening
from sip.aor import domain_of, user_of

if TYPE_CHECKING:
    from daemon.directory import Directory
    from daemon.events import EventSink
    from daemon.presence import Presence
    from sip.location import Binding
    from sip.vendors import VendorTable

NAMES: Final = {
    Happening.REGISTERED: "device.registered",
    Happening.UNREGISTERED: "device.unregistered",
    Happening.EXPIRED: "device.expired",
    Happening.REACHABLE: "device.reachable",
    Happening.UNREACHABLE: "device.unreachable",
}
"""A refresh is no event."""
ENDS: Final = (Happening.UNREGISTERED, Happening.EXPIRED)


class DeviceEvents:
    """Emits them. Subscribe it after the table is loaded: what was registered before the start is no news."""

    def __init__(self, events: EventSink, presence: Presence, directory: Directory, vendors: VendorTable) -> None:
        self._events = events
        self._presence = presence
        self._directory = directory
        self._vendors = vendors

    def happened(self, happening: Happening, binding: Binding) -> None:
        """Tell what happened to a binding (a listener of `Presence`)."""
        name = NAMES.get(happening)
        if name is None:
            return
        device = self._directory.device(binding.account_id, binding.device_id)
        if happening in ENDS and device is not None and device.quiet:
            return
        self._events.emit(binding.account_id, name, self._facts(binding))

    def _facts(self, binding: Binding) -> dict[str, object]:
        facts: dict[str, object] = {
            "device_id": binding.device_id,
            "username": mend(user_of(binding.aor)),
            "realm": mend(domain_of(binding.aor)),
            "contact": mend(binding.contact),
            "source": str(binding.flow.remote),
            "transport": binding.flow.transport.value.lower(),
            "user_agent": mend(binding.user_agent),
            "vendor": self._vendors.match(binding.user_agent).name,
            "registered": self._presence.table.is_registered(binding.account_id, binding.device_id),
        }
        if binding.latency is not None:
            facts["latency_ms"] = round(binding.latency * 1000, 1)
        return facts
