"""What an address of ours answers by HTTP: some pages, and the API for all other paths."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from aiohttp import web

from api.reply import Reply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from api.server import Handler
    from daemon.figures import RequestFigures

METHODS: Final = frozenset({"GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"})


async def nothing(_request: web.BaseRequest) -> web.StreamResponse:
    """Answer that there is no such page."""
    return web.Response(status=404)


class Front:
    """Hands requests on by their paths, and counts them in `figures`."""

    def __init__(
        self, pages: Mapping[str, Handler], otherwise: Handler = nothing, figures: RequestFigures | None = None
    ) -> None:
        self._pages = pages
        self._otherwise = otherwise
        self._figures = figures

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request."""
        began = time.monotonic()
        handler = self._pages.get(request.rel_url.raw_path)
        if handler is None or request.method not in ("GET", "HEAD"):
            handler = self._otherwise
        response = await handler(request)
        if self._figures is not None:
            method = request.method if request.method in METHODS else "other"
            self._figures.counts[method, response.status] += 1
            if isinstance(response, (Reply, web.Response)):  # and no stream
                self._figures.seconds.observe(time.monotonic() - began)
        return response
