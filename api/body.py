"""The request body: Kazoo's envelope, read leniently (contract 1.3, 1.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

import orjson
from aiohttp import web

from api.errors import PayloadTooLarge, ValidationFailed

if TYPE_CHECKING:
    from api.ports import Json, JsonObject

MAX_BODY: Final = 8_000_000  # Kazoo's max_upload_size
MAX_DEPTH: Final = 64  # no device needs it; far below what the JSON writer takes
MAX_QUERY_FIELDS: Final = 200  # more than all the filters of a sane client

READABLE: Final = frozenset(
    {
        "application/json",
        "application/x-json",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "multipart/mixed",
    }
)
"""Content types of bodies we read, as JSON: a plain `curl -d '{...}'` calls its JSON a form."""


async def read_envelope(request: web.BaseRequest) -> tuple[Json, JsonObject]:
    """Return `data` and the whole envelope; an empty body is an empty object.

    Raises ValidationFailed or PayloadTooLarge. A body of an unreadable type is left to `check_content_type`.
    """
    text = await _receive(request)
    if not text.strip() or not is_readable(request):
        return {}, {}
    return _open(_parse(text))


def is_readable(request: web.BaseRequest) -> bool:
    """Return whether the body has a type we read; a body without a type is JSON."""
    return "Content-Type" not in request.headers or request.content_type in READABLE


def read_query(text: str) -> dict[str, str]:
    """Parse a raw query string; of a repeated parameter the last one counts."""
    if not text:
        return {}
    try:
        return dict(parse_qsl(mend(text), keep_blank_values=True, errors="replace", max_num_fields=MAX_QUERY_FIELDS))
    except ValueError:
        message = f"There must be no more than {MAX_QUERY_FIELDS} parameters"
        raise ValidationFailed({"query": {"maxItems": {"message": message, "target": MAX_QUERY_FIELDS}}}) from None


def mend(text: str) -> str:
    """Replace what is no UTF-8; aiohttp hands such bytes on as lone surrogates, which no JSON can hold."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


async def _receive(request: web.BaseRequest) -> bytes:
    if request.content_length is not None and request.content_length > MAX_BODY:
        raise PayloadTooLarge(MAX_BODY)
    try:
        await _let_come(request)
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise PayloadTooLarge(MAX_BODY) from None
    except (web.RequestPayloadError, ConnectionError) as error:
        # Cut off, or not what its Content-Encoding says.
        raise _broken(str(error)) from None


async def _let_come(request: web.BaseRequest) -> None:
    """Tell a client that waits for it to send its body (RFC 9110 10.1.1); other expectations are let be."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # else aiohttp takes the answer for begun


def _parse(text: bytes) -> Json:
    try:
        value: Json = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise _broken(str(error)) from None
    if _is_too_deep(value):
        raise _broken(f"nested deeper than {MAX_DEPTH}")
    return value


def _broken(message: str) -> ValidationFailed:
    return ValidationFailed({"json": {"invalid": {"message": message, "target": "body"}}})


def _open(value: Json) -> tuple[Json, JsonObject]:
    if not isinstance(value, dict):
        raise _broken("All JSON must be valid")
    root: JsonObject = {key.lower().replace("-", "_"): item for key, item in value.items() if item is not None}
    if "data" not in root:
        payload: JsonObject = {"message": "Field is required but missing", "value": value}
        raise ValidationFailed({"data": {"required": payload}})
    data = root.pop("data")
    if not isinstance(data, dict | list):
        message = "Value did not match type(s): object, array"
        raise ValidationFailed({"data": {"type": {"message": message, "target": "object, array", "value": data}}})
    return data, dict(root)


def _is_too_deep(value: Json) -> bool:
    level: list[Json] = [value]
    for _ in range(MAX_DEPTH):
        level = [item for holder in level for item in _items(holder)]
        if not level:
            return False
    return True


def _items(value: Json) -> list[Json]:
    if isinstance(value, dict):
        return [item for item in value.values() if isinstance(item, dict | list)]
    if isinstance(value, list):
        return [item for item in value if isinstance(item, dict | list)]
    return []
