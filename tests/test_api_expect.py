"""Clients that wait for leave to send their body."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from api.body import MAX_BODY

if TYPE_CHECKING:
    from api_client import Api


async def test_client_that_waits_is_told_to_send_its_body(api: Api) -> None:
    """100 Continue comes before the body does, and the answer after it (RFC 9110 10.1.1)."""
    body = b'{"data":{"name":"desk"}}'
    reader, writer = await asyncio.open_connection(api.client.host, api.client.port)
    writer.write(_head(api, len(body)))
    interim = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    writer.write(body)
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    writer.close()

    assert b"HTTP/1.1 100 Continue\r\n\r\n" == interim
    assert answer.startswith(b"HTTP/1.1 201 ")


async def test_client_with_too_large_a_body_is_not_told_to_send_it(api: Api) -> None:
    """What is refused by its length alone is never asked for."""
    reader, writer = await asyncio.open_connection(api.client.host, api.client.port)
    writer.write(_head(api, MAX_BODY + 1))
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    writer.close()

    assert answer.startswith(b"HTTP/1.1 413 ")


def _head(api: Api, length: int) -> bytes:
    lines = [
        f"PUT {api.account}/devices HTTP/1.1",
        "Host: localhost",
        f"X-Auth-Token: {api.token}",
        "Content-Type: application/json",
        f"Content-Length: {length}",
        "Expect: 100-continue",
    ]
    return "\r\n".join([*lines, "\r\n"]).encode()
