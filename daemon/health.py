"""What monitoring asks by HTTP: /healthz, /readyz and /metrics, outside the API and without a token.

Rule: on the API's address only clients on this host are answered, for whoever proxies the API must not publish them.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from aiohttp import web

from daemon.metrics import CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from api.server import Handler
    from daemon.metrics import Metrics
    from daemon.vitals import Vitals

PROXIED: Final = ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via")
"""Headers by which a request tells that it came through a proxy, so that its source is not the client."""
HEADERS: Final = {"Cache-Control": "no-store", "Server": "Roost"}


class Health:
    """Answers for the daemon."""

    def __init__(self, metrics: Metrics, vitals: Vitals) -> None:
        self._metrics = metrics
        self._vitals = vitals

    def pages(self) -> Mapping[str, Handler]:
        """Return the three paths with their handlers."""
        return {"/healthz": self._healthz, "/readyz": self._readyz, "/metrics": self._scrape}

    def local_pages(self) -> Mapping[str, Handler]:
        """Return the same for clients on this host alone."""
        return {path: _for_this_host(handler) for path, handler in self.pages().items()}

    async def _healthz(self, _request: web.BaseRequest) -> web.StreamResponse:
        """Tell that the process is there and its loop turns."""
        return web.json_response({"status": "alive"}, headers=HEADERS)

    async def _readyz(self, _request: web.BaseRequest) -> web.StreamResponse:
        """Tell whether phones and clients are served: listeners answer, the store takes writes."""
        faults = await self._vitals.check()
        body = {"status": "failing" if faults else "ready", "faults": dict(faults)}
        return web.json_response(body, status=503 if faults else 200, headers=HEADERS)

    async def _scrape(self, _request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=await self._metrics.render(), headers={**HEADERS, "Content-Type": CONTENT_TYPE})


def _for_this_host(handler: Handler) -> Handler:
    async def guarded(request: web.BaseRequest) -> web.StreamResponse:
        if not _is_local(request):
            return web.Response(status=404, headers=HEADERS)
        return await handler(request)

    return guarded


def _is_local(request: web.BaseRequest) -> bool:
    if any(name in request.headers for name in PROXIED):
        return False
    try:
        address = ip_address(request.remote or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
