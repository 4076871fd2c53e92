"""Webhooks: URLs that are told what happens (Kazoo's `webhooks`, with events of ours)."""

from __future__ import annotations

import base64
import binascii
import os
from typing import TYPE_CHECKING, Final

from yarl import URL

from api.call import Answer, Call, public, shown
from api.documents import combine, create, delete, deleted, refuse_if, save, strip_private
from api.errors import ValidationFailed
from api.listing import FILTERS, PAGING, list_documents
from api.ports import Draft, Kind, PageQuery
from api.routing import Route
from api.schemas import Schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.errors import Faults
    from api.ports import Document, Json, JsonObject, WebhookAttempt

WEBHOOKS: Final = Schema("webhooks")
MAX_WEBHOOKS: Final = 50  # of an account; each event may be sent to all of them
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - as https://www.standardwebhooks.com has it
SECRET_BYTES: Final = 32
SHORTEST_SECRET: Final = 24  # bytes
LONGEST_SECRET: Final = 64


async def list_webhooks(call: Call) -> Answer:
    """GET /webhooks."""
    return await list_documents(call, PageQuery(Kind.WEBHOOK, call.account.id), public)


async def create_webhook(call: Call) -> Answer:
    """PUT /webhooks: the answer tells the secret, which is told no more."""
    webhook_id = os.urandom(16).hex()
    data = strip_private(call.body())
    secret = data.setdefault("secret", SECRET_PREFIX + base64.b64encode(os.urandom(SECRET_BYTES)).decode())

    async def prepare(call: Call, data: JsonObject, _: Document | None) -> Draft:
        draft = _prepare(call, data, webhook_id)
        await _require_room(call)
        return draft

    webhook = await create(call, prepare, data)
    return Answer({**public(webhook), "secret": secret}, status=201, revision=webhook.revision, location=webhook.id)


async def read_webhook(call: Call) -> Answer:
    """GET /webhooks/{W}."""
    return shown(_webhook(call))


async def replace_webhook(call: Call) -> Answer:
    """POST /webhooks/{W}: a secret that is not sent stays."""
    return await _change(call, merge=False)


async def patch_webhook(call: Call) -> Answer:
    """PATCH /webhooks/{W}."""
    return await _change(call, merge=True)


async def delete_webhook(call: Call) -> Answer:
    """DELETE /webhooks/{W}: what it was not told is dropped."""
    return deleted(await delete(call, _webhook(call)))


async def list_attempts(call: Call) -> Answer:
    """GET /webhooks/attempts: the last ones of all of the account's webhooks."""
    return _attempts(call.ports.webhooks.attempts(call.account.id))


async def list_attempts_of_webhook(call: Call) -> Answer:
    """GET /webhooks/{W}/attempts."""
    return _attempts(call.ports.webhooks.attempts(call.account.id, _webhook(call).id))


def _webhook(call: Call) -> Document:
    return call.documents[Kind.WEBHOOK]


async def _change(call: Call, *, merge: bool) -> Answer:
    async def prepare(call: Call, data: JsonObject, _: Document | None) -> Draft:
        return _prepare(call, data, _webhook(call).id)

    return shown(await save(call, _webhook(call), prepare, merge=merge))


def _prepare(call: Call, data: JsonObject, webhook_id: str) -> Draft:
    """Hold a webhook to its rules, and put its secret where no client reads it."""
    filled, faults = WEBHOOKS.check(data)
    refuse_if(combine(faults, _faults_of_uri(filled.get("uri")), _faults_of_secret(filled.get("secret"))))
    secret = filled.pop("secret", None)
    private: JsonObject = {} if secret is None else {"pvt_secret": secret}
    return Draft(Kind.WEBHOOK, call.account.id, webhook_id, filled, private)


async def _require_room(call: Call) -> None:
    query = PageQuery(Kind.WEBHOOK, call.account.id, limit=MAX_WEBHOOKS)
    if len(await call.ports.documents.page(query)) >= MAX_WEBHOOKS:
        message = f"An account must not have more than {MAX_WEBHOOKS} webhooks"
        raise ValidationFailed({"webhooks": {"maxItems": {"message": message, "target": MAX_WEBHOOKS}}})


def _faults_of_uri(uri: Json) -> Faults:
    if not isinstance(uri, str):
        return {}
    try:
        url = URL(uri)
        good = url.scheme in ("http", "https") and bool(url.host) and url.port != 0
    except ValueError:
        good = False
    return {} if good else _wrong("uri", "must be an http or https URL with a host", uri)


def _faults_of_secret(secret: Json) -> Faults:
    if not isinstance(secret, str):
        return {}
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if secret.startswith(SECRET_PREFIX) and SHORTEST_SECRET <= len(key) <= LONGEST_SECRET:
        return {}
    rule = f"must be {SECRET_PREFIX} and the base64 of {SHORTEST_SECRET} to {LONGEST_SECRET} bytes"
    return {"secret": {"wrong_format": {"message": rule}}}


def _wrong(key: str, message: str, value: Json) -> Faults:
    return {key: {"wrong_format": {"message": message, "value": value}}}


def _attempts(attempts: Sequence[WebhookAttempt]) -> Answer:
    rows: list[Json] = [
        {
            "hook_id": each.hook_id,
            "event": each.event,
            "event_id": each.event_id,
            "timestamp": each.timestamp,
            "result": each.result,
            "reason": each.reason,
            "response_code": each.response_code,
            "retries_left": each.retries_left,
            "latency_ms": each.latency_ms,
        }
        for each in attempts
    ]
    return Answer(rows)


_ALL: Final = "/accounts/{account_id}/webhooks"
_ONE: Final = f"{_ALL}/{{webhook_id}}"
_LISTED: Final = (*PAGING, *FILTERS)

ROUTES: Final[tuple[Route, ...]] = (
    Route("GET", _ALL, list_webhooks, "List the webhooks", answer="webhook_rows", query=_LISTED),
    Route("PUT", _ALL, create_webhook, "Create a webhook", body="webhooks", answer="new_webhook"),
    Route("GET", f"{_ALL}/attempts", list_attempts, "List the last requests to webhooks", answer="attempt_rows"),
    Route("GET", _ONE, read_webhook, "Read a webhook", answer="webhook"),
    Route("POST", _ONE, replace_webhook, "Replace a webhook", body="webhooks", answer="webhook"),
    Route("PATCH", _ONE, patch_webhook, "Change a webhook", body="patch", answer="webhook"),
    Route("DELETE", _ONE, delete_webhook, "Delete a webhook", answer="webhook"),
    Route(
        "GET",
        f"{_ONE}/attempts",
        list_attempts_of_webhook,
        "List the last requests to a webhook",
        answer="attempt_rows",
    ),
)
