"""Refusals of the API, and the one table that turns an exception into Kazoo's error envelope (contract 2.2-2.5)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from api.ports import (
    BatchOvertaken,
    CannotTransfer,
    DocumentExists,
    DocumentMissing,
    Json,
    JsonObject,
    MediaUnavailable,
    NoEndpoint,
    NotUnique,
    RevisionMoved,
    StoreUnavailable,
    TooManyCalls,
    TooManyJobs,
    TooManyListeners,
    TooManyTraces,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from api.ports import Violation

Faults: TypeAlias = "dict[str, dict[str, JsonObject]]"
"""Flattened key -> rule -> details, as `data` of a validation error (contract 2.4)."""


class ApiError(Exception):
    """A request that is refused; its type says why."""

    def __init__(self, data: Json = None) -> None:
        super().__init__(data)
        self.data = data
        """What `data` of the envelope is instead of the table's text; None leaves the text."""


class BadIdentifier(ApiError):
    """There is no such account, user or device."""

    def __init__(self, cause: str) -> None:
        super().__init__({"message": "bad identifier", "cause": cause})


class BadAccountId(ApiError):
    """The account id in the path cannot be one: Kazoo's have 32 characters."""

    def __init__(self, account_id: str) -> None:
        text = f"invalid account_id '{account_id}'" if account_id else "missing account_id"
        super().__init__({"message": text})


class UnknownKey(ApiError):
    """An API key or SIP username that nobody has; `data` is a list, as Kazoo has it (contract 9, 3)."""

    def __init__(self, key: str) -> None:
        super().__init__([key])


class NotFound(ApiError):
    """The path leads nowhere."""


class Gone(ApiError):
    """Version 1 of the API was asked for."""


class MethodNotAllowed(ApiError):
    """The path has other methods."""


class InvalidCredentials(ApiError):
    """Nobody is known by the credentials sent, or none were."""


class BadToken(ApiError):
    """A token was sent, and it is malformed, over or unknown."""


class Forbidden(ApiError):
    """Who asks is known, and may not."""


class TooManyRequests(ApiError):
    """The client's bucket is empty, or everybody's places are taken."""

    def __init__(self, retry_after: int) -> None:
        super().__init__()
        self.retry_after = retry_after


class FaultyRequest(ApiError):
    """A paging argument that cannot be (contract 5.3)."""

    def __init__(self, text: str) -> None:
        super().__init__({"message": text})


class ActionRefused(ApiError):
    """`action` of a PUT on a device is missing or unknown (contract 5.9)."""

    def __init__(self, text: str) -> None:
        super().__init__({})
        self.text = text


class AccountHasDescendants(ApiError):
    """An account with accounts below it cannot be deleted."""


class UnspecifiedFault(ApiError):
    """A fault of ours."""


class CallFailed(ApiError):
    """A quickcall that was waited for did not get its device."""

    def __init__(self, cause: str, request: JsonObject) -> None:
        super().__init__({"error_message": cause, "request": request})


class ValidationFailed(ApiError):
    """The body breaks rules; all of them are told together."""

    def __init__(self, faults: Faults) -> None:
        super().__init__({key: dict(rules) for key, rules in faults.items()})
        self.faults = faults


class PayloadTooLarge(ApiError):
    """The body is over the limit."""

    def __init__(self, limit: int) -> None:
        message = f"Payload or Files must not be more than {limit} bytes"
        super().__init__({"file": {"maxSize": {"message": message, "target": limit}}})


class NotModified(ApiError):
    """The client has this revision already."""

    def __init__(self, etag: str) -> None:
        super().__init__()
        self.etag = etag


class PreconditionFailed(ApiError):
    """If-Match or If-None-Match does not hold."""


class NotAcceptable(ApiError):
    """The Accept header leaves no type that we have."""


class UnsupportedMediaType(ApiError):
    """The body's Content-Type is none that we read."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A row of the error catalogue."""

    status: int
    message: str = ""
    """The short code; empty makes the body empty."""
    text: str = ""
    """`data.message`; empty makes `data` an empty object."""


CATALOGUE: Mapping[type[Exception], Fault] = {
    Gone: Fault(410, "gone", "API version 1 is not supported. Please upgrade your code to use version 2."),
    TooManyJobs: Fault(429, "too_many_requests", "too many syncs are running: stop one, or wait for its end"),
    TooManyRequests: Fault(429, "too_many_requests", "too many requests"),
    TooManyListeners: Fault(429, "too_many_requests", "too many listeners"),
    TooManyTraces: Fault(429, "too_many_requests", "too many devices are traced: stop one, or wait for its end"),
    UnspecifiedFault: Fault(500, "unspecified_fault", "unspecified fault"),
    NoEndpoint: Fault(500, "unspecified_fault", "unspecified fault"),
    FaultyRequest: Fault(404, "faulty_request", "faulty request"),
    BadIdentifier: Fault(404, "bad_identifier", "bad identifier"),
    BadAccountId: Fault(404, "bad identifier", "bad identifier"),
    DocumentMissing: Fault(404, "bad_identifier", "bad identifier"),
    UnknownKey: Fault(404, "bad identifier", "bad identifier"),
    NotFound: Fault(404, "not_found", "not found"),
    Forbidden: Fault(403, "forbidden", "forbidden"),
    InvalidCredentials: Fault(401, "invalid_credentials", "invalid credentials"),
    BadToken: Fault(401, "invalid credentials"),
    MethodNotAllowed: Fault(405, "invalid_method", "method not allowed"),
    ActionRefused: Fault(400, "invalid action"),
    AccountHasDescendants: Fault(500, "account_has_descendants", "account has descendants"),
    DocumentExists: Fault(409, "datastore_conflict", "conflicting documents"),
    BatchOvertaken: Fault(409, "datastore_conflict", "conflicting documents"),
    RevisionMoved: Fault(409, "datastore_conflict", "conflicting documents"),
    StoreUnavailable: Fault(503, "datastore_fault", "datastore fatal error"),
    ValidationFailed: Fault(400, "validation error"),
    NotUnique: Fault(400, "validation error"),
    PayloadTooLarge: Fault(413, "validation error"),
    MediaUnavailable: Fault(503, "media_unavailable", "media unavailable"),
    TooManyCalls: Fault(503, "too_many_calls", "too many calls"),
    CannotTransfer: Fault(409, "cannot_transfer", "the call cannot be transferred now"),
    CallFailed: Fault(500, "quickcall initiation failed"),
    NotModified: Fault(304),
    PreconditionFailed: Fault(412),
    NotAcceptable: Fault(406),
    UnsupportedMediaType: Fault(415),
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """What an exception is answered with."""

    status: int
    message: str
    """Empty for an answer without a body."""
    data: Json
    headers: Mapping[str, str] = field(default_factory=dict)


def refuse(error: Exception) -> Refusal | None:
    """Return the answer to an exception, or None where the catalogue does not know it: a bug of ours."""
    fault = CATALOGUE.get(type(error))
    if fault is None:
        return None
    message = error.text if isinstance(error, ActionRefused) else fault.message
    return Refusal(fault.status, message, _details(error, fault), _headers(error))


def faults_of(violations: Sequence[Violation]) -> Faults:
    """Tell broken rules of uniqueness as a validation error does."""
    faults: Faults = {}
    for violation in violations:
        rules = faults.setdefault(violation.key, {})
        rules[violation.rule] = {"message": violation.message, "cause": violation.cause}
    return faults


def _details(error: Exception, fault: Fault) -> Json:
    if isinstance(error, NotUnique):
        return ValidationFailed(faults_of(error.violations)).data
    if isinstance(error, (MediaUnavailable, TooManyCalls, CannotTransfer)):
        return {"message": str(error) or fault.text}
    if isinstance(error, ApiError) and error.data is not None:
        return error.data
    return {"message": fault.text} if fault.text else {}


def _headers(error: Exception) -> Mapping[str, str]:
    if isinstance(error, TooManyRequests):
        return {"Retry-After": str(error.retry_after)}
    if isinstance(error, TooManyJobs):
        return {"Retry-After": "60"}
    if isinstance(error, NotModified):
        return {"ETag": error.etag}
    if isinstance(error, StoreUnavailable | TooManyListeners | TooManyCalls):
        return {"Retry-After": "5"}
    return {}
