"""Traces of real phones, read by tshark; export to a real receiver of HEP, sngrep."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from roost_process import Roost, eventually

from daemon.demo_phones import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sipp_phone import SippPhone

pytestmark = pytest.mark.interop

REPOSITORY = Path(__file__).parents[2]


def run(roost: Roost, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command with the daemon's configuration."""
    command = [sys.executable, "-m", "daemon", *words, "--config", str(roost.directory / "roost.toml")]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)


def dissect(file: Path, *fields: str) -> list[str]:
    """Return the fields of each packet, as tshark dissects the file."""
    options = [word for field in fields for word in ("-e", field)]
    command = ["tshark", "-r", str(file), "-T", "fields", *options]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_trace_of_a_phone(
    roost: Roost,
    sipp_phone: Callable[..., SippPhone],
    peer: Callable[[str], None],
    tmp_path: Path,
    transport: str,
) -> None:
    """Its registration and a check-sync, and nothing of another phone; the same as ladder, text, JSON and capture."""
    peer("tshark")
    device, other = roost.create_device(), roost.create_device()
    began = run(roost, "trace", device.account.username)
    phone, neighbour = sipp_phone(roost, device, transport=transport), sipp_phone(roost, other, transport=transport)
    nonce = phone.send_register(authorized=False).header("WWW-Authenticate").partition('nonce="')[2].partition('"')[0]
    assert phone.send_register(authorized=True).status == 200
    assert neighbour.register().status == 200
    roost.sync(device)
    phone.answer(phone.receive("NOTIFY"))
    path = f"/devices/{device.id}/trace"
    messages = _until(lambda: roost.on_account("GET", path).data["messages"], 6)
    ladder = run(roost, "trace", device.account.username).stdout.splitlines()
    text = run(roost, "trace", device.id, "--text").stdout
    assert run(roost, "trace", device.account.username, "--pcap", str(tmp_path / "x.pcap")).returncode == 0
    fields = dissect(tmp_path / "x.pcap", "sip.CSeq.method", "sip.Status-Code", "udp.srcport")
    stopped = run(roost, "trace", device.account.username, "--stop")

    assert began.stdout == "no messages yet\n"
    expected = ["REGISTER", "401 Unauthorized", "REGISTER (auth)", "200 OK", "NOTIFY", "200 OK"]
    assert [line.split("- ")[1].split(" -")[0] for line in ladder[2:]] == expected
    assert max(map(len, ladder)) <= 80
    assert [line.split("\t")[:2] for line in fields] == [
        ["REGISTER", ""], ["REGISTER", "401"], ["REGISTER", ""], ["REGISTER", "200"], ["NOTIFY", ""], ["NOTIFY", "200"],
    ]  # fmt: skip
    assert fields[0].split("\t")[2] == messages[0]["source"].rpartition(":")[2]
    everything = text + json.dumps(messages) + (tmp_path / "x.pcap").read_text(errors="replace")
    assert 'response="***"' in everything or "response=***" in everything
    assert other.account.username not in everything
    assert len(nonce) > 8
    assert nonce not in everything
    assert "is over, with 6 messages" in stopped.stderr


def _until(look: Callable[[], list[dict[str, str]]], count: int) -> list[dict[str, str]]:
    deadline = time.monotonic() + 5
    while len(found := look()) < count and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(found) == count
    return found


@pytest.fixture
def homer(peer: Callable[[str], None], tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """Let sngrep listen for HEP, and give its port and the capture file that it writes."""
    peer("sngrep")
    peer("tshark")
    port, file = free_port(), tmp_path / "homer.pcap"
    command = ["sngrep", "-F", "-N", "-q", "-L", f"udp:127.0.0.1:{port}", "-O", str(file)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    yield port, file
    process.terminate()
    process.wait(10)


async def test_homer_gets_every_message_without_secrets(
    homer: tuple[int, Path], sipp_phone: Callable[..., SippPhone], tmp_path: Path
) -> None:
    """With the real addresses, by sngrep's own reading of HEP."""
    port, file = homer
    roost = Roost(tmp_path / "roost", {"hep": {"server": f"localhost:{port}", "password": "pw"}}).create().start()
    try:
        device = roost.create_device()
        phone = sipp_phone(roost, device)
        assert phone.register().status == 200

        def registers() -> list[str]:
            if not file.exists() or not file.stat().st_size:
                return []
            fields = ("ip.src", "udp.srcport", "ip.dst", "udp.dstport", "sip.CSeq.method", "sip.Status-Code")
            return [line for line in dissect(file, *fields) if "REGISTER" in line]

        await eventually(lambda: len(registers()) == 4, "four messages at the receiver", limit=10)
        us, them = f"127.0.0.1\t{roost.sip_port}", f"{phone.host}\t{phone.port}"

        assert registers() == [
            f"{them}\t{us}\tREGISTER\t",
            f"{us}\t{them}\tREGISTER\t401",
            f"{them}\t{us}\tREGISTER\t",
            f"{us}\t{them}\tREGISTER\t200",
        ]
        assert b'nonce="***"' in file.read_bytes()
    finally:
        roost.stop()


def test_homer_that_is_not_there_holds_nothing_up(sipp_phone: Callable[..., SippPhone], tmp_path: Path) -> None:
    """Nor does one whose name leads nowhere; the first loss is logged as a warning."""
    for server in (f"127.0.0.1:{free_port()}", "no-such-host.invalid:9060"):
        roost = Roost(tmp_path / server[:2], {"hep": {"server": server}}).create().start()
        try:
            phone = sipp_phone(roost, roost.create_device())
            for _ in range(3):
                assert phone.register().status == 200
            lost = [event for event in roost.log_events() if event["event"] == "hep.lost"]
            assert [event["level"] for event in lost].count("warning") == 1
            metrics = urllib.request.urlopen(f"http://127.0.0.1:{roost.api_port}/metrics", timeout=10).read()
            assert b'roost_hep_packets_total{outcome="lost"}' in metrics
        finally:
            roost.stop()
