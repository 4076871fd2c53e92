"""The whole store, opened and closed as one."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from api.ports import DocumentMissing, Draft, Kind, PortError
from daemon.store import queries
from daemon.store.bindings import StoredBindings
from daemon.store.cdrs import StoredCdrs
from daemon.store.database import Database
from daemon.store.deliveries import StoredDeliveries
from daemon.store.documents import StoredDocuments
from daemon.store.outbox import Outbox
from daemon.store.records import document_of
from daemon.store.sync_jobs import StoredJobs
from daemon.store.tokens import StoredTokens
from daemon.store.values import StoredValues

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from api.ports import Document, JsonObject
    from daemon.store.writer import Job, Writer

    Clock = Callable[[], float]

TOKEN_TTL = 3600
_NO_PARENT = ""


class MasterExists(PortError):
    """There is a master account already; the text is its id."""


@dataclass(frozen=True, slots=True)
class NewAccount:
    """What its owner needs of an account that was made."""

    account_id: str
    realm: str
    api_key: str


class Store:
    """The parts that share one database file."""

    def __init__(self, database: Database, token_ttl: int, clock: Clock, monotonic: Clock) -> None:
        self._database = database
        self.documents = StoredDocuments(database, clock)
        self.tokens = StoredTokens(database, clock, token_ttl)
        self.bindings = StoredBindings(database, clock, monotonic)
        self.deliveries = StoredDeliveries(database, clock)
        self.sync_jobs = StoredJobs(database)
        self.values = StoredValues(database)
        self.outbox = Outbox(database)
        self.cdrs = StoredCdrs(database, clock)
        self.documents.subscribe(self.tokens.forget)

    @classmethod
    async def open(
        cls, path: Path, *, token_ttl: int = TOKEN_TTL, clock: Clock = time.time, monotonic: Clock = time.monotonic
    ) -> Store:
        """Open the database file, made or migrated where it has to be.

        `clock` tells Unix time; `monotonic` is the clock of the location table.
        Raises StoreUnavailable or MigrationRefused.
        """
        return cls(await Database.open(path), token_ttl, clock, monotonic)

    @property
    def writer(self) -> Writer:
        """Whose figures tell how writing goes."""
        return self._database.writer

    async def close(self) -> None:
        """Write what waits, then close the file."""
        self.bindings.close()
        await self._database.close()

    async def create_master(self, name: str, realm: str) -> NewAccount:
        """Make the account that may do everything. Raises MasterExists."""
        private: JsonObject = {"pvt_tree": [], "pvt_superduper_admin": True}
        return await self._create_account(name, realm, private, _require_no_master)

    async def add_account(self, name: str, realm: str, parent: str | None = None) -> NewAccount:
        """Make an account below the parent, or below the master. Raises DocumentMissing or NotUnique."""
        if parent is None:
            masters = await self.documents.children(_NO_PARENT)
            above = masters[0] if masters else None
        else:
            above = await self.documents.get(Kind.ACCOUNT, parent, parent)
        if above is None:
            raise DocumentMissing(parent or "master account")
        tree = above.private.get("pvt_tree")
        private: JsonObject = {"pvt_tree": [*(tree if isinstance(tree, list) else []), above.id]}
        return await self._create_account(name, realm, private)

    async def list_accounts(self) -> Sequence[Document]:
        """Return all the accounts, by id ascending."""
        return await self.documents.accounts()

    async def _create_account(
        self, name: str, realm: str, private: JsonObject, check: Job[None] | None = None
    ) -> NewAccount:
        account_id = secrets.token_hex(16)
        draft = Draft(Kind.ACCOUNT, account_id, account_id, {"name": name, "realm": realm}, private)
        await self.documents.create(draft, check=check)
        return NewAccount(account_id, realm, await self.tokens.api_key(account_id))


def _require_no_master(connection: sqlite3.Connection) -> None:
    for row in connection.execute(queries.CHILDREN, {"parent_id": _NO_PARENT}).fetchall():
        raise MasterExists(document_of(row).id)
