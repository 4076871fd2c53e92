"""What Roost keeps: documents, tokens and bindings, in one SQLite file."""

from __future__ import annotations

from daemon.store.bindings import StoredBindings
from daemon.store.documents import Change, StoredDocuments
from daemon.store.migrations import MigrationRefused
from daemon.store.store import MasterExists, NewAccount, Store
from daemon.store.tokens import StoredTokens
from daemon.store.values import StoredValues

__all__ = [
    "Change",
    "MasterExists",
    "MigrationRefused",
    "NewAccount",
    "Store",
    "StoredBindings",
    "StoredDocuments",
    "StoredTokens",
    "StoredValues",
]
