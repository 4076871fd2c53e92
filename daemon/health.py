"""What monitoring asks by HTTP: /healthz, /readyz and /metrics, outside the API and without a token.

Rule: on the API's address only clients on this host are answered, for whoever proxies the API must not publish them.
"""

from __future__ import annotations

import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from aiohttp import web

from daemon.metrics import CONTENT_TYPE

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler, Middleware

    from daemon.figures import RequestFigures
    from daemon.metrics import Metrics
    from daemon.vitals import Vitals

PROXIED: Final = ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via")
"""Headers by which a request tells that it came through a proxy, so that its source is not the client."""
METHODS: Final = frozenset({"GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"})
HEADERS: Final = {"Cache-Control": "no-store", "Server": "Roost"}


def counting(figures: RequestFigures) -> Middleware:
    """Return the middleware that counts an application's requests."""

    @web.middleware
    async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
        began = time.monotonic()
        response = await handler(request)
        method = request.method if request.method in METHODS else "other"
        figures.counts[method, str(response.status)] += 1
        if isinstance(response, web.Response):
            figures.seconds.observe(time.monotonic() - began)
        return response

    return count


class Health:
    """Answers for the daemon."""

    def __init__(self, metrics: Metrics, vitals: Vitals) -> None:
        self._metrics = metrics
        self._vitals = vitals

    def add_to(self, app: web.Application, *, local_only: bool) -> None:
        """Serve the three paths in the application, where `local_only` is set to clients on this host alone."""
        handlers = {"/healthz": self._healthz, "/readyz": self._readyz, "/metrics": self._scrape}
        for path, handler in handlers.items():
            app.router.add_get(path, _for_this_host(handler) if local_only else handler)

    async def _healthz(self, _request: web.Request) -> web.StreamResponse:
        """Tell that the process is there and its loop turns."""
        return web.json_response({"status": "alive"}, headers=HEADERS)

    async def _readyz(self, _request: web.Request) -> web.StreamResponse:
        """Tell whether phones and clients are served: listeners answer, the store takes writes."""
        faults = await self._vitals.check()
        body = {"status": "failing" if faults else "ready", "faults": dict(faults)}
        return web.json_response(body, status=503 if faults else 200, headers=HEADERS)

    async def _scrape(self, _request: web.Request) -> web.StreamResponse:
        return web.Response(body=self._metrics.render(), headers={**HEADERS, "Content-Type": CONTENT_TYPE})


def _for_this_host(handler: Handler) -> Handler:
    async def guarded(request: web.Request) -> web.StreamResponse:
        if not _is_local(request):
            raise web.HTTPNotFound(headers=HEADERS)
        return await handler(request)

    return guarded


def _is_local(request: web.Request) -> bool:
    if any(name in request.headers for name in PROXIED):
        return False
    try:
        address = ip_address(request.remote or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
