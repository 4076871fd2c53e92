"""What tests of sockets share: somebody above the endpoint, requests as text, and a stream that speaks SIP by hand."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING

from sip.message import Request, Response, parse_message
from sip.uas import options_answer

if TYPE_CHECKING:
    import ssl

    from sip.flow import Address, Flow
    from sip.io.exchange import ServerTransaction

LOCALHOST = "127.0.0.1"
WAIT = 20.0  # seconds; only what fails waits so long, also on a busy machine

_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)")


class User:
    """Answers OPTIONS, keeps everything else."""

    def __init__(self) -> None:
        self.requests: asyncio.Queue[tuple[Request, ServerTransaction]] = asyncio.Queue()
        self.lost: asyncio.Queue[Flow] = asyncio.Queue()
        self.acks: asyncio.Queue[Request] = asyncio.Queue()

    def is_welcome(self, request: Request, flow: Flow) -> bool:
        return True

    def on_request(self, request: Request, transaction: ServerTransaction) -> None:
        if request.method == "OPTIONS":
            transaction.respond(options_answer(request))
        else:
            self.requests.put_nowait((request, transaction))

    def on_ack(self, request: Request, flow: Flow) -> None:
        self.acks.put_nowait(request)

    def on_flow_lost(self, flow: Flow) -> None:
        self.lost.put_nowait(flow)


def request_text(
    method: str = "OPTIONS",
    branch: str = "z9hG4bK1",
    *,
    transport: str = "TCP",
    sent_by: str = "10.9.9.9:5060",
    call_id: str = "c1",
) -> bytes:
    """Return a request as a phone sends it."""
    return (
        f"{method} sip:bob@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/{transport} {sent_by};rport;branch={branch}\r\n"
        f"From: <sip:bob@acme.test>;tag=a\r\nTo: <sip:bob@acme.test>\r\nCall-ID: {call_id}\r\nCSeq: 1 {method}\r\n"
        "Content-Length: 0\r\n\r\n"
    ).encode()


def our_request(method: str = "NOTIFY") -> Request:
    """Return a request of ours, without a Via."""
    request = Request(method, "sip:bob@127.0.0.1")
    headers = {"From": "<sip:roost@h>;tag=r", "To": "<sip:bob@acme.test>", "Call-ID": "ours", "CSeq": f"1 {method}"}
    for name, value in headers.items():
        request.add(name, value)
    return request


class StreamPhone:
    """A TCP or TLS connection that speaks SIP by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(
        cls, server: Address, context: ssl.SSLContext | None = None, name: str | None = None
    ) -> StreamPhone:
        name = name or (server.host if context else None)
        return cls(*await asyncio.open_connection(*server, ssl=context, server_hostname=name))

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def receive(self) -> Request | Response:
        """Return the next message."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), WAIT)
        length = _LENGTH.search(head)
        return parse_message(head + await self.reader.readexactly(int(length[1]) if length else 0))

    async def ask(self, branch: str = "z9hG4bK1", *, transport: str = "TCP") -> int:
        """Send an OPTIONS and return the status of its answer."""
        self.send(request_text(branch=branch, transport=transport))
        response = await self.receive()
        assert isinstance(response, Response)
        return response.status

    async def until_closed(self) -> bytes:
        """Return all that still comes until the daemon closes the connection."""
        rest = b""
        try:
            while data := await asyncio.wait_for(self.reader.read(65536), WAIT):
                rest += data
        except ConnectionError:
            pass
        return rest

    async def close(self) -> None:
        self.writer.transport.abort()
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()
