"""Accounts, users and devices in the database: `api.ports.Documents`.

Checks and writes of one call share a transaction that no other process can come between, so a rule that was checked
still holds when the document is written.
"""

from __future__ import annotations

import secrets
from functools import partial
from typing import TYPE_CHECKING

import orjson

from api.ports import (
    GREGORIAN_EPOCH,
    Document,
    DocumentExists,
    DocumentMissing,
    Draft,
    Kind,
    NotUnique,
    PageQuery,
    RevisionMoved,
    Violation,
)
from daemon.store import queries
from daemon.store.batch import StoredBatch
from daemon.store.change import Change, present
from daemon.store.document_rows import (
    DROP_TOKENS_OF_USER,
    INSERT,
    UNLINK,
    UPDATE,
    link_users,
    logins_of,
    next_revision,
    row_of,
)
from daemon.store.pages import FACTS, rows_of
from daemon.store.records import (
    NO_COLUMNS,
    columns_of,
    digest_of,
    document_of,
    normalise_name,
    users_of,
)
from daemon.store.uniqueness import conflict_query, find_conflicts, violations_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence

    from api.ports import Json, JsonObject
    from daemon.store.database import Database, Row
    from daemon.store.writer import Job

CHUNK = 256  # documents decoded at a time: a few milliseconds of the event loop

_ADD_KEY = "INSERT INTO api_keys (account_id, api_key, digest) VALUES (?, ?, ?)"
_DROP_KEY = "DELETE FROM api_keys WHERE account_id = ?"
_DROP_TOKENS_OF_ACCOUNT = "DELETE FROM tokens WHERE account_id = ?"


class StoredDocuments:
    """Implements `api.ports.Documents`; whoever subscribes is told of every change of this process."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self._subscribers: list[Callable[[Sequence[Change]], None]] = []
        self._commits = 0

    def subscribe(self, subscriber: Callable[[Sequence[Change]], None]) -> None:
        """Call this after each commit, in the order of the commits, before the writer of the change goes on.

        The changes of one write come together, that of the document itself first: the deletion of an account brings
        those of all it held.
        """
        self._subscribers.append(subscriber)

    async def get(self, kind: Kind, account_id: str, document_id: str) -> Document | None:
        """Return the document, or None where it does not exist or was deleted."""
        return await self._one(queries.GET, {"kind": kind.value, "account_id": account_id, "id": document_id})

    def edition(self) -> tuple[int, int]:
        """Return what a listing stands under: another value after every write, and in any case after a second."""
        return self._commits, int(self._clock())

    async def page(self, query: PageQuery) -> Sequence[Document]:
        """Return the documents of the query, by id ascending, without the deleted ones."""
        sql = queries.PAGE if query.owner_id is None else queries.PAGE_OF_USER
        parameters = {"kind": query.kind.value, "account_id": query.account_id, "owner_id": query.owner_id}
        found: list[Document] = []
        start_key, left = query.start_key, query.limit
        while left is None or left > 0:
            size = CHUNK if left is None else min(left, CHUNK)
            chunk = await self._many(sql, {**parameters, "start_key": start_key, "limit": size})
            found += chunk
            if len(chunk) < size:
                break
            start_key = chunk[-1].id + "\0"
            left = None if left is None else left - size
        return found

    async def scan(self, kinds: Sequence[Kind], take: Callable[[Document], None]) -> None:
        """Hand all the documents of these kinds, of all accounts, to `take`."""

        def each(rows: Sequence[Row]) -> None:
            for row in rows:
                take(document_of(row))

        await self._database.scan(
            queries.OF_KINDS, each, {"kinds": orjson.dumps([kind.value for kind in kinds]).decode()}
        )

    async def facts(self, kind: Kind, paths: Sequence[str], take: Callable[[str, str, list[Json]], None]) -> None:
        """Hand of each document of a kind its account's id, its id, and what is at these paths to `take`.

        SQLite takes the values out of the JSON, so that the rest of 100,000 documents is never made into objects.
        """
        sql = FACTS.format(paths=", ".join(f":path{number}" for number in range(len(paths))))
        parameters = {f"path{number}": f"$.{path}" for number, path in enumerate(paths)}

        def each(page: bytes) -> None:
            for account_id, document_id, values in rows_of(page):
                take(account_id, document_id, values)

        await self._database.pages(sql, each, {**parameters, "kind": kind.value})

    async def accounts(self) -> Sequence[Document]:
        """Return all the accounts, by id ascending."""
        return await self.descendants("")

    async def children(self, account_id: str) -> Sequence[Document]:
        """Return the accounts right below this one, by id ascending."""
        return await self._many(queries.CHILDREN, {"parent_id": account_id})

    async def descendants(self, account_id: str) -> Sequence[Document]:
        """Return the accounts below this one at any depth, by id ascending."""
        return await self._many(queries.DESCENDANTS, {"parent_id": account_id})

    async def account_by_realm(self, realm: str) -> Document | None:
        """Return the account of a SIP realm, compared without case."""
        return await self._one(queries.BY_REALM, {"realm": realm.lower()})

    async def accounts_by_name(self, name: str) -> Sequence[Document]:
        """Return the accounts with this name, both lower-cased and stripped of all but a-z0-9."""
        return await self._many(queries.BY_NAME, {"name_key": normalise_name(name)})

    async def conflicts(self, draft: Draft) -> Sequence[Violation]:
        """Return the rules of uniqueness that writing the draft now would break (contract 4.3, 4.5, 4.6)."""
        return await find_conflicts(self._database.read, draft, columns_of(draft.kind, draft.data, draft.private))

    async def create(self, draft: Draft, *, check: Job[None] | None = None) -> Document:
        """Store a new document. Raises DocumentExists, DocumentMissing (its account) or NotUnique.

        `check` runs first, in the same transaction; what it raises refuses the document.
        """
        changes = await self._database.write(partial(self._create, draft, check), self._committed)
        return present(changes[0].new)

    async def replace(self, draft: Draft, *, revision: str) -> Document:
        """Write over the document if it still has `revision`. Raises DocumentMissing, RevisionMoved or NotUnique.

        `private` of the draft is merged over the stored private keys; None removes one.
        """
        changes = await self._database.write(partial(self._replace, draft, revision), self._committed)
        return present(changes[0].new)

    async def delete(self, kind: Kind, account_id: str, document_id: str, *, revision: str) -> Document:
        """Soft-delete the document and return what it was. Raises DocumentMissing or RevisionMoved.

        With an account goes all that it holds, but not the accounts below it.
        """
        job = partial(self._delete, kind, account_id, document_id, revision)
        changes = await self._database.write(job, self._committed)
        return present(changes[0].old)

    def batch(self, account: Document) -> StoredBatch:
        """Begin to gather documents of an account that are to be written together."""
        return StoredBatch(self._database, account, self._now, self._committed)

    def _create(self, draft: Draft, check: Job[None] | None, connection: sqlite3.Connection) -> Sequence[Change]:
        if check is not None:
            check(connection)
        _require_free_id(connection, draft)
        columns = columns_of(draft.kind, draft.data, draft.private)
        _require_unique(connection, draft, columns)
        now = self._now()
        document = Document(
            draft.kind, draft.account_id, draft.id, next_revision("0"), now, now, draft.data, draft.private
        )
        connection.execute(INSERT, {**row_of(document), **columns})
        if draft.kind is Kind.DEVICE:
            link_users(connection, document)
        if draft.kind is Kind.ACCOUNT:
            api_key = secrets.token_hex(32)
            connection.execute(_ADD_KEY, (draft.id, api_key, digest_of(api_key)))
        return [Change(None, document)]

    def _replace(self, draft: Draft, revision: str, connection: sqlite3.Connection) -> Sequence[Change]:
        old = _current(connection, draft.kind, draft.account_id, draft.id, revision)
        private: JsonObject = {**old.private, **draft.private}
        private = {key: value for key, value in private.items() if value is not None}
        columns = columns_of(draft.kind, draft.data, private)
        _require_unique(connection, draft, columns)
        new = Document(
            old.kind, old.account_id, old.id, next_revision(revision), old.created, self._now(), draft.data, private
        )
        connection.execute(UPDATE, {**row_of(new), **columns, "deleted": 0})
        if draft.kind is Kind.DEVICE and users_of(old.data) != users_of(new.data):
            connection.execute(UNLINK, (new.account_id, new.id))
            link_users(connection, new)
        if draft.kind is Kind.USER and logins_of(old) != logins_of(new):
            connection.execute(DROP_TOKENS_OF_USER, (new.account_id, new.id))
        return [Change(old, new)]

    def _delete(
        self, kind: Kind, account_id: str, document_id: str, revision: str, connection: sqlite3.Connection
    ) -> Sequence[Change]:
        old = _current(connection, kind, account_id, document_id, revision)
        gone = [old]
        if kind is Kind.ACCOUNT:
            rows = connection.execute(queries.OF_ACCOUNT, {"account_id": account_id}).fetchall()
            gone += [held for held in map(document_of, rows) if held.id != account_id]
            connection.execute(_DROP_KEY, (account_id,))
            connection.execute(_DROP_TOKENS_OF_ACCOUNT, (account_id,))
        if kind is Kind.USER:
            connection.execute(DROP_TOKENS_OF_USER, (account_id, document_id))
        connection.executemany(UNLINK, [(account_id, each.id) for each in gone if each.kind is Kind.DEVICE])
        connection.executemany(UPDATE, [self._tombstone(each) for each in gone])
        return [Change(each, None) for each in gone]

    def _tombstone(self, document: Document) -> Mapping[str, object]:
        dying = {"revision": next_revision(document.revision), "modified": self._now(), "deleted": 1}
        return {**row_of(document), **NO_COLUMNS, **dying}

    def _committed(self, changes: Sequence[Change]) -> None:
        self._commits += 1
        for subscriber in self._subscribers:
            subscriber(changes)

    def _now(self) -> int:
        return int(self._clock()) + GREGORIAN_EPOCH

    async def _one(self, sql: str, parameters: Mapping[str, object]) -> Document | None:
        rows = await self._database.read(sql, parameters)
        return document_of(rows[0]) if rows else None

    async def _many(self, sql: str, parameters: Mapping[str, object]) -> list[Document]:
        return [document_of(row) for row in await self._database.read(sql, parameters)]


def _require_free_id(connection: sqlite3.Connection, draft: Draft) -> None:
    rows = connection.execute(queries.TAKEN, {"account_id": draft.account_id, "id": draft.id}).fetchall()
    taken = {document_id: bool(deleted) for document_id, deleted in rows}
    if draft.id in taken:
        raise DocumentExists(draft.id)
    if draft.kind is not Kind.ACCOUNT and taken.get(draft.account_id, True):
        raise DocumentMissing(draft.account_id)


def _require_unique(connection: sqlite3.Connection, draft: Draft, columns: dict[str, str | bytes | None]) -> None:
    violations = violations_of(connection.execute(*conflict_query(draft, columns)).fetchall(), draft, columns)
    if violations:
        raise NotUnique(violations)


def _current(connection: sqlite3.Connection, kind: Kind, account_id: str, document_id: str, revision: str) -> Document:
    parameters = {"kind": kind.value, "account_id": account_id, "id": document_id}
    for row in connection.execute(queries.GET, parameters).fetchall():
        document = document_of(row)
        if document.revision != revision:
            raise RevisionMoved(document_id)
        return document
    raise DocumentMissing(document_id)
