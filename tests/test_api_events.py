"""Server-sent events over HTTP (WHATWG HTML 9.2)."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from api import events

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import ClientResponse
    from api_client import Api


@asynccontextmanager
async def listening(api: Api, query: str = "", **options: Any) -> AsyncIterator[ClientResponse]:
    """Listen to the master account; past the first field when this begins."""
    response = await api.send("GET", f"/events{query}", **options)
    try:
        assert response.status == 200
        assert b"retry: 5000\n\n" == await response.content.readuntil(b"\n\n")
        yield response
    finally:
        response.close()


async def read(response: ClientResponse) -> dict[str, str]:
    """Return the fields of the next event."""
    block = b":"
    while block.startswith(b":"):
        block = await asyncio.wait_for(response.content.readuntil(b"\n\n"), 5)
    return dict(line.split(": ", 1) for line in block.decode().strip().split("\n"))


def emit(api: Api, name: str = "device.registered", **data: object) -> None:
    api.events.emit(api.master.account_id, name, data)


async def test_events_as_they_happen(api: Api) -> None:
    """With id, name and the event as JSON, uncached and unbuffered."""
    async with listening(api) as response:
        emit(api, device_id="d", text="line\nbreak")
        fields = await read(response)

    data = orjson.loads(fields["data"])
    assert response.headers["Content-Type"] == "text/event-stream"
    assert response.headers["Cache-Control"] == "no-store"
    assert fields["event"] == "device.registered"
    assert fields["id"] == str(data["id"])
    assert data["text"] == "line\nbreak"
    assert data["account_id"] == api.master.account_id


async def test_only_the_events_asked_for(api: Api) -> None:
    """By names or nouns."""
    async with listening(api, "?events=sync,device.expired") as response:
        for name in ("device.registered", "device.expired", "quickcall.ended", "sync.delivered"):
            emit(api, name)

        assert [(await read(response))["event"] for _ in range(2)] == ["device.expired", "sync.delivered"]


@pytest.mark.parametrize("names", ["device.", "DEVICE", "a b", "x" * 3 + "," * 51 + "1", ",".join(["a"] * 51)])
async def test_names_that_cannot_be(api: Api, names: str) -> None:
    """A filter that nothing would ever pass is refused."""
    envelope = await api.ask("GET", "/events", params={"events": names}, status=400)

    assert "pattern" in envelope["data"]["events"]


@pytest.mark.parametrize("how", ["header", "parameter"])
async def test_resumption(api: Api, how: str) -> None:
    """A browser sends Last-Event-ID by itself."""
    async with listening(api) as response:
        emit(api)
        seen = (await read(response))["id"]
    emit(api, number=2)
    headers = {"Last-Event-ID": seen} if how == "header" else {}
    async with listening(api, "" if how == "header" else f"?last_event_id={seen}", headers=headers) as response:
        fields = await read(response)

    assert orjson.loads(fields["data"])["number"] == 2


@pytest.mark.parametrize("last", ["", "x", "9" * 30, "\u0663"])
async def test_resumption_after_what_is_no_id(api: Api, last: str) -> None:
    """It begins with what happens next."""
    emit(api, number=1)
    async with listening(api, f"?last_event_id={last}") as response:
        emit(api, number=2)

        assert orjson.loads((await read(response))["data"])["number"] == 2


async def test_other_accounts_are_not_heard(api: Api) -> None:
    """Who listens must be let in, and hears the account of the path."""
    child, token = await api.child()
    await api.ask("GET", "/events", token=None, status=401)
    await api.ask("GET", "/events", token=token, status=403)
    async with listening(api) as response:
        api.events.emit(child.account_id, "device.registered", {})
        emit(api, "device.expired")

        assert (await read(response))["event"] == "device.expired"


async def test_silence_is_filled(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comment keeps proxies from closing the connection."""
    monkeypatch.setattr(events, "KEEPALIVE", 0.01)
    async with listening(api) as response:
        assert b":\n\n" == await response.content.readuntil(b"\n\n")


async def test_a_token_that_ends_ends_the_stream(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked at again while the stream is open."""
    monkeypatch.setattr(events, "KEEPALIVE", 0.01)
    monkeypatch.setattr(events, "WELCOME", 0.0)
    async with listening(api) as response:
        await api.store.tokens.revoke(api.token)
        await asyncio.wait_for(response.content.read(), 5)

        assert response.content.at_eof()


async def test_an_account_that_is_gone_ends_the_stream(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that let the listener in is looked at again, not the token alone."""
    monkeypatch.setattr(events, "KEEPALIVE", 0.01)
    monkeypatch.setattr(events, "WELCOME", 0.0)
    child, _ = await api.child()
    response = await api.send("GET", f"/v2/accounts/{child.account_id}/events")
    await response.content.readuntil(b":\n\n")
    await api.ask("DELETE", f"/v2/accounts/{child.account_id}")

    assert b"" == (await asyncio.wait_for(response.content.read(), 5)).strip(b":\n")


async def test_a_stop_ends_the_stream(api: Api) -> None:
    """At once, and cleanly."""
    async with listening(api) as response:
        await api.events.close()

        assert b"" == (await asyncio.wait_for(response.content.read(), 5)).strip(b":\n")


async def test_who_goes_away_listens_no_more(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is noticed by the next thing that is sent."""
    monkeypatch.setattr(events, "KEEPALIVE", 0.01)
    monkeypatch.setattr("daemon.events.MAX_LISTENERS_OF_ACCOUNT", 1)
    async with listening(api):
        refused = await api.send("GET", "/events")
        assert refused.status == 429
        assert refused.headers["Retry-After"] == "5"
    for _ in range(500):
        response = await api.send("GET", "/events")
        response.close()
        if response.status == 200:
            break
        await asyncio.sleep(0.01)

    assert response.status == 200


async def test_a_client_that_reads_nothing_is_dropped(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else waits for it."""
    monkeypatch.setattr(events, "WRITE_LIMIT", 0.05)
    monkeypatch.setattr("daemon.events.MAX_LISTENERS_OF_ACCOUNT", 2)
    async with listening(api), listening(api, "?events=sync") as quick:
        for number in range(200):
            emit(api, text="x" * 100_000)
            if number % 20 == 0:
                await asyncio.sleep(0.01)
        emit(api, "sync.delivered")

        assert (await read(quick))["event"] == "sync.delivered"
        for _ in range(500):
            response = await api.send("GET", "/events")
            response.close()
            if response.status == 200:
                break
            await asyncio.sleep(0.01)
        assert response.status == 200


async def test_head_and_accept(api: Api) -> None:
    """A HEAD ends at once; a client of events need not take JSON, one that takes neither gets 406."""
    response = await asyncio.wait_for(api.send("HEAD", "/events"), 5)
    assert response.headers["Content-Type"] == "text/event-stream"
    async with listening(api, headers={"Accept": "text/event-stream"}):
        pass
    assert (await api.send("GET", "/events", headers={"Accept": "text/html"})).status == 406
    assert (await api.send("GET", "/devices", headers={"Accept": "text/event-stream"})).status == 406
