"""SIGHUP: what the daemon takes from a changed configuration while it runs, and what it tells of the rest."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
from typing import TYPE_CHECKING

import pytest
from roost_process import REALM, eventually

if TYPE_CHECKING:
    from roost_process import Roost

pytestmark = pytest.mark.interop

REGISTER = (
    "REGISTER sip:{realm} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{branch}\r\n"
    "From: <sip:1001@{realm}>;tag=1\r\nTo: <sip:1001@{realm}>\r\nCall-ID: {branch}\r\nCSeq: 1 REGISTER\r\n"
    "Contact: <sip:1001@127.0.0.1:{port}>\r\nMax-Forwards: 70\r\nUser-Agent: {agent}\r\nContent-Length: 0\r\n\r\n"
)


def ask(roost: Roost, agent: str = "Phone") -> str:
    """Return the answer to a REGISTER without credentials, or nothing where none comes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.bind(("127.0.0.1", 0))
        phone.settimeout(1.0)
        text = REGISTER.format(realm=REALM, port=phone.getsockname()[1], branch=os.urandom(8).hex(), agent=agent)
        phone.sendto(text.encode(), roost.sip)
        try:
            return phone.recv(4096).decode()
        except TimeoutError:
            return ""


async def reload(roost: Roost, **changes: str) -> str:
    """Set keys, `section_key="TOML value"`, have the daemon reload, and return what it logged of that."""
    file, before = roost.directory / "roost.toml", len(roost.log_text())
    text = file.read_text()
    for path, value in changes.items():
        section, _, name = path.partition("_")
        text = re.sub(f"^{name} = .*\n", "", text, flags=re.MULTILINE)
        head = f"[{section}]\n"
        text = text.replace(head, f"{head}{name} = {value}\n") if head in text else f"{text}{head}{name} = {value}\n"
    file.write_text(text)
    os.kill(roost.pid, signal.SIGHUP)

    def told() -> bool:
        log = roost.log_text()[before:]
        return "config.reloaded" in log or "config.refused" in log

    await eventually(told, "a reload")
    await asyncio.sleep(0.1)
    return roost.log_text()[before:]


async def test_reload_takes_policies_limits_and_the_vendor_table(own_roost: Roost) -> None:
    """Digest, realms, and who is a scanner change at once, for the phones that come next."""
    vendors = own_roost.directory / "vendors.toml"
    vendors.write_text('[vendor.pest]\nuser_agent = "^Pest"\nresync = "check-sync"\nquirks = ["scanner"]\n')
    own_roost.create_device()
    first = (ask(own_roost), ask(own_roost, "Pest 1.0"))
    log = await reload(
        own_roost, sip_digest='"sha-256"', api_realm_suffix='"other.example"', vendors_file=f'"{vendors}"'
    )
    account = own_roost.on_account("PUT", "", {"name": "Made without a realm"})

    assert all("algorithm=MD5" in answer for answer in first)
    assert "algorithm=SHA-256" in ask(own_roost)
    assert "" == ask(own_roost, "Pest 1.0")
    assert account.data["realm"].endswith(".other.example")
    assert "config.needs_restart" not in log


async def test_refused_reload_changes_nothing(own_roost: Roost) -> None:
    """A wrong vendor file keeps the rest of the change away too, and is told with its reason."""
    vendors = own_roost.directory / "vendors.toml"
    vendors.write_text("[pest\n")
    log = await reload(own_roost, sip_digest='"sha-256"', vendors_file=f'"{vendors}"')

    assert "config.refused" in log
    assert "algorithm=MD5" in ask(own_roost)


async def test_key_that_needs_a_restart_is_told(own_roost: Roost) -> None:
    """The other keys of the same change are taken."""
    log = await reload(own_roost, sip_digest='"sha-256"', sync_reboot_window="17")

    assert '"keys":["sync.reboot_window"]' in log
    assert "algorithm=SHA-256" in ask(own_roost)


async def test_limits_need_no_restart(own_roost: Roost) -> None:
    """This host is not limited by any of them, so that they are taken is another test's."""
    log = await reload(
        own_roost,
        sip_rate_per_source="1", sip_max_connections="9", sip_max_waiting="10", api_max_requests="7",
        quickcall_max_calls="5", media_max_calls="1",
    )  # fmt: skip

    assert "config.reloaded" in log
    assert "config.needs_restart" not in log
