"""`roost doctor`: ports, addresses, the media worker, what phones are told, and the command itself."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from config.listen import HostPort, Listener
from config.settings import Settings, SipSettings
from daemon.doctor import network, worker
from daemon.doctor.finding import State
from daemon.doctor.phones import phone_settings
from daemon.doctor.sockets import Holder, bound_sockets, holder_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from daemon.doctor.finding import Finding

TABLE_HEAD: Final = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def states(findings: Iterable[Finding]) -> list[State]:
    return [finding.state for finding in findings]


def settings_for(*listeners: str, api: str = "127.0.0.1:0") -> Settings:
    settings = Settings(sip=SipSettings(listen=tuple(map(Listener.parse, listeners))))
    return replace(settings, api=replace(settings.api, listen=HostPort.parse(api)))


@pytest.fixture
def taken() -> Iterable[socket.socket]:
    """Take a UDP port of 127.0.0.1."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        yield other


def test_tables_of_the_kernel_are_read(tmp_path: Path) -> None:
    """Addresses stand in hexadecimal, in words of the host's order; IPv4 within IPv6 is IPv4."""
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tcp").write_text(
        TABLE_HEAD
        + "   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000   998        0 4711 1\n"
        + "   1: 0100007F:1F41 0100007F:C350 01 00000000:00000000 00:00000000 00000000   998        0 4712 1\n"
    )
    (tmp_path / "net" / "tcp6").write_text(
        TABLE_HEAD
        + "   0: 00000000000000000000000000000000:13C4 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 4713\n"
        + "   1: 0000000000000000FFFF00000100007F:13C5 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 4714\n"
    )
    found = [(bound.host, bound.port, bound.inode) for bound in bound_sockets(socket.SOCK_STREAM, tmp_path)]

    assert [("127.0.0.1", 8000, "4711"), ("::", 5060, "4713"), ("127.0.0.1", 5061, "4714")] == found


def test_holder_of_a_port_is_found(taken: socket.socket) -> None:
    """The process is named; a listener on every address is in the way of one on one."""
    port = taken.getsockname()[1]
    for address in ("127.0.0.1", "0.0.0.0"):
        holder = holder_of(socket.SOCK_DGRAM, address, port)

        assert holder is not None
        assert (os.getpid(), os.getuid()) == (holder.pid, holder.user)
    assert holder_of(socket.SOCK_DGRAM, "127.0.0.2", port) is None
    assert holder_of(socket.SOCK_STREAM, "127.0.0.1", port) is None


@pytest.mark.parametrize(
    ("line", "ours"),
    [
        pytest.param("/opt/roost/bin/python3 -I /opt/roost/bin/roost run", True, id="script"),
        pytest.param("/usr/bin/roost run --config x", True, id="command"),
        pytest.param("python -m daemon run", True, id="module"),
        pytest.param("roost status --watch", False, id="other-command"),
        pytest.param("/usr/sbin/kamailio -f roost run", False, id="other-program"),
        pytest.param("python -m http.server run", False, id="other-module"),
        pytest.param("", False, id="unseen"),
    ],
)
def test_daemon_is_known_by_its_command_line(line: str, *, ours: bool) -> None:
    """However it was started."""

    assert ours == Holder(0, 1, tuple(line.split())).is_roost


def test_port_of_somebody_else_is_a_fault(taken: socket.socket) -> None:
    """The fault names who has it, and the key by which another port is chosen."""
    wanted = network.wanted_sockets(settings_for(f"udp:127.0.0.1:{taken.getsockname()[1]}"))
    (finding,) = network.check_ports(wanted)

    assert State.FAULT == finding.state
    assert f"pid {os.getpid()}" in finding.message
    assert "sip.listen" in finding.advice
    assert network.find_daemon(wanted) is None


def test_free_port_is_well() -> None:
    """Nothing is left bound by the look."""
    # An address and ports that nobody is given by chance.
    at = f"127.0.77.1:{20_000 + os.getpid() % 10_000}"
    wanted = network.wanted_sockets(settings_for(f"udp:{at}", f"tcp:{at}"))
    for _ in range(2):
        assert [State.GOOD, State.GOOD] == states(network.check_ports(wanted))


def test_address_of_another_host_is_a_fault() -> None:
    """192.0.2.0/24 is nobody's (RFC 5737)."""
    (finding,) = network.check_ports(network.wanted_sockets(settings_for("udp:192.0.2.77:5060")))

    assert State.FAULT == finding.state
    assert "no such address" in finding.message


def test_port_below_1024_needs_the_drop_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Root could bind it, so only the drop-in tells that the service may."""
    for name, content in (("start", "1024"), ("none", ""), ("one.conf", "AmbientCapabilities=CAP_NET_BIND_SERVICE")):
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(network, "UNPRIVILEGED", tmp_path / "start")
    monkeypatch.setattr(network, "DROP_INS", tmp_path / "absent")
    wanted = network.wanted_sockets(settings_for("tcp:127.0.0.1:843"))
    (without,) = network.check_ports(wanted)
    monkeypatch.setattr(network, "DROP_INS", tmp_path)
    (having,) = network.check_ports(wanted)

    assert State.FAULT == without.state
    assert "privileged-ports.conf" in without.advice
    assert (State.GOOD if os.geteuid() == 0 else State.FAULT) == having.state


def test_rtp_ports_of_others_are_told(taken: socket.socket) -> None:
    """A call does without them; the daemon's own user is not somebody else."""
    port = taken.getsockname()[1]
    settings = Settings()
    settings = replace(settings, media=replace(settings.media, port_range=f"{port}-{port}"))

    assert [State.WARNING] == states(network.check_media_ports(settings, None))
    assert [State.GOOD] == states(network.check_media_ports(settings, Holder(os.getuid())))


@pytest.mark.parametrize(
    ("address", "state"),
    [
        pytest.param("127.0.0.1", State.WARNING, id="loopback"),
        pytest.param("10.1.2.3", State.GOOD, id="private"),
        pytest.param("8.8.8.8", State.GOOD, id="public"),
    ],
)
def test_address_tells_who_reaches_it(address: str, state: State) -> None:
    """A private address comes with what a NAT needs."""
    (finding,) = network.check_addresses(settings_for(f"udp:{address}:5060"))

    assert state == finding.state
    assert (address == "10.1.2.3") == ("media.address" in finding.advice)


def test_open_api_is_told() -> None:
    """Tokens go in the clear where the API is not on loopback."""
    findings = network.check_addresses(settings_for("udp:8.8.8.8:5060", api="0.0.0.0:8000"))

    assert [State.GOOD, State.WARNING] == states(findings)


def test_worker_answers() -> None:
    """A real one, as a call has it."""
    pytest.importorskip("pjsua2", reason="pjsua2-pybind11 has no wheel for this Python")

    assert [State.GOOD] == states(worker.check_worker((9800, 9899)))


def test_missing_pjsua2_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only media=process is missing then."""
    monkeypatch.setattr(worker, "find_spec", lambda _name: None)

    assert [State.WARNING] == states(worker.check_worker((9800, 9899)))


def test_no_port_for_the_worker_is_a_fault(taken: socket.socket) -> None:
    """It is tried on the ports of the configuration."""
    pytest.importorskip("pjsua2", reason="pjsua2-pybind11 has no wheel for this Python")
    port = taken.getsockname()[1]
    (finding,) = worker.check_worker((port, port))

    assert State.FAULT == finding.state
    assert "media=bypass" in finding.advice


def test_phone_is_told_the_proxy_where_its_domain_does_not_lead_here() -> None:
    """A name that nobody knows, and one that leads elsewhere, need the address; one that leads here does not."""
    answers = {"here.example": ["127.0.0.1"], "elsewhere.example": ["192.0.2.1"]}

    def resolve(name: str) -> list[str]:
        if name not in answers:
            raise OSError(name)
        return answers[name]

    told = phone_settings(
        settings_for("udp:10.1.2.3:5060", "tcp:10.1.2.3:5070"), [*answers, "nowhere.example"], resolve
    )

    assert [("here.example", ""), ("elsewhere.example", "10.1.2.3"), ("nowhere.example", "10.1.2.3")] == [
        (each.domain, each.proxy) for each in told
    ]
    assert ("udp 5060", "tcp 5070") == told[0].transports


def run_doctor(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("ROOST_", "STATE_"))}
    return subprocess.run(
        [sys.executable, "-m", "daemon", "doctor", *words], cwd=folder, capture_output=True, text=True, check=False,
        timeout=60, env=environ | {"PYTHONPATH": str(Path(__file__).parent.parent)},
    )  # fmt: skip


def test_fault_is_told_by_the_exit_status(tmp_path: Path, taken: socket.socket) -> None:
    """0 where there are warnings alone, 1 with a fault; JSON says which."""
    file = tmp_path / "roost.toml"
    file.write_text('[sip]\nlisten = ["udp:127.0.0.1:0"]\n[api]\nlisten = "127.0.0.1:0"\n')
    well = run_doctor(tmp_path, "--config", str(file), "--json")
    file.write_text(file.read_text().replace("udp:127.0.0.1:0", f"udp:127.0.0.1:{taken.getsockname()[1]}"))
    ill = run_doctor(tmp_path, "--config", str(file), "--json")
    read = run_doctor(tmp_path, "--config", str(file))

    assert (0, True) == (well.returncode, json.loads(well.stdout)["healthy"]), well.stdout + well.stderr
    assert (1, False) == (ill.returncode, json.loads(ill.stdout)["healthy"])
    assert 1 == read.returncode
    assert "fault    ports" in read.stdout
    assert "1 faults" in read.stdout
    assert [] == [path for path in tmp_path.iterdir() if path != file]
    assert 2 == run_doctor(tmp_path, "--config", str(tmp_path / "absent")).returncode


def test_configuration_with_a_password_is_for_the_service_alone(tmp_path: Path) -> None:
    """Without a secret in it everybody may read it."""
    file = tmp_path / "roost.toml"
    text = '[sip]\nlisten = ["udp:127.0.0.1:0"]\n[api]\nlisten = "127.0.0.1:0"\n'
    told = []
    for content in (text, f'{text}[quickcall]\nusername = "roost"\npassword = "sesame"\n'):
        file.write_text(content)
        file.chmod(0o644)
        done = run_doctor(tmp_path, "--config", str(file), "--json")
        told.append([row["message"] for row in json.loads(done.stdout)["findings"] if row["check"] == "modes"])
        assert "sesame" not in done.stdout + done.stderr

    assert [[], [f"{file} can be read by everybody, and a password is configured"]] == told
