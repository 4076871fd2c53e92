"""What the API asks of the daemon: Protocols, and the values and refusals that cross them.

The API knows nothing else of the daemon. Every method may raise `StoreUnavailable`; the API answers it with 503.
Times of documents are Gregorian seconds, as Kazoo keeps them (Unix time + 62167219200).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from api.callports import Cdrs, Channels
    from api.control import Control, SyncJobs

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
JsonObject: TypeAlias = "dict[str, Json]"

GREGORIAN_EPOCH = 62_167_219_200
"""Gregorian seconds at Unix time 0."""


class Kind(Enum):
    """What a document is; the value is Kazoo's `pvt_type`."""

    ACCOUNT = "account"
    USER = "user"
    DEVICE = "device"
    WEBHOOK = "webhook"


@dataclass(frozen=True, slots=True)
class Document:
    """A stored document as it was at one revision.

    An account's document has `account_id` equal to its own `id`. `data` is what clients read and write, without `id`;
    `private` holds the `pvt_` keys (`pvt_tree`, `pvt_superduper_admin`, ...), which clients see only through filters.
    Neither may be changed in place.
    """

    kind: Kind
    account_id: str
    id: str
    revision: str
    """Changes with every write; opaque, of Kazoo's form `3-9f...`."""
    created: int
    modified: int
    data: JsonObject
    private: JsonObject


@dataclass(frozen=True, slots=True)
class Draft:
    """A document about to be written: validated, with its defaults and transformations applied."""

    kind: Kind
    account_id: str
    id: str
    data: JsonObject
    private: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule of uniqueness that a draft would break, as a validation error says it (contract 2.4, 4.3)."""

    key: str
    """Flattened path, such as `sip.username`."""
    rule: str
    """`unique`, mostly."""
    message: str
    cause: Json


@dataclass(frozen=True, slots=True)
class PageQuery:
    """A page of documents in ascending order of id."""

    kind: Kind
    account_id: str
    start_key: str = ""
    """Inclusive; empty begins at the first."""
    limit: int | None = None
    """None reads all."""
    owner_id: str | None = None
    """Devices only: those owned by this user, or with it in `hotdesk.users` (contract 5.2)."""


class PortError(Exception):
    """The root of what a port refuses."""


class StoreUnavailable(PortError):
    """The database cannot be read or written now (full, locked, corrupt); what is in memory is still served."""


class DocumentExists(PortError):
    """The id is taken, perhaps by a deleted document (409)."""


class DocumentMissing(PortError):
    """There is no such document, or it was deleted (404)."""


class RevisionMoved(PortError):
    """Somebody wrote the document after the revision that this write was based on."""


class NotUnique(PortError):
    """The write would break uniqueness; nothing was written."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        super().__init__(", ".join(violation.key for violation in violations))
        self.violations = tuple(violations)


class Documents(Protocol):
    """Accounts, users, devices and webhooks.

    Writes are durable when they return. The daemon hangs every effect of a change on them: the SIP side sees the new
    credentials at once, and registrations are flushed where contract 5.7 asks for it.
    """

    async def get(self, kind: Kind, account_id: str, document_id: str) -> Document | None:
        """Return the document, or None where it does not exist or was deleted."""
        ...

    async def page(self, query: PageQuery) -> Sequence[Document]:
        """Return the documents of the query, by id ascending, without the deleted ones."""
        ...

    async def children(self, account_id: str) -> Sequence[Document]:
        """Return the accounts right below this one, by id ascending."""
        ...

    async def descendants(self, account_id: str) -> Sequence[Document]:
        """Return the accounts below this one at any depth, by id ascending."""
        ...

    async def account_by_realm(self, realm: str) -> Document | None:
        """Return the account of a SIP realm, compared without case."""
        ...

    async def accounts_by_name(self, name: str) -> Sequence[Document]:
        """Return the accounts with this name, both lower-cased and stripped of all but a-z0-9."""
        ...

    async def conflicts(self, draft: Draft) -> Sequence[Violation]:
        """Return the rules of uniqueness that writing the draft now would break (contract 4.3, 4.5, 4.6).

        Only for reporting them beside other faults: `create` and `replace` hold them by themselves.
        """
        ...

    async def create(self, draft: Draft) -> Document:
        """Store a new document. Raises DocumentExists or NotUnique."""
        ...

    async def replace(self, draft: Draft, *, revision: str) -> Document:
        """Write over the document if it still has `revision`. Raises DocumentMissing, RevisionMoved or NotUnique.

        `private` of the draft is merged over the stored private keys.
        """
        ...

    async def delete(self, kind: Kind, account_id: str, document_id: str, *, revision: str) -> Document:
        """Soft-delete the document and return what it was. Raises DocumentMissing or RevisionMoved."""
        ...


@dataclass(frozen=True, slots=True)
class TokenIdentity:
    """Whom a token speaks for."""

    account_id: str
    owner_id: str | None
    """The user, when the token came from user_auth."""
    method: str
    """`cb_api_auth` or `cb_user_auth`, Kazoo's names."""


class Tokens(Protocol):
    """Auth tokens: opaque, random, stored hashed, with an end (contract 3.2, and its list at the top)."""

    async def issue(self, identity: TokenIdentity) -> str:
        """Make a token that lives for `api.token_ttl` seconds and return it; it cannot be read again."""
        ...

    async def identify(self, token: str) -> TokenIdentity | None:
        """Return whom the token speaks for, or None where it is unknown, revoked or over."""
        ...

    async def revoke(self, token: str) -> None:
        """End the token; an unknown one is no fault."""
        ...

    async def account_by_api_key(self, api_key: str) -> Document | None:
        """Return the account that has this API key, compared in constant time."""
        ...

    async def api_key(self, account_id: str) -> str:
        """Return the account's API key (64 hex)."""
        ...

    async def renew_api_key(self, account_id: str) -> str:
        """Replace the account's API key and return the new one."""
        ...

    async def user_by_credentials(self, account_id: str, method: str, credentials: str) -> Document | None:
        """Return the enabled user whose md5 or sha1 login hash this is (contract 3.3), compared in constant time.

        The hashes are the user's private keys `pvt_md5_auth` and `pvt_sha1_auth`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Registration:
    """One live binding, as the registrations resource tells it (contract 5.12)."""

    device_id: str
    account_id: str
    owner_id: str | None
    username: str
    realm: str
    contact: str
    """The Contact URI, without angle brackets."""
    received_host: str
    received_port: int
    transport: str
    """Lower case: `udp`, `tcp`, ..."""
    call_id: str
    user_agent: str
    from_user: str
    from_host: str
    expires_in: int
    """Seconds that are left."""
    granted: int
    """Seconds that were granted at the last REGISTER."""
    first_registered: int
    last_registered: int
    path: Sequence[str]


class Presence(Protocol):
    """The live registrations. Reads are of memory and never wait."""

    def registered_devices(self, account_id: str) -> Sequence[str]:
        """Return the ids of the account's registered devices, each once (contract 5.8)."""
        ...

    def status_json(self, account_id: str) -> bytes:
        """Return the `data` of devices/status as JSON: a list of `{"device_id": ..., "registered": true}`."""
        ...

    def is_registered(self, account_id: str, device_id: str) -> bool:
        """Return whether the device has a live binding."""
        ...

    def registrations(self, account_id: str) -> Sequence[Registration]:
        """Return the account's live bindings."""
        ...

    def count(self, account_id: str | None) -> int:
        """Return how many bindings the account has, or the whole system where it is None."""
        ...

    async def drop_all(self, account_id: str) -> None:
        """Remove every binding of the account, silently (DELETE registrations)."""
        ...


@dataclass(frozen=True, slots=True)
class ContactStatus:
    """What is known of one contact of a device. Times are Gregorian seconds."""

    contact: str
    """The Contact URI, without angle brackets."""
    source: str
    """Where its requests come from: `192.0.2.7:5060`."""
    transport: str
    user_agent: str
    vendor: str
    """The row of the vendor table."""
    expires_in: int
    registered_at: int
    """When the last REGISTER came."""
    reachable: bool | None
    """None until it is known, after a restart."""
    last_seen: int
    """When the phone last sent anything."""
    latency_ms: float | None
    """How long it took to answer us last."""
    path: Sequence[str]
    instance: str


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """What is known of a device."""

    device_id: str
    registered: bool
    reachable: bool | None
    """Whether any contact is; None where that is not known."""
    in_call: bool
    contacts: Sequence[ContactStatus]


class Statuses(Protocol):
    """What is known of devices. Reads are of memory and never wait."""

    def of(self, account_id: str, device_ids: Iterable[str]) -> Sequence[DeviceStatus]:
        """Return what is known of each of these devices, in the same order."""
        ...


@dataclass(frozen=True, slots=True)
class QuickcallOptions:
    """The parameters of a quickcall (contract 5.10)."""

    number: str
    """As in the URL, unfiltered: what is dialled."""
    filtered_number: str
    """After `number_filter`: what is shown as the caller's number."""
    auto_answer: bool
    callee_name: str
    callee_number: str
    """The identity shown to the number, from cid-name and cid-number or the device's caller id."""
    ignore_early_media: bool
    bypass: bool
    """Media flows between the phones themselves (`media=bypass`) rather than through us."""
    timeout: int
    """Seconds that the device may ring."""
    retain_caller_id: bool


class NoEndpoint(PortError):
    """No device can be rung: disabled, do-not-disturb, or none there (500 `unspecified_fault`)."""


class MediaUnavailable(PortError):
    """The media mode cannot be had, and why (503); nothing was rung."""


class QuickcallFailed(PortError):
    """The device did not answer; the text is the cause (POST only)."""


class Quickcalls(Protocol):
    """Click-to-call."""

    async def start(
        self, owner: Document, devices: Sequence[Document], options: QuickcallOptions, *, wait: bool
    ) -> Mapping[str, str]:
        """Ring the devices and, once one answers, connect it to the number.

        `owner` is the device or user of the URL. Returns for each rung device id the Call-ID used on the wire. With
        `wait` it returns only after the device answered, and raises QuickcallFailed where it did not.
        Raises NoEndpoint or MediaUnavailable.
        """
        ...


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in an account."""

    id: int
    """Grows from event to event of an account."""
    account_id: str
    name: str
    """`noun.verb`, such as `device.registered`."""
    body: bytes
    """All of it as a JSON object without a line break: id, event, account_id, timestamp, and what it is about."""


class TooManyListeners(PortError):
    """As many listen to events as may (429)."""


class Listening(Protocol):
    """One listener's events."""

    @property
    def closed(self) -> bool:
        """Whether no more events will come."""
        ...

    async def read(self, wait: float) -> Sequence[Event]:
        """Return the events since the last call; wait for the first one, up to so many seconds.

        Where the listener was too slow, or asked for what is not kept any more, the first one is `events.lost`.
        """
        ...

    def close(self) -> None:
        """Stop listening."""
        ...


class Events(Protocol):
    """What happens, as it happens."""

    def listen(self, account_id: str, patterns: Sequence[str], *, after: int | None = None) -> Listening:
        """Begin to listen to an account: to the events with these names or nouns, or to all where there are none.

        With `after`, the events after that id come first, as far as they are kept. Raises TooManyListeners.
        """
        ...


@dataclass(frozen=True, slots=True)
class WebhookAttempt:
    """A request to a webhook, and what became of it."""

    hook_id: str
    event: str
    event_id: int
    timestamp: int
    """Gregorian seconds."""
    result: str
    """`success` or `failure`."""
    reason: str
    response_code: int | None
    """None where there was no answer."""
    retries_left: int
    latency_ms: float


class Webhooks(Protocol):
    """How webhooks fare; their documents are those of `Documents`."""

    def attempts(self, account_id: str, webhook_id: str | None = None) -> Sequence[WebhookAttempt]:
        """Return the last attempts of one of the account's webhooks, or of all, the latest first."""
        ...


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
