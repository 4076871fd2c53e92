"""SIP over TLS on the loopback: listeners, certificates, and connections of our own."""

from __future__ import annotations

import asyncio
import ssl
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization
from sip_user import LOCALHOST, WAIT, StreamPhone, User, our_request, request_text

from daemon.selfsigned import make_pair
from sip.errors import TransportFailed
from sip.flow import Address, Transport
from sip.io.endpoint import Endpoint
from sip.io.policy import EndpointPolicy
from sip.io.tls import TlsFiles, TlsUnusable
from sip.message import Request, Response
from sip.patience import StreamLimits
from sip.uri import SipUri

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Start = Callable[[TlsFiles], Awaitable[Endpoint]]

NAMES = ("pbx.test", LOCALHOST, "::1")
NOW = datetime.now(timezone.utc).replace(microsecond=0)


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    """Make a certificate and a key."""
    return written(tmp_path / "first")


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start an endpoint with TLS on the loopback."""
    started: list[Endpoint] = []

    async def start(files: TlsFiles) -> Endpoint:
        endpoint = Endpoint(User(), EndpointPolicy(tls=files))
        started.append(endpoint)
        await endpoint.listen(Transport.TLS, Address(LOCALHOST, 0))
        return endpoint

    yield start
    for endpoint in started:
        await endpoint.close()


def written(folder: Path, *, days: int = 30) -> TlsFiles:
    folder.mkdir(exist_ok=True)
    pair = make_pair(NAMES, days=days, now=NOW)
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(pair.certificate)
    key.write_bytes(pair.key)
    return TlsFiles(str(certificate), str(key))


def trusting(files: TlsFiles) -> ssl.SSLContext:
    """Return the context of a phone that trusts this certificate alone, as strictly as can be."""
    context = ssl.create_default_context(cafile=files.certificate)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


async def certificate_shown_by(endpoint: Endpoint) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    phone = await StreamPhone.connect(endpoint.bound[0][1], context)
    shown: bytes = phone.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    await phone.close()
    return ssl.DER_cert_to_PEM_cert(shown).strip()


def text_of(files: TlsFiles) -> str:
    return Path(files.certificate).read_text(encoding="ascii").strip()


async def test_phone_is_answered_over_tls(start: Start, files: TlsFiles) -> None:
    """The certificate stands up to strict verification, by address and by name."""
    endpoint = await start(files)
    for name in NAMES[:2]:
        phone = await StreamPhone.connect(endpoint.bound[0][1], trusting(files), name)
        assert 200 == await phone.ask(f"z9hG4bK{name}", transport="TLS")
        await phone.close()


async def test_requests_of_ours_go_over_the_phones_connection(start: Start, files: TlsFiles) -> None:
    """The flow is the connection; our Via says TLS, our Contact leads back to the listener."""
    endpoint = await start(files)
    phone = await StreamPhone.connect(endpoint.bound[0][1], trusting(files))
    phone.send(request_text("BYE", transport="TLS"))
    user = endpoint._user
    assert isinstance(user, User)
    _, transaction = await asyncio.wait_for(user.requests.get(), WAIT)
    answers: asyncio.Queue[Response] = asyncio.Queue()
    endpoint.request(our_request(), transaction.flow, answers.put_nowait, pytest.fail)
    request = await phone.receive()
    assert isinstance(request, Request)
    phone.send(Response.to_request(request, 200).encode())

    assert 200 == (await asyncio.wait_for(answers.get(), WAIT)).status
    assert "TLS" == request.via.transport
    assert f"sip:roost@{endpoint.bound[0][1]};transport=tls" == endpoint.contact_uri(transaction.flow)
    await phone.close()
    assert transaction.flow == await asyncio.wait_for(user.lost.get(), WAIT)


@pytest.mark.parametrize("hello", [b"", b"\x16\x03\x01\x02\x00\x01", b"\x16\x03\x01\x40\x00" + b"\x00" * 64])
async def test_who_does_not_finish_the_handshake_is_closed(files: TlsFiles, hello: bytes) -> None:
    """Silent, half a ClientHello, or one that never ends: each is counted out, and others are served meanwhile."""
    limits = StreamLimits(handshake=0.3)
    endpoint = Endpoint(User(), EndpointPolicy(tls=files, streams=limits))
    server = await endpoint.listen(Transport.TLS, Address(LOCALHOST, 0))
    silent = [await StreamPhone.connect(server) for _ in range(3)]
    for each in silent:
        each.send(hello)
    phone = await StreamPhone.connect(server, trusting(files))
    assert 200 == await phone.ask(transport="TLS")
    for each in silent:
        await each.until_closed()
        await each.close()
    await phone.close()
    deadline = time.monotonic() + WAIT
    while endpoint.connections and time.monotonic() < deadline:
        await asyncio.sleep(0.01)

    assert 0 == endpoint.connections
    await endpoint.close()


async def test_old_tls_is_refused(start: Start, files: TlsFiles) -> None:
    """tls.minimum_version holds."""
    endpoint = await start(TlsFiles(files.certificate, files.key, minimum_version="1.3"))
    old = trusting(files)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises((ssl.SSLError, ConnectionError)):  # an alert, or the connection is reset before it arrives
        await StreamPhone.connect(endpoint.bound[0][1], old)
    phone = await StreamPhone.connect(endpoint.bound[0][1], trusting(files))

    assert "TLSv1.3" == phone.writer.get_extra_info("ssl_object").version()
    await phone.close()


async def test_what_is_not_tls_is_closed_and_counted_out(start: Start, files: TlsFiles) -> None:
    """Before the handshake a connection is counted already, and so it must be afterwards."""
    endpoint = await start(files)
    phone = await StreamPhone.connect(endpoint.bound[0][1])
    phone.send(b"OPTIONS sip:bob@127.0.0.1 SIP/2.0\r\n\r\n")
    await phone.until_closed()
    await phone.close()
    deadline = asyncio.get_running_loop().time() + WAIT
    while endpoint.connections:
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.01)


async def test_new_certificate_is_taken_without_a_restart(start: Start, files: TlsFiles, tmp_path: Path) -> None:
    """The next connection sees it; one that is open stays."""
    endpoint = await start(files)
    phone = await StreamPhone.connect(endpoint.bound[0][1], trusting(files))
    assert text_of(files) == await certificate_shown_by(endpoint)
    fresh = written(tmp_path / "second", days=60)
    endpoint.reload(EndpointPolicy(tls=fresh))

    assert text_of(fresh) == await certificate_shown_by(endpoint)
    assert NOW + timedelta(days=60) == endpoint.certificate_expires()
    assert 200 == await phone.ask(transport="TLS")
    await phone.close()


@pytest.mark.parametrize("fault", ["mismatch", "missing", "passphrase", "not-pem", "no-certificate"])
async def test_bad_certificate_changes_nothing(start: Start, files: TlsFiles, tmp_path: Path, fault: str) -> None:
    """The operator is told what is wrong, and phones go on to see the old one."""
    endpoint = await start(files)
    bad = written(tmp_path / "second")
    reasons = {
        "mismatch": "the key is not the certificate's",
        "missing": "No such file",
        "passphrase": "passphrase",
        "not-pem": "key.pem",
        "no-certificate": "tls.certificate is empty",
    }
    if fault == "mismatch":
        bad = TlsFiles(bad.certificate, files.key)
    elif fault == "missing":
        bad = TlsFiles(bad.certificate, str(tmp_path / "gone.pem"))
    elif fault == "no-certificate":
        bad = TlsFiles()
    else:
        spoil(tmp_path / "second" / "key.pem", encrypt=fault == "passphrase")
    with pytest.raises(TlsUnusable, match=reasons[fault]):
        endpoint.reload(EndpointPolicy(tls=bad))

    assert text_of(files) == await certificate_shown_by(endpoint)


def spoil(key: Path, *, encrypt: bool) -> None:
    if not encrypt:
        key.write_text("no key")
        return
    loaded = serialization.load_pem_private_key(key.read_bytes(), None)
    secret = serialization.BestAvailableEncryption(b"secret")
    form = serialization.PrivateFormat.PKCS8
    key.write_bytes(loaded.private_bytes(serialization.Encoding.PEM, form, secret))


@pytest.mark.parametrize("transport", [Transport.TLS, Transport.WSS])
async def test_secure_listener_without_a_certificate_does_not_start(transport: Transport) -> None:
    endpoint = Endpoint(User())
    with pytest.raises(OSError, match=r"tls\.certificate"):
        await endpoint.listen(transport, Address(LOCALHOST, 0))
    await endpoint.close()


@pytest.mark.parametrize("uri", ["sips:{}", "sips:{};transport=tcp", "sip:{};transport=tls"])
async def test_we_connect_to_whom_we_trust(start: Start, files: TlsFiles, uri: str) -> None:
    """tls.ca_file makes a PBX with a certificate of its own trusted; its connection is used again."""
    pbx = await start(files)
    endpoint = await start(TlsFiles(files.certificate, files.key, ca_file=files.certificate))
    target = SipUri.parse(uri.format(pbx.bound[0][1]))
    flow = await endpoint.flow_to(target)
    answers: asyncio.Queue[Response] = asyncio.Queue()
    endpoint.request(our_request("OPTIONS"), flow, answers.put_nowait, pytest.fail)

    assert 200 == (await asyncio.wait_for(answers.get(), WAIT)).status
    assert flow == await endpoint.flow_to(target)
    assert flow.transport is Transport.TLS


async def test_we_do_not_connect_to_whom_we_do_not_trust(start: Start, files: TlsFiles) -> None:
    """Verification is on by default, and nothing turns it off."""
    pbx = await start(files)

    with pytest.raises(TransportFailed, match=r"the certificate of 127\.0\.0\.1 is not trusted"):
        await (await start(files)).flow_to(SipUri.parse(f"sips:{pbx.bound[0][1]}"))


async def test_we_do_not_connect_to_another_name(start: Start, files: TlsFiles) -> None:
    """RFC 5922 7.3: the name of the URI must stand in the certificate."""
    pbx = await start(files)
    endpoint = await start(TlsFiles(files.certificate, files.key, ca_file=files.certificate))

    with pytest.raises(TransportFailed, match="not trusted"):
        await endpoint.flow_to(SipUri.parse(f"sips:localhost:{pbx.bound[0][1].port}"))


async def test_ca_file_that_is_none_fails_the_connection(start: Start, files: TlsFiles, tmp_path: Path) -> None:
    endpoint = await start(TlsFiles(files.certificate, files.key, ca_file=str(tmp_path / "gone.pem")))

    with pytest.raises(TransportFailed, match=r"gone\.pem"):
        await endpoint.flow_to(SipUri.parse("sips:127.0.0.1:1"))
