"""What the API asks of the daemon: Protocols, and the values and refusals that cross them.

The API knows nothing else of the daemon. Every method may raise `StoreUnavailable`; the API answers it with 503.
Times of documents are Gregorian seconds, as Kazoo keeps them (Unix time + 62167219200).
"""

from __future__ import annotations

from dataclasses import dataclass

from api.ports.calls import (
    CannotTransfer,
    Cdr,
    CdrQuery,
    Cdrs,
    Channels,
    Leg,
    MediaUnavailable,
    NoEndpoint,
    QuickcallFailed,
    QuickcallOptions,
    Quickcalls,
    TooManyCalls,
)
from api.ports.control import Control, DeliveryReport, SyncJob, SyncJobs, TooManyJobs
from api.ports.documents import (
    GREGORIAN_EPOCH,
    Batch,
    BatchOvertaken,
    Document,
    DocumentExists,
    DocumentMissing,
    Documents,
    Draft,
    Json,
    JsonObject,
    Kind,
    NotUnique,
    PageQuery,
    RevisionMoved,
    Violation,
)
from api.ports.errors import PortError, StoreUnavailable
from api.ports.events import Event, Events, Listening, TooManyListeners, WebhookAttempt, Webhooks
from api.ports.presence import ContactStatus, DeviceStatus, Presence, Registration, Statuses
from api.ports.tokens import TokenIdentity, Tokens
from api.ports.traces import TooManyTraces, Trace, Traces

__all__ = [
    "GREGORIAN_EPOCH",
    "Batch",
    "BatchOvertaken",
    "CannotTransfer",
    "Cdr",
    "CdrQuery",
    "Cdrs",
    "Channels",
    "ContactStatus",
    "Control",
    "DeliveryReport",
    "DeviceStatus",
    "Document",
    "DocumentExists",
    "DocumentMissing",
    "Documents",
    "Draft",
    "Event",
    "Events",
    "Json",
    "JsonObject",
    "Kind",
    "Leg",
    "Listening",
    "MediaUnavailable",
    "NoEndpoint",
    "NotUnique",
    "PageQuery",
    "PortError",
    "Ports",
    "Presence",
    "QuickcallFailed",
    "QuickcallOptions",
    "Quickcalls",
    "Registration",
    "RevisionMoved",
    "Statuses",
    "StoreUnavailable",
    "SyncJob",
    "SyncJobs",
    "TokenIdentity",
    "Tokens",
    "TooManyCalls",
    "TooManyJobs",
    "TooManyListeners",
    "TooManyTraces",
    "Trace",
    "Traces",
    "Violation",
    "WebhookAttempt",
    "Webhooks",
]


@dataclass(frozen=True, slots=True)
class Ports:
    """All that the API needs of the daemon."""

    documents: Documents
    tokens: Tokens
    presence: Presence
    control: Control
    quickcalls: Quickcalls
    sync_jobs: SyncJobs
    statuses: Statuses
    events: Events
    webhooks: Webhooks
    channels: Channels
    cdrs: Cdrs
    traces: Traces
