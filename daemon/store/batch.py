"""Many documents of one account, gathered and checked one by one and written in one transaction.

What was checked is checked again by a few statements in that transaction, so that it lasts for moments however many
documents there are: other writers wait for it.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import orjson

from api.ports import BatchOvertaken, Document, DocumentExists, Draft, Kind, Violation
from daemon.store import queries
from daemon.store.change import Change
from daemon.store.document_rows import (
    DROP_TOKENS_OF_USER,
    INSERT,
    LINK,
    UNLINK,
    UPDATE,
    logins_of,
    next_revision,
    row_of,
)
from daemon.store.records import columns_of, document_of, text_at, users_of
from daemon.store.uniqueness import Claims, find_conflicts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from api.ports import JsonObject
    from daemon.store.database import Database
    from daemon.store.records import Columns

_BY_NAME = {Kind.DEVICE: queries.BY_SIP_USERNAME, Kind.USER: queries.BY_LOGIN}


class StoredBatch:
    """Implements `api.ports.Batch`."""

    def __init__(
        self,
        database: Database,
        account: Document,
        now: Callable[[], int],
        committed: Callable[[Sequence[Change]], None],
    ) -> None:
        self._database = database
        self._account = account
        self._now = now
        self._committed = committed
        self._claims = Claims()
        self._drafts: dict[str, tuple[Draft, Document | None]] = {}
        self._columns: dict[str, Columns] = {}
        self._users: dict[str, str] = {}

    async def find(self, kind: Kind, *, document_id: str = "", username: str = "") -> Document | None:
        """Return the document of that id, or else that SIP username of a device or login of a user."""
        if document_id:
            parameters = {"kind": kind.value, "account_id": self._account.id, "id": document_id}
            rows = await self._database.read(queries.GET, parameters)
        elif username:
            parameters = {"account_id": self._account.id, "name": username.lower()}
            rows = await self._database.read(_BY_NAME[kind], parameters)
        else:
            return None
        return document_of(rows[0]) if len(rows) == 1 else None

    async def conflicts(self, draft: Draft) -> Sequence[Violation]:
        """Return the rules of uniqueness that the draft would break, in the store or with what was put before."""
        columns = columns_of(draft.kind, draft.data, draft.private)
        return [
            *await find_conflicts(self._database.read, draft, columns),
            *self._claims.broken_by(draft, columns),
        ]

    async def put(self, draft: Draft, stored: Document | None) -> None:
        """Add a document, new or in the stored one's place. Raises DocumentExists where a new one's id is taken."""
        if draft.id in self._drafts or (stored is None and await self._is_taken(draft)):
            raise DocumentExists(draft.id)
        self._drafts[draft.id] = draft, stored
        private = {**(stored.private if stored is not None else {}), **draft.private}
        columns = self._columns[draft.id] = columns_of(draft.kind, draft.data, private)
        self._claims.take(columns)
        if draft.kind is Kind.USER and (login := text_at(draft.data, "username")):
            self._users[login.lower()] = draft.id

    def user_id(self, username: str) -> str | None:
        """Return the id of a user who was put, by login."""
        return self._users.get(username.lower())

    async def commit(self) -> None:
        """Write them all. Raises BatchOvertaken."""
        if self._drafts:
            await self._database.write(self._write, self._committed)

    async def _is_taken(self, draft: Draft) -> bool:
        rows = await self._database.read(queries.REVISIONS, self._ids([draft.id]))
        return any(not deleted or kind != draft.kind.value for _, kind, _, _, deleted in rows)

    def _write(self, connection: sqlite3.Connection) -> Sequence[Change]:
        rows = connection.execute(queries.REVISIONS, self._ids([self._account.id, *self._drafts])).fetchall()
        there = {row[0]: row[1:] for row in rows}
        if self._account.id not in there or there[self._account.id][-1]:
            raise BatchOvertaken(self._account.id)
        changes = [self._change(draft, stored, there.get(draft.id)) for draft, stored in self._drafts.values()]
        try:
            self._save(connection, changes, there)
        except sqlite3.IntegrityError as error:
            raise BatchOvertaken(str(error)) from None
        parameters = {**self._ids(self._drafts), "realm": text_at(self._account.data, "realm")}
        if connection.execute(queries.BATCH_CONFLICTS, parameters).fetchall():
            raise BatchOvertaken("SIP credentials")
        return changes

    def _change(self, draft: Draft, stored: Document | None, there: tuple[str, str, int, int] | None) -> Change:
        """Return what becomes of a document. Raises BatchOvertaken where it is not as it was when it was put."""
        now = self._now()
        kind, revision, created, deleted = there or (draft.kind.value, "0", now, 1)
        expected = deleted if stored is None else not deleted and revision == stored.revision
        if not expected or kind != draft.kind.value:
            raise BatchOvertaken(draft.id)
        private: JsonObject = {**(stored.private if stored else {}), **draft.private}
        private = {key: value for key, value in private.items() if value is not None}
        after = next_revision(revision)
        return Change(
            stored, Document(draft.kind, draft.account_id, draft.id, after, created, now, draft.data, private)
        )

    def _save(self, connection: sqlite3.Connection, changes: Sequence[Change], there: Mapping[str, object]) -> None:
        new = [change.subject for change in changes]
        values = [{**row_of(each), **self._columns[each.id], "deleted": 0} for each in new]
        connection.executemany(INSERT, [each for each in values if each["id"] not in there])
        connection.executemany(UPDATE, [each for each in values if each["id"] in there])
        devices = [each for each in new if each.kind is Kind.DEVICE]
        links = [(each.account_id, user, each.id) for each in devices for user in sorted(users_of(each.data))]
        connection.executemany(UNLINK, [(each.account_id, each.id) for each in devices])
        connection.executemany(LINK, links)
        relogged = [
            (change.subject.account_id, change.subject.id)
            for change in changes
            if change.subject.kind is Kind.USER
            and change.old is not None
            and logins_of(change.old) != logins_of(change.subject)
        ]
        connection.executemany(DROP_TOKENS_OF_USER, relogged)

    def _ids(self, ids: Sequence[str] | Mapping[str, object]) -> dict[str, object]:
        return {"account_id": self._account.id, "ids": orjson.dumps(list(ids)).decode()}
