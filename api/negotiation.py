"""Content types and cross-origin headers (contract 1.2-1.4, 1.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api.body import is_readable
from api.errors import NotAcceptable, UnsupportedMediaType

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from aiohttp import web

    from api.call import Call
    from api.routing import Route

MAX_ACCEPT: Final = 4096
OFFERED: Final = frozenset(
    {"*/*", "application/*", "application/json", "application/x-json", "application/javascript", "text/javascript"}
)
STREAMED: Final = frozenset({"text/*", "text/event-stream"})
CORS_FIXED: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "content-type, depth, user-agent, x-http-method-override, x-file-size, "
    "x-requested-with, if-modified-since, x-file-name, cache-control, x-auth-token, x-kazoo-cluster-id, if-match, "
    "if-none-match, last-event-id, x-auth-account-id, x-pretty-print, x-request-id, authorization",
    "Access-Control-Expose-Headers": "content-type, x-auth-token, x-request-id, x-kazoo-cluster-id, location, etag, "
    "retry-after",
    "Access-Control-Max-Age": "86400",
}


def check_content_type(request: web.BaseRequest) -> None:
    """Refuse a body that we cannot read (415)."""
    if request.body_exists and not is_readable(request) and request.content_length != 0:
        raise UnsupportedMediaType


def check_accept(call: Call, route: Route) -> None:
    """Refuse a client that takes nothing of what the route has (406): JSON, or events, or its own types."""
    offered = OFFERED | STREAMED if route.streams else OFFERED
    if route.types:
        offered = offered.union(*((each, f"{each.partition('/')[0]}/*") for each in route.types))
    accept = _accepted(call)
    if not accept or accept in offered:
        return
    if not any(_takes(part, offered) for part in accept[:MAX_ACCEPT].split(",")):
        raise NotAcceptable


def choose_type(call: Call, types: Sequence[str]) -> str:
    """Return which of the types the client names first; the first of them where it names none."""
    for part in _accepted(call)[:MAX_ACCEPT].split(","):
        named = part.partition(";")[0].strip().lower()
        if named in types and _takes(part, frozenset(types)):
            return named
    return types[0]


def _accepted(call: Call) -> str:
    """Return the Accept header, or the parameter `accept`, which goes before it."""
    parameter = call.value("accept")
    return parameter if isinstance(parameter, str) else call.headers.get("Accept", "")


def is_cross_origin(headers: Mapping[str, str]) -> bool:
    """Return whether the request comes from a page of another origin, or asks ahead for one (a preflight)."""
    return (
        "Origin" in headers or "Access-Control-Request-Method" in headers or "Access-Control-Request-Headers" in headers
    )


def cors_headers(methods: Iterable[str], requested: str | None) -> dict[str, str]:
    """Return the headers that let any page read the answer; it cannot send credentials but by its own script."""
    allowed = ["OPTIONS", *methods]
    if requested and requested.isalpha() and requested.upper() not in allowed:
        allowed.insert(0, requested.upper())
    return {**CORS_FIXED, "Access-Control-Allow-Methods": ", ".join(allowed)}


def _takes(part: str, offered: frozenset[str]) -> bool:
    media_type, *parameters = (piece.strip().lower() for piece in part.split(";"))
    return media_type in offered and not any(p.replace(" ", "") in {"q=0", "q=0.0"} for p in parameters)
