"""Sends requests to webhooks: to nowhere out of bounds, without following redirects, within limits."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import aiohttp

from daemon.egress import Resolver, guarded_socket, out_of_bounds

if TYPE_CHECKING:
    from aiohttp.abc import AbstractResolver

    from daemon.egress import Judge
    from daemon.webhook import WebhookRequest

MAX_ANSWER: Final = 4096  # bytes of an answer's body that are read, so that its connection can be used again
MAX_HEADER: Final = 8190  # bytes of a header of the answer
MAX_REASON: Final = 256  # characters of what is noted of a failure
UNDER_WAY: Final = 500  # requests at once; each has a socket, and SIP needs some too


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request."""

    status: int | None
    """None where there was no answer."""
    reason: str
    took: float
    """Seconds."""

    @property
    def delivered(self) -> bool:
        """Whether the event arrived."""
        return self.status is not None and 200 <= self.status < 300


class WebhookClient:
    """Open it within the event loop, and close it. `judge` says why an address is out of bounds."""

    def __init__(
        self,
        *,
        timeout: float,
        judge: Judge = out_of_bounds,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._resolver = resolver or Resolver()
        connector = aiohttp.TCPConnector(
            resolver=self._resolver,
            use_dns_cache=False,  # each look-up is for one connection, which is judged by itself
            socket_factory=guarded_socket(judge),
            limit=0,  # `_places` limits them; here the wait would count against a request's time
            keepalive_timeout=30.0,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=timeout),
            max_line_size=MAX_HEADER,
            max_field_size=MAX_HEADER,
            raise_for_status=False,
            auto_decompress=False,
        )
        self._places = asyncio.Semaphore(UNDER_WAY)

    async def send(self, request: WebhookRequest) -> Outcome:
        """Send a request and return what became of it."""
        async with self._places:
            begun = time.monotonic()
            try:
                status, reason = await self._exchange(request)
            except (TimeoutError, asyncio.TimeoutError):
                status, reason = None, "no answer in time"
            except (aiohttp.ClientError, OSError, ValueError) as error:
                status, reason = None, str(error)[:MAX_REASON] or type(error).__name__
            return Outcome(status, reason, time.monotonic() - begun)

    async def _exchange(self, request: WebhookRequest) -> tuple[int, str]:
        async with self._session.request(
            request.method, request.url, data=request.body, headers=request.headers, allow_redirects=False
        ) as response:
            await response.content.read(MAX_ANSWER)
            return response.status, (response.reason or "")[:MAX_REASON]

    async def close(self) -> None:
        """Close every connection; requests under way fail."""
        await self._session.close()
        await self._resolver.close()
