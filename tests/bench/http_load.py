"""HTTP clients that keep their connections and ask the same things again and again."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import uvloop

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

CONNECTIONS = 64
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
ANSWER_LIMIT = 120.0  # seconds for a whole run


@dataclass(frozen=True, slots=True)
class Asked:
    """What a run came to; latencies are in seconds, sorted."""

    count: int
    wall: float
    cpu: float
    """Seconds of the clients' own."""
    body: bytes
    """Of the last answer."""
    latencies: list[float]

    @property
    def share(self) -> float:
        """How much of one core the clients took."""
        return self.cpu / self.wall


def ask(port: int, path: str, count: int, headers: Mapping[str, str], *, connections: int = CONNECTIONS) -> Asked:
    """GET the same `count` times; raises RuntimeError for any answer but a success."""
    return uvloop.run(_run(port, [_request("GET", port, path, headers)] * count, connections))


def post(port: int, paths: Iterable[str], headers: Mapping[str, str], *, connections: int = CONNECTIONS) -> Asked:
    """POST to each path once, without a body; raises RuntimeError for any answer but a success."""
    return uvloop.run(_run(port, [_request("POST", port, path, headers) for path in paths], connections))


def _request(method: str, port: int, path: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Accept: */*"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += ["Content-Length: 0"] if method == "POST" else []
    return "\r\n".join([*lines, "\r\n"]).encode()


async def _run(port: int, requests: Sequence[bytes], connections: int) -> Asked:
    loop = asyncio.get_running_loop()
    left = iter(requests)
    clients: list[_Client] = []
    for _ in range(min(connections, len(requests))):
        _, client = await loop.create_connection(lambda: _Client(left), "127.0.0.1", port)
        clients.append(client)
    wall, cpu = time.monotonic(), time.process_time()
    for client in clients:
        client.send()
    await asyncio.wait_for(asyncio.gather(*(client.done for client in clients)), ANSWER_LIMIT)
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    latencies = sorted(each for client in clients for each in client.latencies)
    return Asked(len(requests), wall, cpu, clients[0].body, latencies)


class _Client(asyncio.BufferedProtocol):
    """One connection; an answer is read into one buffer, since a large one would cost more to join than to serve."""

    def __init__(self, left: Iterator[bytes]) -> None:
        self.done = asyncio.get_running_loop().create_future()
        self.latencies: list[float] = []
        self._left = left
        self._buffer = bytearray(65_536)
        self._filled = 0
        self._wanted = 0
        self._head = 0
        self._sent_at = 0.0

    @property
    def body(self) -> bytes:
        """The body of the last answer."""
        return bytes(self._buffer[self._head : self._wanted])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def send(self) -> None:
        """Ask again, or end where everything was asked."""
        request = next(self._left, None)
        if request is None:
            self.done.set_result(None)
            self._transport.close()
            return
        self._filled = self._wanted = 0
        self._sent_at = time.perf_counter()
        self._transport.write(request)

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self._buffer)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes
        if not self._wanted and not self._read_head():
            return
        if self._filled >= self._wanted:
            self.latencies.append(time.perf_counter() - self._sent_at)
            self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(RuntimeError(f"the server closed the connection: {exc}"))

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n", 0, self._filled)
        if end < 0:
            return False
        head = bytes(self._buffer[:end])
        length = LENGTH.search(head)
        if not head.startswith(b"HTTP/1.1 2") or length is None:
            self.done.set_exception(RuntimeError(f"refused: {head!r}"))
            return False
        self._head = end + 4
        self._wanted = self._head + int(length[1])
        if self._wanted > len(self._buffer):
            self._buffer = self._buffer + bytearray(self._wanted + 4096 - len(self._buffer))
        return True
