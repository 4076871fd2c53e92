"""A phone on the same link that has no address but its link-local one (RFC 4007, RFC 5118)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from sip_user import User, our_request, request_text

from sip.flow import Address, Transport
from sip.io.endpoint import Endpoint
from sip.message import Request, Response, parse_message

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.interop

PHONE = """
import socket, sys
kind, host, port, link = sys.argv[1:]
phone = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM if kind == "UDP" else socket.SOCK_STREAM)
phone.settimeout(5)
phone.connect((host, int(port), 0, socket.if_nametoindex(link)))
phone.send(sys.stdin.buffer.read())
for _ in range(2):
    print(phone.recv(65535).hex(), flush=True)
"""


@pytest.fixture
def link() -> Iterator[tuple[str, str]]:
    """Make a cable to a namespace, named alike at both ends; skip where this machine does not allow it."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("no network namespaces: needs root and ip")
    name = f"roost-l{os.getpid()}"
    made = (
        ("netns", "add", name),
        ("link", "add", name, "type", "veth", "peer", "name", name, "netns", name),
        ("link", "set", name, "addrgenmode", "none"),
        ("link", "set", name, "up"),
        ("-n", name, "link", "set", name, "up"),
        ("addr", "add", "fe80::1/64", "dev", name, "nodad"),
        ("-n", name, "addr", "add", "fe80::2/64", "dev", name, "nodad"),
    )
    try:
        for words in made:
            subprocess.run(["ip", *words], check=True, capture_output=True)
    except subprocess.CalledProcessError as error:
        _remove(name)
        pytest.skip(f"no network namespaces: {error.stderr.decode().strip()}")
    yield name, "fe80::1"
    _remove(name)


def _remove(name: str) -> None:
    for words in (("link", "del", name), ("netns", "del", name)):
        with contextlib.suppress(subprocess.CalledProcessError):
            subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.mark.parametrize("transport", [Transport.UDP, Transport.TCP], ids=["udp", "tcp"])
async def test_a_phone_is_answered_and_asked_at_its_link_local_address(
    link: tuple[str, str], transport: Transport
) -> None:
    """The zone is kept with the flow, and stands in no message."""
    name, host = link
    user = User()
    endpoint = Endpoint(user)
    bound = await endpoint.listen(transport, Address("::", 0))
    phone = await asyncio.create_subprocess_exec(
        *("ip", "netns", "exec", name, sys.executable, "-c", PHONE, transport.value, host, str(bound.port), name),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert phone.stdin is not None
    assert phone.stdout is not None
    phone.stdin.write(request_text("BYE", transport=transport.value))
    phone.stdin.close()
    request, transaction = await asyncio.wait_for(user.requests.get(), 10)
    transaction.respond(Response.to_request(request, 481))
    answer = parse_message(bytes.fromhex((await asyncio.wait_for(phone.stdout.readline(), 10)).decode()))
    endpoint.request(our_request(), transaction.flow, lambda _response: None, lambda _failure: None)
    asked = parse_message(bytes.fromhex((await asyncio.wait_for(phone.stdout.readline(), 10)).decode()))
    await phone.wait()
    await endpoint.close()

    assert "fe80::2" == answer.via.param("received")
    assert isinstance(asked, Request)
    assert ("NOTIFY", "fe80::1") == (asked.method, asked.via.host)
    assert transaction.flow.host.startswith("fe80::2%")
