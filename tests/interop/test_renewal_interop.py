"""SIGHUP with a renewed certificate, and what it means for those who are connected."""

from __future__ import annotations

import os
import signal
import ssl
from typing import TYPE_CHECKING

import pytest
from roost_process import Roost, eventually
from sip_user import StreamPhone

from sip.flow import Address

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[Roost]:
    """Run a daemon with TLS."""
    daemon = Roost(tmp_path / "roost", tls=True).create().start()
    yield daemon
    assert daemon.stop() == 0


async def connect(roost: Roost) -> StreamPhone:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return await StreamPhone.connect(Address(roost.host, roost.tls_port), context)


def certificate_of(phone: StreamPhone) -> bytes:
    return phone.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)


async def reload(roost: Roost, event: str) -> None:
    """Send SIGHUP and wait until the log says what became of it."""
    before = sum(line["event"] == event for line in roost.log_events())
    os.kill(roost.pid, signal.SIGHUP)
    await eventually(lambda: sum(line["event"] == event for line in roost.log_events()) > before, event)


async def test_a_renewed_certificate_is_shown_to_new_connections(secure: Roost, tmp_path: Path) -> None:
    """Those that are open go on; a key that does not fit is refused, and the old pair stays."""
    first = await connect(secure)
    other = Roost(tmp_path / "other", tls=True).create()
    for name in ("certificate.pem", "key.pem"):
        (secure.directory / name).write_bytes((other.directory / name).read_bytes())
    await reload(secure, "config.reloaded")
    second = await connect(secure)
    assert certificate_of(first) != certificate_of(second)
    assert [200, 200] == [await first.ask("z9hG4bK1", transport="TLS"), await second.ask("z9hG4bK2", transport="TLS")]

    (secure.directory / "key.pem").write_text("no key")
    await reload(secure, "config.refused")
    third = await connect(secure)
    assert certificate_of(second) == certificate_of(third)
    for phone in (first, second, third):
        await phone.close()
