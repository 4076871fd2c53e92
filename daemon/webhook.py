"""One webhook, and the HTTP request that tells it an event.

Requests are signed as https://www.standardwebhooks.com has it: HMAC-SHA256 over id, timestamp and body.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import orjson
from yarl import URL

from api.ports import Kind
from api.webhooks import SECRET_PREFIX
from daemon.store.records import text_at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from api.ports import Document, Json
    from daemon.store.outbox import Parcel

DEFAULT_RETRIES: Final = 2


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where events are told, which ones, and how."""

    account_id: str
    id: str
    uri: str
    method: str
    json: bool
    """Whether the body is JSON rather than a form."""
    pattern: str
    """`all`, the first part of names, or a name."""
    retries: int
    subaccounts: bool
    """Whether the events of the accounts below are told too."""
    custom_data: Mapping[str, Json]
    key: bytes = field(repr=False)

    @classmethod
    def of(cls, document: Document | None) -> Webhook | None:
        """Return the webhook of a document; None where it is off, or no webhook."""
        if document is None or document.kind is not Kind.WEBHOOK or document.data.get("enabled") is False:
            return None
        data = document.data
        retries, custom = data.get("retries"), data.get("custom_data")
        return cls(
            document.account_id,
            document.id,
            text_at(data, "uri") or "",
            (text_at(data, "http_verb") or "post").upper(),
            data.get("format") != "form-data",
            text_at(data, "hook") or "",
            retries if isinstance(retries, int) else DEFAULT_RETRIES,
            data.get("include_subaccounts") is True,
            custom if isinstance(custom, dict) else {},
            key_of(text_at(document.private, "pvt_secret") or ""),
        )


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """A request that is ready to go."""

    method: str
    url: URL
    headers: Mapping[str, str]
    body: bytes | None


def build_request(webhook: Webhook, parcel: Parcel, now: int) -> WebhookRequest:
    """Return the request; `now` is Unix time. Raises ValueError where the URI is none."""
    event: dict[str, Json] = orjson.loads(parcel.body)
    facts = {**event, "hook_event": parcel.name, **webhook.custom_data}
    url, headers = URL(webhook.uri), {"User-Agent": "Roost"}
    body: bytes | None = None
    if webhook.method == "GET":
        url = url.extend_query(_flat(facts))
        signed = url.raw_query_string.encode()
    elif webhook.json:
        signed = body = orjson.dumps(facts)
        headers["Content-Type"] = "application/json"
    else:
        signed = body = urlencode(_flat(facts)).encode()
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    message_id = f"{parcel.source}.{parcel.event_id}"
    headers["webhook-id"] = message_id
    headers["webhook-timestamp"] = str(now)
    headers["webhook-signature"] = sign(webhook.key, message_id, now, signed)
    return WebhookRequest(webhook.method, url, headers, body)


def sign(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the signature of a message; a GET has its query string for a body."""
    content = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return "v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()


def key_of(secret: str) -> bytes:
    """Return the key that a secret stands for."""
    return base64.b64decode(secret.removeprefix(SECRET_PREFIX))


def _flat(facts: Mapping[str, Json]) -> dict[str, str]:
    """Return the facts as a form has them: text as it is, all else as JSON."""
    return {key: value if isinstance(value, str) else orjson.dumps(value).decode() for key, value in facts.items()}
