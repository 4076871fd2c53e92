"""Documents as the API writes them, with what each committed change brings about.

First the listeners hear of it, in the order of the commits, so that the SIP side knows the new credentials; then the
registrations that the change ends are flushed (contract 5.7). Neither depends on the client still being there.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Protocol

import structlog

from api.ports import Kind, PortError
from api.shared import SharedReads
from daemon.recent import RecentDocuments
from daemon.store.records import text_at

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from api.ports import Document, Draft, PageQuery, Violation
    from daemon.recent import Key
    from daemon.store import Change, StoredDocuments
    from daemon.store.batch import StoredBatch

FLUSH_WAIT = 2.0  # seconds that the answer to a client waits for its flush
CLOSE_WAIT = 5.0  # seconds that the flushes under way have when the daemon stops

_log = structlog.stdlib.get_logger(__name__)


class DocumentListener(Protocol):
    """Whoever keeps something in memory that follows the documents."""

    def changed(self, old: Document | None, new: Document | None) -> None:
        """Take a committed change in: `old` is None for what was not known before, `new` for what was deleted."""
        ...


class Flusher(Protocol):
    """Whoever can end registrations."""

    async def flush_device(self, was: Document) -> None:
        """Send check-sync to the contacts of the device and remove its bindings.

        `was` is the device before the change, as its phone still knows it; it may be gone by the time of the call.
        """
        ...


def ends_registrations(old: Document | None, new: Document | None) -> bool:
    """Return whether a change ends the registrations of its device (contract 5.7)."""
    if old is None or old.kind is not Kind.DEVICE:
        return False
    if new is None:
        return True
    if any(text_at(old.data, "sip", key) != text_at(new.data, "sip", key) for key in _IDENTITY):
        return True
    return any(old.data.get(key, default) != new.data.get(key, default) for key, default in _PERMISSION)


_IDENTITY = ("password", "username", "realm")
_PERMISSION = (("owner_id", None), ("enabled", True))


class Provisioning:
    """Implements `api.ports.Documents` for the API."""

    def __init__(
        self,
        documents: StoredDocuments,
        *,
        listeners: Sequence[DocumentListener],
        flusher: Flusher,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._documents = documents
        self._listeners = tuple(listeners)
        self._flusher = flusher
        self._recent = RecentDocuments(clock)
        self._reads: SharedReads[Document | None] = SharedReads()
        self._flushes: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._accounts: dict[str, int] = {}
        documents.subscribe(self._committed)

    async def load(self) -> None:
        """Tell the listeners of all that is stored: the accounts first, then what they hold.

        Not of devices: whoever has to do with them all reads what it needs, see `StoredDocuments.facts`.
        """
        for account in await self._documents.accounts():
            self._meet(account)
        await self._documents.scan((Kind.USER, Kind.WEBHOOK), partial(self._announce, None))

    async def close(self) -> None:
        """Let the flushes under way end."""
        tasks = set(self._flushes.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=CLOSE_WAIT)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def get(self, kind: Kind, account_id: str, document_id: str) -> Document | None:
        """Return the document, or None where it does not exist or was deleted."""
        key = (kind, account_id, document_id)
        recent = self._recent.find(key)
        if recent is not None:
            return recent
        moment = self._recent.moment  # what was begun before a write does not serve who asks after it
        return await self._reads.read((key, moment), partial(self._read, key, moment))

    def edition(self) -> Hashable:
        """Return what a listing stands under: another value after every write, and in any case after a second."""
        return self._documents.edition()

    async def page(self, query: PageQuery) -> Sequence[Document]:
        """Return the documents of the query, by id ascending, without the deleted ones."""
        return await self._documents.page(query)

    async def children(self, account_id: str) -> Sequence[Document]:
        """Return the accounts right below this one, by id ascending."""
        return await self._documents.children(account_id)

    async def descendants(self, account_id: str) -> Sequence[Document]:
        """Return the accounts below this one at any depth, by id ascending."""
        return await self._documents.descendants(account_id)

    async def account_by_realm(self, realm: str) -> Document | None:
        """Return the account of a SIP realm, compared without case."""
        return await self._documents.account_by_realm(realm)

    async def accounts_by_name(self, name: str) -> Sequence[Document]:
        """Return the accounts with this name, both lower-cased and stripped of all but a-z0-9."""
        return await self._documents.accounts_by_name(name)

    async def conflicts(self, draft: Draft) -> Sequence[Violation]:
        """Return the rules of uniqueness that writing the draft now would break (contract 4.3, 4.5, 4.6)."""
        return await self._documents.conflicts(draft)

    async def create(self, draft: Draft) -> Document:
        """Store a new document. Raises DocumentExists, DocumentMissing (its account) or NotUnique."""
        return await self._documents.create(draft)

    async def replace(self, draft: Draft, *, revision: str) -> Document:
        """Write over the document if it still has `revision`, and end the registrations that this makes invalid.

        Raises DocumentMissing, RevisionMoved or NotUnique.
        """
        document = await self._documents.replace(draft, revision=revision)
        await self._flushed(document)
        return document

    async def delete(self, kind: Kind, account_id: str, document_id: str, *, revision: str) -> Document:
        """Soft-delete the document, end its registrations, and return what it was.

        Raises DocumentMissing or RevisionMoved.
        """
        document = await self._documents.delete(kind, account_id, document_id, revision=revision)
        await self._flushed(document)
        return document

    def batch(self, account: Document) -> StoredBatch:
        """Begin to gather documents of an account; the registrations that they end are flushed after the commit."""
        return self._documents.batch(account)

    async def _read(self, key: Key, moment: int) -> Document | None:
        document = await self._documents.get(*key)
        if document is not None:
            self._recent.remember(key, document, moment)
            if document.kind is Kind.ACCOUNT:
                self._meet(document)
        return document

    def _committed(self, changes: Sequence[Change]) -> None:
        ended: list[Document] = []
        for change in changes:
            self._recent.committed(change.subject)
            self._note_account(change)
            self._announce(change.old, change.new)
            if change.old is not None and ends_registrations(change.old, change.new):
                ended.append(change.old)
        if ended:
            written = changes[0].subject
            self._start_flush((written.account_id, written.id), ended)

    def _announce(self, old: Document | None, new: Document | None) -> None:
        for listener in self._listeners:
            listener.changed(old, new)

    def _meet(self, account: Document) -> None:
        # The command line writes accounts while we run; they are first seen here, before anything in them is written.
        if _serial(account) > self._accounts.get(account.id, 0):
            self._accounts[account.id] = _serial(account)
            self._announce(None, account)

    def _note_account(self, change: Change) -> None:
        if change.subject.kind is Kind.ACCOUNT:
            gone = change.new is None  # then a reader that was slower must not revive it
            self._accounts[change.subject.id] = _serial(change.subject) + gone

    def _start_flush(self, key: tuple[str, str], ended: Sequence[Document]) -> None:
        before = self._flushes.get(key)
        task = asyncio.create_task(self._flush(ended, before), name=f"flush {key[1]}")
        self._flushes[key] = task
        task.add_done_callback(lambda done: self._ended(key, done))

    async def _flush(self, ended: Sequence[Document], before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait({before})
        for was in ended:
            try:
                await self._flusher.flush_device(was)
            except PortError as error:
                _log.warning(
                    "registration.flush_failed", account_id=was.account_id, device_id=was.id, reason=str(error)
                )

    def _ended(self, key: tuple[str, str], task: asyncio.Task[None]) -> None:
        if self._flushes.get(key) is task:
            del self._flushes[key]
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("registration.flush_crashed", exc_info=error)

    async def _flushed(self, document: Document) -> None:
        task = self._flushes.get((document.account_id, document.id))
        if task is not None:
            await asyncio.wait({task}, timeout=FLUSH_WAIT)


def _serial(document: Document) -> int:
    """Return the number that a revision begins with: it grows with every write."""
    return int(document.revision.partition("-")[0])
