"""Bad input at every entry is answered clearly or dropped; nothing stops."""

from __future__ import annotations

import random
import socket
import time
import urllib.error
from typing import TYPE_CHECKING

import pytest
from roost_process import API_HOST, REPOSITORY, Roost, resident_kilobytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sipp_phone import SippPhone

pytestmark = pytest.mark.interop

NOISE = random.Random(4475).randbytes(1_000_000)
TORTURE = REPOSITORY.parent / "shared" / "corpus" / "rfc4475"
GROWTH = 100_000  # kilobytes that the daemon may gain under a megabyte of noise

MALFORMED = [
    pytest.param(b"", id="empty"),
    pytest.param(b"\r\n\r\n", id="keepalive"),
    pytest.param(b"\0" * 600, id="zeros"),
    pytest.param(b"REGISTER\r\n\r\n", id="no-uri"),
    pytest.param(b"REGISTER sip:acme.test SIP/2.0\r\n\r\n", id="no-headers"),
    pytest.param(
        b"REGISTER sip:acme.test SIP/9.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKa\r\n\r\n", id="version"
    ),
    pytest.param(b"SIP/2.0 200 OK\r\nVia: nonsense\r\n\r\n", id="stray-response"),
    pytest.param(b"REGISTER sip:acme.test SIP/2.0\r\nVia: " + b"x" * 60_000 + b"\r\n\r\n", id="endless-header"),
    pytest.param(b"INVITE sip:a@b SIP/2.0\r\n" + b"X: y\r\n" * 9_000 + b"\r\n", id="endless-headers"),
    pytest.param(b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: 99999999999999999999\r\n\r\n", id="endless-body"),
    pytest.param(b"OPTIONS sip:a@b SIP/2.0\r\nContent-Length: -1\r\n\r\n", id="negative-body"),
]


@pytest.fixture(scope="module")
def module_roost(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roost]:
    """Run a daemon that only these tests torment."""
    daemon = Roost(tmp_path_factory.mktemp("tormented")).create().start()
    yield daemon
    assert daemon.stop() == 0


@pytest.fixture
def still_works(module_roost: Roost, sipp_phone: Callable[..., SippPhone]) -> Callable[[], None]:
    """Check that phones register, are shown and are reached, from a source that did nothing wrong."""

    def check() -> None:
        device = module_roost.create_device()
        for transport in ("udp", "tcp"):
            phone = sipp_phone(module_roost, device, transport=transport)
            assert phone.register().status == 200
            assert device.id in module_roost.registered()
            assert module_roost.sync(device).status == 200
            phone.answer(phone.receive("NOTIFY"), "Answer: 200")
            assert phone.register(contact="*", expires=0).status == 200
        assert "Traceback" not in module_roost.log_text()
        assert '"exception"' not in module_roost.log_text()

    return check


def send_datagrams(roost: Roost, source: str, datagrams: list[bytes]) -> None:
    """Send the datagrams from this loopback address, as fast as the daemon's socket buffer allows."""
    with socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.bind((source, 0))
        for count, datagram in enumerate(datagrams):
            udp.sendto(datagram, roost.sip)
            if count % 20 == 19:
                time.sleep(0.005)


def send_stream(address: tuple[str, int], source: str, data: bytes) -> None:
    """Send the bytes on one TCP connection, until the daemon closes it or all is sent."""
    with socket.create_connection(address, timeout=5, source_address=(source, 0)) as tcp:
        try:
            tcp.sendall(data)
            tcp.shutdown(socket.SHUT_WR)
            while tcp.recv(65536):
                pass
        except (ConnectionError, TimeoutError):
            pass


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        pytest.param("PUT", "/devices", b'{"data": {', 400, id="broken-json"),
        pytest.param("PUT", "/devices", b"\xff\xfe\x00", 400, id="not-utf-8"),
        pytest.param("PUT", "/devices", b"[1, 2]", 400, id="no-envelope"),
        pytest.param("PUT", "/devices", b'{"data": 7}', 400, id="data-is-a-number"),
        pytest.param("PUT", "/devices", b'{"data": {}}', 400, id="no-name"),
        pytest.param("PUT", "/devices", b'{"data": ' + b"[" * 100_000, 400, id="deep-json"),
        pytest.param("GET", "/devices/" + "0" * 32, None, 404, id="unknown-device"),
        pytest.param("POST", "/devices/" + "0" * 32 + "/sync", None, 404, id="sync-of-unknown-device"),
        pytest.param("GET", "/devices/" + "0" * 32 + "/quickcall/1?media=bypass", None, 404, id="quickcall-of-unknown"),
        pytest.param("GET", "/devices/%00%ff", None, 404, id="odd-id"),
        pytest.param("TRACE", "/devices", None, 405, id="odd-method"),
    ],
)
def test_bad_requests_to_the_api_get_a_clear_error(
    module_roost: Roost, method: str, path: str, body: bytes | None, status: int
) -> None:
    """Kazoo's error envelope, with the status that says whose fault it is."""
    headers = {"X-Auth-Token": module_roost.token, "Content-Type": "application/json"}

    answer = module_roost.http(method, f"/v2/accounts/{module_roost.account_id}{path}", body, headers)

    assert answer.status == status
    assert answer.body["status"] == "error"
    assert answer.body["error"] == str(status)
    assert answer.body["message"]


@pytest.mark.parametrize("token", ["", "nonsense", "A" * 5000])
def test_a_bad_token_is_refused(module_roost: Roost, token: str) -> None:
    """No token, no devices."""
    path = f"/v2/accounts/{module_roost.account_id}/devices"

    answer = module_roost.http("GET", path, None, {"X-Auth-Token": token} if token else {})

    assert answer.status == 401
    assert answer.body["status"] == "error"


@pytest.mark.parametrize("message", MALFORMED)
def test_malformed_sip_is_dropped_or_refused(
    module_roost: Roost, still_works: Callable[[], None], message: bytes
) -> None:
    """As a datagram and as a stream, alone and twice."""
    send_datagrams(module_roost, "127.0.0.66", [message, (message + message)[:65_507]])
    send_stream(module_roost.sip, "127.0.0.66", message + message)

    still_works()


@pytest.mark.skipif(not TORTURE.is_dir(), reason="the RFC 4475 messages are not beside this checkout")
def test_the_torture_messages_stop_nothing(module_roost: Roost, still_works: Callable[[], None]) -> None:
    """All messages of RFC 4475, as datagrams and as streams."""
    messages = [path.read_bytes() for path in sorted(TORTURE.glob("*.dat"))]
    assert messages
    send_datagrams(module_roost, "127.0.0.67", messages)
    for message in messages:
        send_stream(module_roost.sip, "127.0.0.67", message)

    still_works()


def test_a_megabyte_of_noise_on_every_socket_stops_nothing(
    module_roost: Roost, still_works: Callable[[], None]
) -> None:
    """UDP, TCP SIP and the API: dropped, without keeping it in memory."""
    before = resident_kilobytes(module_roost.pid)
    datagrams = [NOISE[start : start + 1200] for start in range(0, len(NOISE), 1200)]
    send_datagrams(module_roost, "127.0.0.68", datagrams)
    send_stream(module_roost.sip, "127.0.0.68", NOISE)
    send_stream((API_HOST, module_roost.api_port), "127.0.0.68", NOISE)
    headers = {"X-Auth-Token": module_roost.token, "Content-Type": "application/json"}
    path = f"/v2/accounts/{module_roost.account_id}/devices"

    assert module_roost.http("PUT", path, NOISE, headers).status == 400
    still_works()
    assert resident_kilobytes(module_roost.pid) - before < GROWTH


def test_a_body_without_end_is_refused(module_roost: Roost) -> None:
    """More than the API's limit is 413, or the connection is closed (contract 1.4)."""
    headers = {"X-Auth-Token": module_roost.token, "Content-Type": "application/json"}
    path = f"/v2/accounts/{module_roost.account_id}/devices"
    try:
        status = module_roost.http("PUT", path, b" " * 9_000_000, headers).status
    except (urllib.error.URLError, ConnectionError):
        status = 413

    assert status in {400, 413}


def test_noise_inside_a_good_flow_ends_only_that_flow(
    module_roost: Roost, sipp_phone: Callable[..., SippPhone]
) -> None:
    """A registered TCP phone is not disturbed by another connection's noise, not even half a message."""
    device = module_roost.create_device()
    phone = sipp_phone(module_roost, device, transport="tcp")
    assert phone.register().status == 200
    with socket.create_connection(module_roost.sip, timeout=5) as half:
        half.sendall(b"REGISTER sip:acme.test SIP/2.0\r\nVia: SIP/2.0/TCP 127")

        assert module_roost.sync(device).status == 200
        phone.answer(phone.receive("NOTIFY"), "Answer: 200")
