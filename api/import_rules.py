"""Taking in many devices and users at once: each is held to the rules of a single one, and all are written or none.

An import changes nothing that it does not name: a device that is there is merged with what is sent, as by PATCH.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from api.device_rules import prepare_device
from api.documents import at, chosen_id, merged, strip_private
from api.errors import ValidationFailed
from api.ports import BatchOvertaken, Document, DocumentExists, Draft, JsonObject, Kind
from api.users import prepare_user

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.errors import Faults
    from api.ports import Batch, Documents, Violation

MAX_TRIES: Final = 3  # other writers would have to come between each time
OWNER: Final = "owner"
"""The key of a row that names the device's owner by username; a document has the id, in `owner_id`."""

Prepare: TypeAlias = Callable[["ImportAuthor", JsonObject, "Document | None", str], Awaitable[Draft]]

_PREPARE: Final[dict[Kind, Prepare]] = {Kind.DEVICE: prepare_device, Kind.USER: prepare_user}
_NAME: Final = {Kind.DEVICE: ("sip", "username"), Kind.USER: ("username",)}
"""What a document that is there is known by."""


@dataclass(frozen=True, slots=True)
class ImportRow:
    """One document as it came."""

    place: str
    """Where it stood; the keys of its faults begin with this."""
    kind: Kind
    data: JsonObject


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What is to be done with the rows."""

    update: bool = False
    """Change what is there already; otherwise that is a fault."""
    dry_run: bool = False
    """Write nothing."""
    skip_faulty: bool = False
    """Write the others where some are faulty."""


@dataclass(slots=True)
class ImportReport:
    """What became of the rows, or would become of them."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    faults: Faults = field(default_factory=dict)
    faulty: int = 0
    """Rows with faults."""
    written: bool = False


@dataclass(frozen=True, slots=True)
class ImportAuthor:
    """Implements `api.documents.Author`: who is held to the uniqueness of the batch too."""

    account: Document
    batch: Batch
    superduper: bool

    async def conflicts(self, draft: Draft) -> Sequence[Violation]:
        """Return the rules of uniqueness that writing the draft now would break."""
        return await self.batch.conflicts(draft)

    async def is_superduper(self) -> bool:
        """Return whether the author may do everything."""
        return self.superduper


async def import_documents(
    documents: Documents, account: Document, rows: Sequence[ImportRow], options: ImportOptions, *, superduper: bool
) -> ImportReport:
    """Check the rows, users before devices, and write them unless some are faulty. Raises BatchOvertaken."""
    ordered = sorted(rows, key=lambda row: row.kind is not Kind.USER)
    for left in reversed(range(MAX_TRIES)):
        author = ImportAuthor(account, documents.batch(account), superduper)
        report = ImportReport()
        for row in ordered:
            await _take(author, row, options, report)
        if options.dry_run or (report.faults and not options.skip_faulty):
            return report
        try:
            await author.batch.commit()
        except BatchOvertaken:
            if not left:
                raise
        else:
            report.written = True
            return report
    raise AssertionError("the last try returns or raises")


async def _take(author: ImportAuthor, row: ImportRow, options: ImportOptions, report: ImportReport) -> None:
    try:
        data, wanted = await _resolved(author, row)
        stored = await _stored(author, row.kind, data, wanted) if options.update else None
        draft = await _draft(author, row.kind, data, stored, wanted)
        if stored is not None and stored.data == draft.data and draft.private.items() <= stored.private.items():
            report.unchanged += 1
            return
        await author.batch.put(draft, stored)
    except ValidationFailed as refused:
        report.faults.update({f"{row.place}.{key}": rules for key, rules in refused.faults.items()})
        report.faulty += 1
    except DocumentExists as taken:
        fault: JsonObject = {"message": "There is a document with this id already", "cause": str(taken)}
        report.faults[f"{row.place}.id"] = {"unique": fault}
        report.faulty += 1
    else:
        report.created += stored is None
        report.updated += stored is not None


async def _draft(
    author: ImportAuthor, kind: Kind, data: JsonObject, stored: Document | None, wanted: str | None
) -> Draft:
    if stored is not None:
        return await _PREPARE[kind](author, merged(stored.data, data), stored, stored.id)
    if kind is Kind.DEVICE and "name" not in data and (username := at(data, "sip", "username")):
        data = {**data, "name": username}
    return await _PREPARE[kind](author, data, None, wanted or os.urandom(16).hex())


async def _resolved(author: ImportAuthor, row: ImportRow) -> tuple[JsonObject, str | None]:
    """Return what is to be stored, and the id that it is to have. Raises ValidationFailed."""
    wanted = chosen_id(row.data)
    data = strip_private(row.data)
    owner = data.pop(OWNER, None) if row.kind is Kind.DEVICE else None
    if isinstance(owner, str) and owner:
        owner_id = author.batch.user_id(owner)
        if owner_id is None:
            user = await author.batch.find(Kind.USER, username=owner)
            owner_id = user.id if user is not None else None
        if owner_id is None:
            raise ValidationFailed({OWNER: {"invalid": {"message": "No user has this username", "cause": owner}}})
        data["owner_id"] = owner_id
    return data, wanted


async def _stored(author: ImportAuthor, kind: Kind, data: JsonObject, wanted: str | None) -> Document | None:
    found = await author.batch.find(kind, document_id=wanted) if wanted else None
    if found is not None:
        return found
    name = at(data, *_NAME[kind])
    return await author.batch.find(kind, username=name) if isinstance(name, str) and name else None
