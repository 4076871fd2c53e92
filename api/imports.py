"""POST /import: many devices and users in one piece, all or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api.call import Answer
from api.errors import ValidationFailed
from api.import_rules import ImportOptions, ImportRow, import_documents
from api.ports import Kind
from api.routing import Route
from api.schemas import Schema

if TYPE_CHECKING:
    from api.call import Call
    from api.import_rules import ImportReport
    from api.ports import JsonObject

IMPORT: Final = Schema("import")
KINDS: Final = {"users": Kind.USER, "devices": Kind.DEVICE}


async def import_many(call: Call) -> Answer:
    """POST /import: 400 with every fault where a row has one, unless `dry_run` or `skip_faulty` is set."""
    body, faults = IMPORT.check(call.body())
    if faults:
        raise ValidationFailed(faults)
    options = ImportOptions(
        update=body["update"] is True, dry_run=body["dry_run"] is True, skip_faulty=body["skip_faulty"] is True
    )
    report = await import_documents(
        call.ports.documents, call.account, _rows(body), options, superduper=await call.is_superduper()
    )
    if not report.written and not options.dry_run:
        raise ValidationFailed(report.faults)
    return Answer(_shown(report))


def _rows(body: JsonObject) -> list[ImportRow]:
    rows: list[ImportRow] = []
    for key, kind in KINDS.items():
        sent = body.get(key)
        if isinstance(sent, list):
            rows += (ImportRow(f"{key}.{index}", kind, row) for index, row in enumerate(sent) if isinstance(row, dict))
    return rows


def _shown(report: ImportReport) -> JsonObject:
    return {
        "created": report.created,
        "updated": report.updated,
        "unchanged": report.unchanged,
        "faulty": report.faulty,
        "faults": {key: dict(rules) for key, rules in report.faults.items()},
        "written": report.written,
    }


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        "POST",
        "/accounts/{account_id}/import",
        import_many,
        "Create or change many devices and users in one piece",
        body="import",
        answer="import_report",
    ),
)
