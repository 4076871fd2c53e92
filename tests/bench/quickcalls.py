"""Quickcalls in bypass: from the API's request to the INVITE on the wire, and calls a second."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from typing import TYPE_CHECKING, cast

import uvloop
from aiohttp import ClientSession
from phones import REALM
from roost import Roost
from table import Samples, show

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PHONES = 200
PACE = 20.0  # calls a second, for the latency
TARGET_MS = 5.0
CALL_LIMIT = 30.0  # seconds until a call must have ended

HEADER = re.compile(rb"^(Via|From|To|Call-ID|CSeq|Contact|Record-Route): *(.*?)\r$", re.MULTILINE | re.IGNORECASE)
NONCE = re.compile(rb'nonce="([^"]+)"')
SDP = b"v=0\r\no=p 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n"


class Handsets(asyncio.DatagramProtocol):
    """Phones behind one socket: they answer every INVITE at once, and the one that was called hangs up."""

    def __init__(self) -> None:
        self.invited: dict[bytes, float] = {}
        """When the first INVITE of each Call-ID came."""
        self.ended = asyncio.Semaphore(0)
        self.registered = asyncio.Semaphore(0)
        self._callers: set[bytes] = set()
        self._dialogs: dict[bytes, dict[bytes, bytes]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        self._local = "{}:{}".format(*transport.get_extra_info("sockname"))

    def register(self, number: int, server: tuple[str, int], authorization: str = "", cseq: int = 1) -> None:
        """Register phone `p<number>`."""
        lines = [
            f"REGISTER sip:{REALM} SIP/2.0",
            f"Via: SIP/2.0/UDP {self._local};rport;branch=z9hG4bK{number}.{cseq}",
            f"From: <sip:p{number}@{REALM}>;tag=f{number}",
            f"To: <sip:p{number}@{REALM}>",
            f"Call-ID: register-{number}",
            f"CSeq: {cseq} REGISTER",
            f"Contact: <sip:p{number}@{self._local}>;expires=600",
            "User-Agent: Yealink SIP-T27G 69.86.0.15",
            *([f"Authorization: {authorization}"] if authorization else []),
            "Content-Length: 0",
        ]
        self._transport.sendto("\r\n".join([*lines, "\r\n"]).encode(), server)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        headers = {name.lower(): value for name, value in HEADER.findall(data)}
        if data.startswith(b"SIP/2.0"):
            self._on_answer(data, headers, addr)
        elif data.startswith(b"INVITE"):
            self._on_invite(headers, addr)
        elif data.startswith(b"ACK"):
            self._on_ack(headers, addr)
        else:
            self._answer(headers, addr, b"")
            if data.startswith(b"BYE"):
                self.ended.release()

    def _on_answer(self, data: bytes, headers: dict[bytes, bytes], addr: tuple[str, int]) -> None:
        if not headers[b"cseq"].endswith(b"REGISTER"):
            return
        number = int(headers[b"call-id"].rpartition(b"-")[2])
        nonce = NONCE.search(data)
        if data.startswith(b"SIP/2.0 401") and nonce is not None:
            self.register(number, addr, _digest(number, nonce[1].decode()), cseq=2)
        elif data.startswith(b"SIP/2.0 200"):
            self.registered.release()

    def _on_invite(self, headers: dict[bytes, bytes], addr: tuple[str, int]) -> None:
        call_id = headers[b"call-id"]
        self.invited.setdefault(call_id, time.perf_counter())
        if call_id.endswith(b"-quickcall"):
            self._callers.add(call_id)
        self._dialogs[call_id] = headers
        self._answer(headers, addr, SDP)

    def _on_ack(self, headers: dict[bytes, bytes], addr: tuple[str, int]) -> None:
        """Hang up, as the phone that was called."""
        call_id = headers[b"call-id"]
        dialog = self._dialogs.pop(call_id, None)
        if dialog is None or call_id in self._callers:
            return
        target = dialog[b"contact"].strip(b"<>")
        lines = [
            b"BYE %s SIP/2.0" % target,
            b"Via: SIP/2.0/UDP %s;rport;branch=z9hG4bKbye%s" % (self._local.encode(), call_id),
            b"From: %s" % headers[b"to"],
            b"To: %s" % headers[b"from"],
            b"Call-ID: %s" % call_id,
            b"CSeq: 1 BYE",
            b"Max-Forwards: 70",
            b"Content-Length: 0",
        ]
        self._transport.sendto(b"\r\n".join([*lines, b"\r\n"]), addr)

    def _answer(self, headers: dict[bytes, bytes], addr: tuple[str, int], body: bytes) -> None:
        to = headers[b"to"] if b";tag=" in headers[b"to"] else headers[b"to"] + b";tag=phone"
        lines = [b"SIP/2.0 200 OK", b"Via: " + headers[b"via"], b"From: " + headers[b"from"], b"To: " + to]
        lines += [b"Call-ID: " + headers[b"call-id"], b"CSeq: " + headers[b"cseq"]]
        lines += [b"Contact: <sip:phone@%s>" % self._local.encode()]
        lines += [b"Content-Type: application/sdp"] if body else []
        lines += [b"Content-Length: %d" % len(body)]
        self._transport.sendto(b"\r\n".join([*lines, b"\r\n"]) + body, addr)


def quickcall(directory: Path, *, full: bool) -> None:
    """Place calls at a pace, and then as fast as they end."""
    roost = Roost(directory / "roost", PHONES, sip_qualify_interval=0, api_burst=10_000, api_rate=10_000)
    samples = Samples()
    try:
        uvloop.run(_measure(roost, samples, rounds=5 if full else 3, calls=1000 if full else 300))
    finally:
        roost.stop()
    show(
        f"Quickcalls in bypass: API, two phones, BYE; latency at {PACE:.0f} calls a second",
        ("", "median of the rounds"),
        [
            [f"request to INVITE, p50 (ms; {TARGET_MS:.0f} wanted)", f"{samples.median('call', 'p50'):.2f}"],
            ["request to INVITE, p99 (ms)", f"{samples.median('call', 'p99'):.2f}"],
            ["calls a second, 32 at a time", f"{samples.median('call', 'rate'):.0f}"],
            ["CPU for each call (us)", f"{samples.median('call', 'cpu'):.0f}"],
            ["calls a second that a whole core is good for", f"{1e6 / samples.median('call', 'cpu'):.0f}"],
        ],
    )


async def _measure(roost: Roost, samples: Samples, *, rounds: int, calls: int) -> None:
    loop = asyncio.get_running_loop()
    transport, phones = await loop.create_datagram_endpoint(Handsets, local_addr=("127.0.0.1", 0))
    for number in range(PHONES):
        phones.register(number, ("127.0.0.1", roost.port))
        await asyncio.wait_for(phones.registered.acquire(), CALL_LIMIT)
    async with ClientSession(headers={"X-Auth-Token": roost.token}) as session:
        await _paced(roost, session, phones, calls=20)
        for _ in range(rounds):
            found = sorted(await _paced(roost, session, phones, calls=calls // 5))
            samples.add("call", "p50", found[len(found) // 2])
            samples.add("call", "p99", found[int(len(found) * 0.99)])
            before, began = roost.cpu(), time.perf_counter()
            await _at_once(roost, session, phones, calls)
            samples.add("call", "rate", calls / (time.perf_counter() - began))
            samples.add("call", "cpu", (roost.cpu() - before) / calls * 1e6)
    transport.close()


async def _paced(roost: Roost, session: ClientSession, phones: Handsets, *, calls: int) -> Sequence[float]:
    """Return the milliseconds from each request to its INVITE."""
    found = []
    for number in range(calls):
        began = time.perf_counter()
        call_id = await _call(roost, session, number)
        await asyncio.wait_for(phones.ended.acquire(), CALL_LIMIT)
        found.append((phones.invited[call_id] - began) * 1e3)
        await asyncio.sleep(max(0.0, 1 / PACE - (time.perf_counter() - began)))
    return found


async def _at_once(roost: Roost, session: ClientSession, phones: Handsets, calls: int) -> None:
    numbers = iter(range(calls))

    async def caller() -> None:
        for number in numbers:
            await _call(roost, session, number)
            await asyncio.wait_for(phones.ended.acquire(), CALL_LIMIT)

    await asyncio.gather(*(caller() for _ in range(32)))


async def _call(roost: Roost, session: ClientSession, number: int) -> bytes:
    """Ask for a call from one phone to another and return the Call-ID of its INVITE."""
    device, called = 2 * number % PHONES, (2 * number + 1) % PHONES
    url = f"{roost.account_url}/devices/{device:032x}/quickcall/p{called}?media=bypass&auto_answer=true"
    async with session.get(url) as answer:
        text = await answer.read()
        if answer.status != 200:
            raise RuntimeError(f"refused: {text!r}")
    call_id: str = json.loads(text)["data"]["endpoints"][0]["outbound_call_id"]
    return call_id.encode()


def _digest(number: int, nonce: str) -> str:
    def md5(text: str) -> str:
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

    response = md5(f"{md5(f'p{number}:{REALM}:secret-{number}')}:{nonce}:{md5(f'REGISTER:sip:{REALM}')}")
    parts = {"username": f"p{number}", "realm": REALM, "nonce": nonce, "uri": f"sip:{REALM}", "response": response}
    return "Digest " + ", ".join(f'{name}="{value}"' for name, value in parts.items())
