"""What Roost keeps: documents, tokens, bindings and deliveries, in one SQLite file."""

from __future__ import annotations

from daemon.store.bindings import StoredBindings
from daemon.store.change import Change
from daemon.store.deliveries import DeliveryRecord, StoredDeliveries
from daemon.store.documents import StoredDocuments
from daemon.store.migrations import MigrationRefused
from daemon.store.occupancy import InUse, Occupancy
from daemon.store.store import MasterExists, NewAccount, Store
from daemon.store.sync_jobs import JobRecord, StoredJobs
from daemon.store.tokens import StoredTokens
from daemon.store.values import StoredValues

__all__ = [
    "Change",
    "DeliveryRecord",
    "InUse",
    "JobRecord",
    "MasterExists",
    "MigrationRefused",
    "NewAccount",
    "Occupancy",
    "Store",
    "StoredBindings",
    "StoredDeliveries",
    "StoredDocuments",
    "StoredJobs",
    "StoredTokens",
    "StoredValues",
]
