"""HTTP itself: aiohttp's low-level server with one handler for all paths.

The API has a router and a table of errors of its own; an `Application` would do the same once more for every request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

from aiohttp import web

from api.body import MAX_BODY

if TYPE_CHECKING:
    from aiohttp import StreamReader
    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.http import RawRequestMessage

Handler: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def make_server(handler: Handler) -> web.Server:
    """Return a server that asks the handler for everything. Call it within the event loop that will run it."""
    loop = asyncio.get_running_loop()

    def make_request(
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=MAX_BODY)

    return web.Server(handler, request_factory=make_request, access_log=None)
