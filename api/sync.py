"""Check-sync of a device: ask its phone to fetch its configuration, and tell what became of that (contract 5.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from api.body import mend
from api.call import Answer
from api.errors import ValidationFailed
from api.routing import Route, under_each
from api.schemas import Schema
from sip.vendor import Mode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from api.call import Call
    from api.ports import DeliveryReport, Json, JsonObject

SYNC: Final = Schema("sync")
SENT: Final = "sync request sent"


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """How a phone is to be told."""

    mode: Mode | None
    contact: str | None
    wait: float
    """Seconds."""


async def sync_device(call: Call) -> Answer:
    """POST /devices/{D}/sync: always sends, and always says so; with `wait` it says what became of it too."""
    options = read_options(call)
    reports = await call.ports.control.check_sync(
        call.device, mode=options.mode, contact=options.contact, wait=options.wait
    )
    return Answer(SENT, extra=deliveries(options, reports))


async def read_outcomes(call: Call) -> Answer:
    """GET /devices/{D}/sync: what became of the last NOTIFYs, the latest first."""
    return Answer(_rows(await call.ports.control.outcomes(call.account.id, call.device.id)))


def read_options(call: Call) -> SyncOptions:
    """Read the parameters of a sync or notify. Raises ValidationFailed."""
    values = read_parameters(call, SYNC, ("contact", "mode", "wait"))
    mode, contact, wait = values.get("mode"), values.get("contact"), values.get("wait")
    return SyncOptions(
        Mode(mode) if isinstance(mode, str) else None,
        contact if isinstance(contact, str) else None,
        wait if isinstance(wait, int | float) else 0.0,
    )


def read_parameters(call: Call, schema: Schema, names: Iterable[str]) -> JsonObject:
    """Return the parameters of these names that were sent, as the schema wants them. Raises ValidationFailed."""
    given: JsonObject = {name: value for name in names if (value := call.value(name)) is not None}
    values, faults = schema.check(given)
    if faults:
        raise ValidationFailed(faults)
    return values


def deliveries(options: SyncOptions, reports: Sequence[DeliveryReport]) -> JsonObject:
    """Return what the envelope says of NOTIFYs that were waited for."""
    return {"deliveries": _rows(reports)} if options.wait else {}


def _rows(reports: Iterable[DeliveryReport]) -> list[Json]:
    return [_row(report) for report in reports]


def _row(report: DeliveryReport) -> JsonObject:
    return {
        "contact": None if report.contact is None else mend(report.contact),
        "user_agent": mend(report.user_agent),
        "vendor": report.vendor,
        "event": report.event,
        "state": report.state.value,
        "final": report.final,
        "sip_status": report.sip_status,
        "sip_reason": mend(report.sip_reason),
        "latency_ms": report.latency_ms,
        "sent_at": report.sent_at,
    }


_BOTH: Final = ("/accounts/{account_id}", "/accounts/{account_id}/users/{user_id}")
_PATH: Final = "/devices/{device_id}/sync"

ROUTES: Final[tuple[Route, ...]] = (
    *under_each(
        _BOTH,
        Route(
            "POST",
            _PATH,
            sync_device,
            "Send a check-sync NOTIFY",
            body="sync",
            answer="text",
            query=("contact", "mode", "wait"),
        ),
    ),
    *under_each(
        _BOTH,
        Route("GET", _PATH, read_outcomes, "Read what became of the last NOTIFYs", answer="delivery_rows"),
    ),
)
