"""GET /events: what happens in an account, as server-sent events (WHATWG HTML 9.2)."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING, Final

from aiohttp import web

from api.call import Answer
from api.errors import ValidationFailed
from api.routing import Route

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from api.call import Call
    from api.ports import Event, Listening

KEEPALIVE: Final = 15.0  # seconds without an event; proxies and NATs forget a connection that is silent for longer
WRITE_LIMIT: Final = 30.0  # seconds that a client may take nothing while its buffers are full
WELCOME: Final = 60.0  # seconds after which a client's token is looked at again
RECONNECT: Final = 5  # seconds that a browser waits after the connection broke
MAX_ID: Final = 20  # digits
MAX_PATTERNS: Final = 50
PATTERN: Final = re.compile(r"[a-z]+(\.[a-z_]+)?", re.ASCII)
HEADERS: Final = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would hold events back
}


async def listen(call: Call) -> Answer:
    """GET /events: from now on, or from after the event that Last-Event-ID names."""
    stream = call.ports.events.listen(call.account.id, _patterns(call.query.get("events", "")), after=_last(call))
    return Answer(stream=stream)


async def send_events(
    request: web.BaseRequest,
    listening: Listening,
    headers: Mapping[str, str],
    is_welcome: Callable[[], Awaitable[bool]],
) -> web.StreamResponse:
    """Send events until the client goes away, is not welcome any more, or takes nothing for too long."""
    response = web.StreamResponse(headers={**headers, **HEADERS})
    try:
        await response.prepare(request)
        if request.method != "HEAD":
            await _send_all(response, listening, is_welcome)
    except (ConnectionError, TimeoutError, asyncio.TimeoutError):
        if request.transport is not None:
            request.transport.abort()  # closing would wait for the client to take what is buffered
    finally:
        listening.close()
    return response


async def _send_all(
    response: web.StreamResponse, listening: Listening, is_welcome: Callable[[], Awaitable[bool]]
) -> None:
    loop = asyncio.get_running_loop()
    check_at = loop.time() + WELCOME
    await response.write(b"retry: %d\n\n" % (RECONNECT * 1000))
    while not listening.closed:
        events = await listening.read(KEEPALIVE)
        await asyncio.wait_for(response.write(encode(events) or b":\n\n"), WRITE_LIMIT)
        if loop.time() >= check_at:
            if not await is_welcome():
                return
            check_at = loop.time() + WELCOME


def encode(events: Iterable[Event]) -> bytes:
    """Return events as a client reads them."""
    return b"".join(b"id: %d\nevent: %s\ndata: %s\n\n" % (each.id, each.name.encode(), each.body) for each in events)


def _patterns(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if len(names) > MAX_PATTERNS or not all(PATTERN.fullmatch(name) for name in names):
        message = "must be names of events or their first parts, separated by commas: device.registered,sync"
        raise ValidationFailed({"events": {"pattern": {"message": message, "value": text}}})
    return names


def _last(call: Call) -> int | None:
    """Return the id of the last event that the client saw; a browser sends it by itself when it reconnects."""
    text = call.headers.get("Last-Event-ID") or call.query.get("last_event_id", "")
    with contextlib.suppress(ValueError):
        return int(text) if text.isascii() and len(text) <= MAX_ID else None
    return None


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        "GET",
        "/accounts/{account_id}/events",
        listen,
        "Listen to what happens",
        answer="event_stream",
        query=("events", "last_event_id"),
        streams=True,
    ),
)
