"""Requests to webhooks on real sockets: where they do not go, and what they do not wait for."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver
from yarl import URL

from daemon.egress import anywhere, out_of_bounds
from daemon.webhook import WebhookRequest
from daemon.webhook_client import WebhookClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from aiohttp.abc import ResolveResult

    Serve = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Names(AbstractResolver):
    """A name server that says something else each time."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        address = self.addresses.pop(0) if len(self.addresses) > 1 else self.addresses[0]
        return [{"hostname": host, "host": address, "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}]

    async def close(self) -> None:
        pass


class Site:
    """A server on loopback that notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.serve: Serve = self._take
        self.port = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path}")
        return await self.serve(request)

    async def _take(self, request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=204)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    runner = web.ServerRunner(web.Server(site.handle), shutdown_timeout=0.1)
    await runner.setup()
    listener = web.TCPSite(runner, "127.0.0.1", 0)
    await listener.start()
    site.port = runner.addresses[0][1]
    yield site
    await runner.cleanup()


@pytest.fixture
async def clients() -> AsyncIterator[Callable[..., WebhookClient]]:
    made: list[WebhookClient] = []

    def make(**options: Any) -> WebhookClient:
        made.append(WebhookClient(**{"timeout": 5.0, "judge": anywhere, **options}))
        return made[-1]

    yield make
    for client in made:
        await client.close()


def request(site: Site, host: str = "127.0.0.1", path: str = "/in") -> WebhookRequest:
    return WebhookRequest("POST", URL(f"http://{host}:{site.port}{path}"), {}, b"{}")


Clients = "Callable[..., WebhookClient]"


async def test_2xx_is_a_delivery(site: Site, clients: Clients) -> None:
    """And nothing else is."""
    client = clients()
    assert (await client.send(request(site))).delivered
    for status in (301, 400, 404, 410, 500, 503):

        async def serve(_: web.BaseRequest, status: int = status) -> web.StreamResponse:
            return web.Response(status=status)

        site.serve = serve
        outcome = await client.send(request(site))
        assert (outcome.status, outcome.delivered) == (status, False)


async def test_redirects_are_not_followed(site: Site, clients: Clients) -> None:
    """They could lead anywhere."""

    async def serve(_: web.BaseRequest) -> web.StreamResponse:
        raise web.HTTPTemporaryRedirect("/elsewhere")

    site.serve = serve
    outcome = await clients().send(request(site))

    assert outcome.status == 307
    assert site.asked == ["POST /in"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0"])
async def test_nothing_is_sent_to_this_host(site: Site, clients: Clients, host: str) -> None:
    """By number or by name."""
    outcome = await clients(judge=out_of_bounds).send(request(site, host))

    assert outcome.status is None
    assert "nothing is sent there" in outcome.reason
    assert site.asked == []


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0x7f.0.0.1", "0177.0.0.1"])
async def test_nothing_is_sent_to_odd_numbers(site: Site, clients: Clients, host: str) -> None:
    """Ways to write an address that some libraries take."""
    outcome = await clients(judge=out_of_bounds).send(request(site, host))

    assert outcome.status is None
    assert site.asked == []


async def test_a_name_that_changes_its_address_gains_nothing(site: Site, clients: Clients) -> None:
    """It is judged by the address of each connection, not by an earlier look-up."""

    def judge(host: str) -> str | None:
        return None if host == "127.0.0.1" else "elsewhere"

    async def serve(_: web.BaseRequest) -> web.StreamResponse:
        answer = web.Response(status=204)
        answer.force_close()
        return answer

    site.serve = serve
    client = clients(judge=judge, resolver=Names("127.0.0.1", "127.0.0.2"))
    first = await client.send(request(site, "rebind.test"))
    second = await client.send(request(site, "rebind.test"))

    assert first.delivered
    assert second.status is None
    assert "127.0.0.2 is elsewhere" in second.reason
    assert len(site.asked) == 1


async def test_a_target_that_does_not_answer_is_given_up(site: Site, clients: Clients) -> None:
    """Others are served meanwhile."""
    never = asyncio.Event()

    async def serve(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/slow":
            await never.wait()
        return web.Response(status=204)

    site.serve = serve
    client = clients(timeout=0.3)
    slow = asyncio.create_task(client.send(request(site, path="/slow")))
    await asyncio.sleep(0)

    assert (await client.send(request(site))).delivered
    assert not slow.done()
    assert (await slow).reason == "no answer in time"
    never.set()


async def test_an_endless_answer_is_cut(site: Site, clients: Clients) -> None:
    """The status is all that matters."""

    async def serve(request: web.BaseRequest) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        try:
            while True:
                await answer.write(b"x" * 65_536)
        except ConnectionError:
            return answer

    site.serve = serve

    assert (await asyncio.wait_for(clients(timeout=60.0).send(request(site)), 5)).delivered


async def test_nobody_there(clients: Clients, site: Site) -> None:
    """Refused connections, unknown names and no HTTP are told, not raised."""
    site.port = 1
    client = clients()

    assert (await client.send(request(site))).status is None
    assert (await client.send(request(site, "name.invalid"))).status is None
