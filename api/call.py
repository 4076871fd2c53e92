"""A request as the resources see it, and what they answer.

A resource is a coroutine `(Call) -> Answer`; all that HTTP adds (headers, envelope, preconditions of GET) is done once,
in `api.app`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from api.errors import InvalidCredentials, PreconditionFailed, ValidationFailed
from api.ports import Kind

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from api.kept import Kept
    from api.locks import Locks
    from api.policy import Policy
    from api.ports import Document, Draft, Json, JsonObject, Listening, Ports, TokenIdentity, Violation
    from api.routing import Route


@dataclass(slots=True)
class Call:
    """One request, with the documents of its path already found."""

    ports: Ports
    policy: Policy
    locks: Locks
    kept: Kept
    method: str
    """After tunnelling through POST."""
    path: str
    """Without query and trailing slash, percent-encoded as sent."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    routes: Mapping[str, Route] = field(default_factory=dict)
    """By method, of the path."""
    place: str = ""
    """The route's path, for the log: the request's own may hold a token."""
    params: dict[str, str] = field(default_factory=dict)
    """The variable parts of the path."""
    data: Json = field(default_factory=dict)
    root: JsonObject = field(default_factory=dict)
    """The envelope's other keys, lower-cased, `-` as `_`."""
    token: str | None = None
    """As presented; echoed in the envelope."""
    identity: TokenIdentity | None = None
    documents: dict[Kind, Document] = field(default_factory=dict)
    """Those named by the path."""
    tunnelled: bool = False
    """Whether `verb` replaced the method."""
    created: str | None = None
    """The id of what the request made."""
    _superduper: bool | None = None

    @property
    def account(self) -> Document:
        """The account of the path."""
        return self.documents[Kind.ACCOUNT]

    @property
    def user(self) -> Document:
        """The user of the path."""
        return self.documents[Kind.USER]

    @property
    def device(self) -> Document:
        """The device of the path."""
        return self.documents[Kind.DEVICE]

    @property
    def caller(self) -> TokenIdentity:
        """Who asks. Raises InvalidCredentials for nobody."""
        if self.identity is None:
            raise InvalidCredentials
        return self.identity

    @property
    def is_dressed(self) -> bool:
        """Whether the request may want its JSON otherwise than plain."""
        return bool(self.query or self.data or self.root) or "X-Pretty-Print" in self.headers

    def value(self, name: str) -> Json:
        """Return a parameter: from `data`, else the query string, else the envelope (contract 1.4)."""
        if isinstance(self.data, dict) and name in self.data:
            return self.data[name]
        if name in self.query:
            return self.query[name]
        return self.root.get(name.replace("-", "_"))

    def body(self) -> JsonObject:
        """Return `data`, which must be an object."""
        if not isinstance(self.data, dict):
            message = "Value did not match type(s): object"
            raise ValidationFailed({"data": {"type": {"message": message, "target": "object"}}})
        return self.data

    async def is_superduper(self) -> bool:
        """Return whether the token's account may do everything."""
        if self._superduper is None:
            account = await self.own_account()
            self._superduper = account is not None and account.private.get("pvt_superduper_admin") is True
        return self._superduper

    async def own_account(self) -> Document | None:
        """Return the account of the token."""
        account_id = self.caller.account_id
        account = self.documents.get(Kind.ACCOUNT)
        if account is not None and account.id == account_id:
            return account
        return await self.ports.documents.get(Kind.ACCOUNT, account_id, account_id)

    async def conflicts(self, draft: Draft) -> Sequence[Violation]:
        """Return the rules of uniqueness that writing the draft now would break."""
        return await self.ports.documents.conflicts(draft)

    def check_revision(self, revision: str) -> None:
        """Hold a change to If-Match and If-None-Match. Raises PreconditionFailed."""
        if_match = self.headers.get("If-Match")
        if if_match is not None and not names(if_match, revision):
            raise PreconditionFailed
        if_none_match = self.headers.get("If-None-Match")
        if if_none_match is not None and names(if_none_match, revision):
            raise PreconditionFailed

    def check_creation(self) -> None:
        """Hold a creation to If-Match, which nothing that does not exist can meet."""
        if "If-Match" in self.headers:
            raise PreconditionFailed


NO_KEYS: Final[JsonObject] = {}


class Answer(NamedTuple):
    """What a resource answers on success."""

    data: Json | bytes = None
    """Bytes are JSON ready made. None leaves `data` out of the envelope."""
    status: int = 200
    revision: str | None = None
    """Of the document in `data`: the ETag, and `revision` of the envelope."""
    etag: bool | str | None = False
    """Give the answer an ETag by its content, which may be known already; for non-empty lists."""
    extra: JsonObject = NO_KEYS
    """More keys of the envelope: paging, a new token."""
    location: str | None = None
    """The id of what was created."""
    bare: bool = False
    """Send `data` as it is, without an envelope."""
    media_type: str = ""
    """Send `data`, bytes, as this instead of JSON."""
    stream: Listening | None = None
    """Send these events instead, for as long as the client stays."""
    stands: bool = False
    """Whether a GET has this answer until a document is written."""
    registrations: Hashable = None
    """It stands no longer than this is the account's `Presence.edition`; None for one that tells of no registration."""


def public(document: Document) -> JsonObject:
    """Return what clients see of a document."""
    return {**document.data, "id": document.id}


def shown(document: Document, *, status: int = 200, location: str | None = None) -> Answer:
    """Answer with a document as it is stored."""
    return Answer(public(document), status=status, revision=document.revision, location=location, stands=True)


def names(header: str, revision: str) -> bool:
    """Return whether If-Match or If-None-Match names the revision (RFC 9110 13.1), quoted or, leniently, not."""
    if header.strip() == "*":
        return True
    tags = (tag.strip().removeprefix("W/").strip('"') for tag in header.split(","))
    return revision in tags


def text_of(value: Json) -> str:
    """Return a value as Kazoo prints it in comparisons: booleans in lower case, nothing as the empty string."""
    if isinstance(value, str):
        return value
    return "" if value is None else orjson.dumps(value).decode()


def is_true(value: Json) -> bool:
    """Return whether a parameter is on, as a boolean or as text."""
    return value is True or (isinstance(value, str) and value.lower() == "true")
