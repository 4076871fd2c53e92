"""Calls with their media in the daemon's workers: what each costs, what is heard, and how soon a phone is rung."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from statistics import median
from typing import TYPE_CHECKING, Any

import aiohttp
from roost import Roost
from rtp import Media
from table import show

from daemon.quickcall import CALL_ID_SUFFIX
from sip.flow import Address, Transport
from sip.io.endpoint import Endpoint
from sip.message import Response
from sip.sdp import CONTENT_TYPE, SessionDescription

if TYPE_CHECKING:
    from pathlib import Path

    from processes import ServerProcess

    from sip.flow import Flow
    from sip.io.exchange import ServerTransaction
    from sip.message import Request

DEVICE, NUMBER = "bench-device", "5551234"
TONES = {DEVICE: (440, 1000), NUMBER: (1000, 440)}
"""What each plays and hears."""
SETTINGS = {"media_max_calls": 100, "media_port_range": "2000-2399", "api_rate": 100_000, "api_burst": 100_000}
SETTLE = 3.0
"""Seconds of talk before it is measured."""


class Callees:
    """Every phone of the bench: an endpoint that answers at once. Implements `sip.io.endpoint.TransactionUser`."""

    def __init__(self, media: Media) -> None:
        self._media = media
        self._endpoint = Endpoint(self)
        self.address = Address("127.0.0.1", 0)
        self.rung = asyncio.Queue[float]()

    async def listen(self) -> None:
        self.address = await self._endpoint.listen(Transport.UDP, self.address)

    async def close(self) -> None:
        await self._endpoint.close()

    def is_welcome(self, _request: Request, _flow: Flow) -> bool:
        return True

    def on_request(self, request: Request, transaction: ServerTransaction) -> None:
        response = Response.to_request(request, 200)
        if request.method == "INVITE":
            user = request.uri.partition(":")[2].partition("@")[0]
            if user == DEVICE:
                self.rung.put_nowait(time.perf_counter())
            offer = SessionDescription.parse(request.body)
            self._media.add(offer.media[0].port, *TONES[user])
            response.set("Contact", f"<sip:{user}@{self.address}>")
            response.set("Content-Type", CONTENT_TYPE)
            response.body = self._answer()
        transaction.respond(response)

    def on_ack(self, request: Request, flow: Flow) -> None:
        """Take no notice."""

    def on_flow_lost(self, flow: Flow) -> None:
        """Take no notice."""

    def _answer(self) -> bytes:
        lines = ["v=0", "o=bench 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0"]
        lines.append(f"m=audio {self._media.port} RTP/AVP 0")
        return "".join(f"{line}\r\n" for line in lines).encode()


class Caller:
    """Asks for calls through the API."""

    def __init__(self, roost: Roost, http: aiohttp.ClientSession) -> None:
        self._url = roost.account_url
        self._http = http
        self._device = ""

    async def make_device(self, address: Address) -> None:
        sip = {"invite_format": "route", "route": f"sip:{DEVICE}@{address}", "username": DEVICE, "password": "x" * 12}
        self._device = (await self._ask("PUT", "/devices", {"name": "Bench", "sip": sip}))["id"]

    async def call(self) -> None:
        await self._ask("GET", f"/devices/{self._device}/quickcall/{NUMBER}")

    async def channels(self) -> list[Any]:
        return list(await self._ask("GET", "/channels"))

    async def hang_up(self) -> None:
        devices = (channel for channel in await self.channels() if channel["uuid"].endswith(CALL_ID_SUFFIX))
        for channel in devices:
            await self._ask("POST", f"/channels/{channel['uuid']}", {"action": "hangup"})
        while await self.channels():
            await asyncio.sleep(0.05)

    async def _ask(self, method: str, path: str, data: object = None) -> Any:
        body = None if data is None else {"data": data}
        async with self._http.request(method, self._url + path, json=body) as response:
            answer = await response.json()
            if not response.ok:
                raise RuntimeError(f"{method} {path}: {response.status} {answer}")
            return answer["data"]


def media(directory: Path, *, full: bool) -> None:
    """Measure calls in steps, and the time from the API to the phone."""
    asyncio.run(_media(directory, steps=(1, 10, 25, 50, 100) if full else (1, 10, 25), times=100 if full else 40))


async def _media(directory: Path, *, steps: tuple[int, ...], times: int) -> None:
    rows, delays = [], {}
    for warm in (2, 0):
        async with AsyncExitStack() as stack:
            streams = stack.enter_context(Media())
            callees = Callees(streams)
            await callees.listen()
            stack.push_async_callback(callees.close)
            roost = await asyncio.to_thread(
                Roost, directory / f"warm-{warm}", 1, **SETTINGS, media_workers=warm,
                quickcall_route=f"sip:{{number}}@{callees.address}",
            )  # fmt: skip
            stack.callback(roost.stop)
            http = await stack.enter_async_context(aiohttp.ClientSession(headers={"X-Auth-Token": roost.token}))
            caller = Caller(roost, http)
            await caller.make_device(callees.address)
            delays[warm] = await _ring(caller, callees, times)
            if warm:
                for calls in steps:
                    rows.append(await _step(roost, caller, streams, calls, seconds=10 if len(steps) > 3 else 5))
    show(
        "Calls with their media here, PCMU at both ends",
        (
            "calls",
            "CPU of a core each: worker",
            "daemon",
            "memory each (MiB)",
            "packets lost",
            "late",
            "tone heard, least",
        ),
        rows,
    )
    show(
        "From the API's request to the INVITE at the phone (ms)",
        ("media.workers", "p50", "p90", "longest"),
        [
            [
                str(warm),
                *(f"{value * 1000:.1f}" for value in (median(found), sorted(found)[len(found) * 9 // 10], max(found))),
            ]
            for warm, found in delays.items()
        ],
    )


async def _ring(caller: Caller, callees: Callees, times: int) -> list[float]:
    """Return how long it took each time until the phone was rung; a worker had the time to become warm."""
    delays = []
    for _ in range(times):
        began = time.perf_counter()
        await caller.call()
        delays.append(await callees.rung.get() - began)
        await caller.hang_up()
        await asyncio.sleep(0.3)
    return delays


async def _step(roost: Roost, caller: Caller, streams: Media, calls: int, *, seconds: int) -> list[str]:
    streams.streams.clear()
    await asyncio.sleep(1)  # the workers of the last step leave
    idle = roost.resident()
    for _ in range(calls):
        await caller.call()
        await asyncio.sleep(0.05)
    while len(await caller.channels()) < 2 * calls or len(streams.streams) < 2 * calls:
        await asyncio.sleep(0.1)
    await asyncio.sleep(SETTLE)
    memory = roost.resident() - idle
    before, own = roost.cpu(), _own(roost)
    for stream in streams.streams.values():
        stream.begin()
    await asyncio.sleep(seconds)
    all_cpu, own = roost.cpu() - before, _own(roost) - own
    found = list(streams.streams.values())
    expected = sum(stream.packets + stream.lost for stream in found) or 1
    row = [
        str(calls),
        f"{(all_cpu - own) / seconds / calls:.2%}",
        f"{own / seconds / calls:.2%}",
        f"{memory / calls / 2**20:.1f}",
        f"{sum(stream.lost for stream in found) / expected:.2%}",
        f"{sum(stream.late for stream in found) / expected:.2%}",
        f"{min(stream.share for stream in found):.2f}",
    ]
    await caller.hang_up()
    return row


def _own(roost: ServerProcess) -> float:
    return time.clock_gettime((~roost.pid << 3) | 2)
