"""Writing documents: new ones, replacements, merges and deletions (contract 5.5), for every kind alike.

A write is based on the revision it read. When somebody else was faster it reads again and is redone, unless the client
set If-Match: then the client decides. Nothing that was answered is lost either way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias
from urllib.parse import quote

from api.call import Answer, Call, public, shown
from api.errors import BadIdentifier, PreconditionFailed, ValidationFailed, faults_of
from api.ports import Document, Draft, JsonObject, Kind, RevisionMoved

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from api.errors import Faults
    from api.ports import Json, Violation

MAX_TRIES: Final = 20  # a writer outside this process would have to win each time
MAX_ID: Final = 128
TAKEN_IDS: Final = frozenset({"status", "count"})
"""Words that stand where ids do; a document of that name could not be reached."""
NOT_STORED: Final = frozenset({"id", "auth_token"})

Prepare: TypeAlias = Callable[[Call, JsonObject, "Document | None"], Awaitable[Draft]]
"""Turns what the client sent (merged, for a PATCH) into a draft, given what is stored. Raises ValidationFailed."""


class Author(Protocol):
    """Who writes documents, and into which account: a request, or an import."""

    @property
    def account(self) -> Document:
        """The account that the documents are in."""
        ...

    async def conflicts(self, draft: Draft) -> Sequence[Violation]:
        """Return the rules of uniqueness that writing the draft now would break."""
        ...

    async def is_superduper(self) -> bool:
        """Return whether the author may do everything."""
        ...


async def create(call: Call, prepare: Prepare, data: JsonObject) -> Document:
    """Store a new document."""
    draft = await prepare(call, data, None)
    call.check_creation()
    return await call.ports.documents.create(draft)


async def save(call: Call, stored: Document, prepare: Prepare, *, merge: bool) -> Document:
    """Write the body over the stored document, or merge it in."""
    sent = strip_private(call.body())
    async with call.locks.of(stored.id):
        for _ in range(MAX_TRIES):
            current = await _reread(call, stored)
            data = merged(current.data, sent) if merge else sent
            draft = await prepare(call, data, current)
            call.check_revision(current.revision)
            try:
                return await call.ports.documents.replace(draft, revision=current.revision)
            except RevisionMoved:
                _give_up_if_conditional(call)
    raise RevisionMoved(stored.id)


async def delete(call: Call, stored: Document) -> Document:
    """Delete the document; returns what it was."""
    async with call.locks.of(stored.id):
        for _ in range(MAX_TRIES):
            current = await _reread(call, stored)
            call.check_revision(current.revision)
            try:
                return await call.ports.documents.delete(
                    current.kind, current.account_id, current.id, revision=current.revision
                )
            except RevisionMoved:
                _give_up_if_conditional(call)
    raise RevisionMoved(stored.id)


def created(document: Document) -> Answer:
    """Answer with a document that was made, and where it is."""
    return shown(document, status=201, location=quote(document.id, safe=""))


def deleted(document: Document) -> Answer:
    """Answer with a document that is gone."""
    return Answer({**public(document), "_read_only": {"deleted": True}}, revision=document.revision)


def strip_private(data: JsonObject) -> JsonObject:
    """Return the data without what is no part of a document: private keys, the id, which the URL says, a token."""
    return {key: value for key, value in data.items() if not key.startswith(("_", "pvt_")) and key not in NOT_STORED}


def merged(stored: JsonObject, sent: JsonObject) -> JsonObject:
    """Merge a PATCH into a document: null removes, objects merge (an empty one changes nothing), all else replaces."""
    result = dict(stored)
    for key, value in sent.items():
        before = result.get(key)
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            if value or not isinstance(before, dict):
                result[key] = merged(before if isinstance(before, dict) else {}, value)
        else:
            result[key] = value
    return result


def chosen_id(data: JsonObject) -> str | None:
    """Return the id that the client wants for a new document. Raises ValidationFailed for an impossible one."""
    wanted = data.get("id")
    if wanted is None or wanted == "":
        return None
    if not isinstance(wanted, str):
        raise _bad_id("type", "Value did not match type(s): string", wanted)
    if len(wanted) > MAX_ID:
        raise _bad_id("maxLength", f"String must not be more than {MAX_ID} characters", wanted)
    if wanted in TAKEN_IDS or not wanted.isprintable():
        raise _bad_id("invalid", "This cannot be an id", wanted)
    return wanted


async def find_conflicts(author: Author, draft: Draft, faults: Faults) -> Faults:
    """Return the rules of uniqueness that the draft breaks, as far as its other faults let it be asked."""
    askable = Draft(draft.kind, draft.account_id, draft.id, _without(draft.data, _mistyped(faults)), draft.private)
    return faults_of(await author.conflicts(askable))


def combine(*parts: Faults) -> Faults:
    """Return all faults by key and rule; a later one of the same key and rule counts."""
    result: Faults = {}
    for part in parts:
        for key, rules in part.items():
            result[key] = {**result.get(key, {}), **rules}
    return result


def refuse_if(faults: Faults) -> None:
    """Raise ValidationFailed if there are any."""
    if faults:
        raise ValidationFailed(faults)


def at(data: Json, *path: str) -> Json:
    """Return the value at a path of keys, or None."""
    for key in path:
        if not isinstance(data, dict):
            return None
        data = data.get(key)
    return data


async def find(call: Call, kind: Kind, document_id: str) -> Document | None:
    """Return a document of the path's account."""
    return await call.ports.documents.get(kind, call.account.id, document_id)


async def _reread(call: Call, stored: Document) -> Document:
    current = await call.ports.documents.get(stored.kind, stored.account_id, stored.id)
    if current is None:
        raise BadIdentifier(stored.id)
    return current


def _give_up_if_conditional(call: Call) -> None:
    if "If-Match" in call.headers or "If-None-Match" in call.headers:
        raise PreconditionFailed


def _bad_id(rule: str, message: str, value: Json) -> ValidationFailed:
    return ValidationFailed({"id": {rule: {"message": message, "cause": value}}})


def _mistyped(faults: Faults) -> Iterable[Sequence[str]]:
    return [key.split(".") for key, rules in faults.items() if "type" in rules]


def _without(data: JsonObject, paths: Iterable[Sequence[str]]) -> JsonObject:
    result = data
    for path in paths:
        result = _drop(result, path)
    return result


def _drop(data: JsonObject, path: Sequence[str]) -> JsonObject:
    first, rest = path[0], path[1:]
    below = data.get(first)
    if rest and isinstance(below, dict):
        return {**data, first: _drop(below, rest)}
    return {key: value for key, value in data.items() if key != first}
