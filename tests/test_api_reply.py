"""Answers on the wire: what aiohttp would add to a head, and what an answer must not have."""

from __future__ import annotations

import asyncio
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import pytest

from api.reply import head_of

if TYPE_CHECKING:
    from api_client import Api


async def exchange(api: Api, *requests: str) -> bytes:
    """Send the requests in one piece, and return all that comes until the server closes."""
    reader, writer = await asyncio.open_connection(api.client.host, api.client.port)
    writer.write("".join(f"{request}\r\nHost: x\r\n\r\n" for request in requests).encode())
    answers = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return answers


def request(api: Api, method: str = "GET", version: str = "1.1", headers: str = "Connection: close") -> str:
    return f"{method} {api.account}/devices HTTP/{version}\r\nX-Auth-Token: {api.token}\r\n{headers}"


async def test_an_answer_says_when_it_was_made_and_how_long_it_is(api: Api) -> None:
    """Date and Content-Length (RFC 9110 6.6.1, 8.6) stand once each, and the length is right."""
    head, _, body = (await exchange(api, request(api))).partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    names = [line.partition(":")[0] for line in lines]
    headers = dict(line.split(": ", 1) for line in lines)

    assert "HTTP/1.1 200 OK" == status
    assert sorted(set(names)) == sorted(names)
    assert len(body) == int(headers["Content-Length"])
    assert "GMT" == headers["Date"][-3:]
    assert parsedate_to_datetime(headers["Date"]).tzinfo is not None
    assert "close" == headers["Connection"]


async def test_requests_in_one_piece_are_answered_in_their_order(api: Api) -> None:
    """A client may send the next request before it has the answer (RFC 9112 9.3.2)."""
    first = request(api, headers="X-Request-ID: first")
    answers = await exchange(api, first, request(api, headers="X-Request-ID: second\r\nConnection: close"))

    assert 2 == answers.count(b"HTTP/1.1 200 OK")
    assert answers.index(b"X-Request-ID: first") < answers.index(b"X-Request-ID: second")


@pytest.mark.parametrize(
    ("version", "headers", "expected"),
    [
        pytest.param("1.1", "Connection: close", b"close", id="1.1-that-ends"),
        pytest.param("1.0", "Accept: */*", b"close", id="1.0"),
    ],
)
async def test_client_is_told_that_the_connection_ends(api: Api, version: str, headers: str, expected: bytes) -> None:
    """The server closes it as it says (RFC 9112 9.3, 9.6)."""
    assert b"\r\nConnection: %b\r\n" % expected in await exchange(api, request(api, version=version, headers=headers))


async def test_client_of_http_1_0_may_keep_its_connection(api: Api) -> None:
    """It says so, and is told so (RFC 9112 C.2.2)."""
    kept = request(api, version="1.0", headers="Connection: keep-alive")
    answers = await exchange(api, kept, request(api, version="1.0", headers="Connection: close"))

    assert 2 == answers.count(b" 200 OK\r\n")
    assert 1 == answers.count(b"\r\nConnection: keep-alive\r\n")


@pytest.mark.parametrize("times", [1, 2])
async def test_head_has_the_head_of_the_get_and_no_body(api: Api, times: int) -> None:
    """Content-Length is that of the GET (RFC 9110 9.3.2), also when the request is known again."""
    fixed = "X-Request-ID: same\r\nConnection: close"
    for _ in range(times):
        got = await exchange(api, request(api, headers=fixed))
        told = await exchange(api, request(api, "HEAD", headers=fixed))
    head, _, _ = got.partition(b"\r\n\r\n")

    assert b"" == told.partition(b"\r\n\r\n")[2]
    assert _but_date(head) == _but_date(told.partition(b"\r\n\r\n")[0])


async def test_304_has_no_body_and_no_length(api: Api) -> None:
    """It would be taken for the length of what was not sent (RFC 9110 8.6, 15.4.5)."""
    await api.put_device()
    etag = (await api.send("GET", "/devices")).headers["ETag"]
    answer = await exchange(api, request(api, headers=f"If-None-Match: {etag}\r\nConnection: close"))

    assert answer.startswith(b"HTTP/1.1 304 Not Modified\r\n")
    assert b"Content-Length" not in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b", "a\0b", "a\udcffb"])
def test_a_header_is_one_line(value: str) -> None:
    """Nothing that a client may have chosen becomes a header of its own."""
    with pytest.raises(ValueError, match="cannot hold"):
        head_of(200, {"Location": value})


def _but_date(head: bytes) -> list[bytes]:
    return [line for line in head.split(b"\r\n") if not line.startswith(b"Date:")]
