"""The documents that clients read and write, and whether a write may be."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Protocol, TypeAlias

from api.ports.errors import PortError

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

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

    __hash__ = object.__hash__  # members are singletons; Enum's own is Python code, run at every look-up


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


class BatchOvertaken(PortError):
    """Somebody else wrote meanwhile what does not go with the batch; nothing of it was written."""


class Batch(Protocol):
    """Devices and users of one account that are written together, all or none."""

    async def find(self, kind: Kind, *, document_id: str = "", username: str = "") -> Document | None:
        """Return the document of that id, or else that SIP username of a device or login of a user."""
        ...

    async def conflicts(self, draft: Draft) -> Sequence[Violation]:
        """Return the rules of uniqueness that the draft would break, in the store or with what was put before."""
        ...

    async def put(self, draft: Draft, stored: Document | None) -> None:
        """Add a document, new or in the place of the stored one. Raises DocumentExists where a new one's id is taken.

        A document that was deleted comes back under its id.
        """
        ...

    def user_id(self, username: str) -> str | None:
        """Return the id of a user who was put, by login."""
        ...

    async def commit(self) -> None:
        """Write them all. Raises BatchOvertaken."""
        ...


class Documents(Protocol):
    """Accounts, users, devices and webhooks.

    Writes are durable when they return. The daemon hangs every effect of a change on them: the SIP side sees the new
    credentials at once, and registrations are flushed where contract 5.7 asks for it.
    """

    async def get(self, kind: Kind, account_id: str, document_id: str) -> Document | None:
        """Return the document, or None where it does not exist or was deleted."""
        ...

    def edition(self) -> Hashable:
        """Return what a listing stands under: another value after every write, and in any case after a second.

        A write that nobody told us of, of another process, is so seen within that second.
        """
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

    def batch(self, account: Document) -> Batch:
        """Begin to gather documents of an account that are to be written together."""
        ...
