"""Debian's package on a Debian with systemd: installed, run as the unit says, upgraded, removed and purged.

`make package` runs it; elsewhere, without ROOST_PACKAGE, it is skipped. The tests tell one story, in their order.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from debian_machine import Machine, NoMachine, make, newer

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = os.environ.get("ROOST_PACKAGE", "")

pytestmark = [
    pytest.mark.interop,
    pytest.mark.slow,
    pytest.mark.skipif(not PACKAGE, reason="ROOST_PACKAGE names no package (make package)"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can boot another Debian"),
]


@pytest.fixture(scope="module")
def package() -> Path:
    return Path(PACKAGE).resolve()


@pytest.fixture(scope="module")
def machine(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Boot a Debian like this one, with the package's file in it."""
    for program in ("mmdebstrap", "systemd-nspawn"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    folder = tmp_path_factory.mktemp("machine")
    folder.chmod(0o755)
    made = Machine(folder / "root", release["VERSION_CODENAME"]).make()
    shutil.copy(package, made.path("/roost.deb"))
    try:
        made.boot()
    except NoMachine as reason:
        pytest.skip(f"no Debian can be booted here: {reason}")
    yield made
    made.stop()
    shutil.rmtree(folder)


def wait_for_journal(machine: Machine, event: str, *, limit: float = 20.0) -> None:
    deadline = time.monotonic() + limit
    while event not in machine.journal():
        assert time.monotonic() < deadline, machine.journal()[-3000:]
        time.sleep(0.2)


def test_lintian_finds_nothing_that_is_not_justified(package: Path) -> None:
    """Debian's own judge of packages; the overrides tell their reasons."""
    if shutil.which("lintian") is None:
        pytest.skip("lintian is not installed")
    done = subprocess.run(
        ["lintian", "--allow-root", "--profile", "debian", "--fail-on", "error,warning", str(package)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    assert (0, "") == (done.returncode, done.stdout)


def test_installed_service_runs_as_the_unit_says(machine: Machine) -> None:
    """It is ready by its own word, under its user, and its looks at itself feed the watchdog."""
    machine.must("dpkg", "--install", "/roost.deb")
    unit = machine.unit()
    owner, main = machine.must("stat", "--format=%U", f"/proc/{unit['MainPID']}").strip(), int(unit["MainPID"])

    assert ("active", "running", "enabled") == (unit["ActiveState"], unit["SubState"], unit["UnitFileState"])
    assert unit["StatusText"].startswith("0 contacts, 0 calls, version ")
    assert "roost" == owner
    assert main > 1
    assert int(unit["WatchdogTimestampMonotonic"]) > 0
    assert "ready" == machine.ready()["status"]
    modes = machine.must(
        "stat", "--format=%a %U:%G", "/etc/roost/roost.toml", "/var/lib/roost", "/var/lib/roost/roost.db"
    )
    assert ["640 root:roost", "700 roost:roost", "600 roost:roost"] == modes.splitlines()


def test_registrations_go_through_compiled_modules(machine: Machine, package: Path) -> None:
    """The service has them loaded from one library, and says so; a package of Python alone says nothing of it."""
    loaded = machine.must("cat", f"/proc/{machine.unit()['MainPID']}/maps")
    modules = machine.must("find", "/usr/lib/roost/lib", "-name", "*-linux-gnu.so", "-path", "*/site-packages/daemon/*")
    listed = subprocess.run(["dpkg-deb", "--contents", package], capture_output=True, text=True, check=True).stdout
    said = machine.must("roost", "--version")

    assert re.search(r"/usr/lib/roost/lib/\S+/daemon/registration\.cpython-\S+\.so$", loaded, re.MULTILINE)
    assert re.search(r"/usr/lib/roost/lib/\S+__mypyc\.cpython-\S+\.so$", loaded, re.MULTILINE)
    assert set(modules.split()) <= set(loaded.split())
    assert re.search(r"^roost, version \S+, compiled$", said)
    assert machine.unit()["StatusText"].endswith(", compiled")
    assert {"-rw-r--r--"} == {line.split()[0] for line in listed.splitlines() if line.endswith(".so")}


def test_phone_registers_with_the_installed_service(machine: Machine) -> None:
    """A phone in its network gets in with its password, and no other way."""
    if shutil.which("sipsak") is None:
        pytest.skip("sipsak is not installed")
    device = "device add --name Desk --username 1001 --password-file - --account roost.internal"
    machine.must("sh", "-c", f"echo right | roost {device}")
    phone = ("sipsak", "-U", "-i", "-H", "127.0.0.1", "-s", "sip:1001@127.0.0.1:5060", "-C", "sip:1001@127.0.0.1:9")
    wrong, right = (
        machine.within_its_network(*phone, "-x", "600", "-u", "1001", "-a", password).returncode
        for password in ("wrong", "right")
    )
    contacts = machine.must("roost", "status", "--json")

    assert wrong != 0
    assert 0 == right
    assert "sip:1001@127.0.0.1:9" in contacts


def test_operator_finds_the_database_of_the_service(machine: Machine) -> None:
    """The command of root's shell acts as the service's user, on the service's data."""
    made = machine.must("roost", "account", "add", "--name", "Second", "--realm", "second.example.com")

    assert "API key" in made or "api_key" in made
    assert "second.example.com" in machine.must("roost", "account", "list")


def test_doctor_finds_the_service_well(machine: Machine) -> None:
    """The ports are the service's; what may be told is that of this machine: no network, nor a clock of its own."""
    found = json.loads(machine.must("roost", "doctor", "--json"))
    rows = found["findings"]

    assert found["healthy"]
    assert {"clock", "address", "files"} >= {row["check"] for row in rows if row["state"] != "ok"}, rows
    assert f"pid {machine.unit()['MainPID']} serves" in rows[0]["message"]
    assert 3 == sum("is held by Roost" in row["message"] for row in rows)
    assert "the daemon may open " in " ".join(row["message"] for row in rows)
    assert ["roost.internal", "second.example.com"] == sorted(each["domain"] for each in found["phones"])


def test_media_worker_lives_under_the_hardening_of_the_unit(machine: Machine) -> None:
    """The doctor starts one as a service with every restriction of the unit, system calls and memory among them."""
    unit = machine.path("/lib/systemd/system/roost.service").read_text()
    unit = re.sub("^(Type|ExecStart|Restart|WatchdogSec)=.*\n", "", unit, flags=re.MULTILINE)
    started = (
        "[Service]\nType=oneshot\nExecStart=/usr/bin/roost doctor --json\nStandardOutput=file:/var/lib/roost/found\n"
    )
    machine.path("/etc/systemd/system/look.service").write_text(unit.replace("[Service]\n", started))
    machine.must("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "look")
    found = machine.path("/var/lib/roost/found").read_text()
    (worker,) = [row for row in json.loads(found)["findings"] if row["check"] == "worker"]

    assert "SystemCallFilter=" in unit
    assert "ok" == worker["state"], worker


def test_reload_takes_the_configuration(machine: Machine) -> None:
    """`systemctl reload` returns when the daemon says that it has reloaded."""
    configuration = machine.path("/etc/roost/roost.toml")
    configuration.write_text(configuration.read_text() + '\n[log]\nlevel = "debug"\n# mine\n')
    before = machine.unit()["MainPID"]
    machine.must("systemctl", "reload", "roost")
    wait_for_journal(machine, "config.reloaded")

    assert ("active", before) == (machine.unit()["ActiveState"], machine.unit()["MainPID"])


def test_secret_comes_from_the_credential_store(machine: Machine) -> None:
    """What root puts in /etc/credstore reaches the service: without a user name for it, it refuses to start."""
    store = machine.path("/etc/credstore")
    store.mkdir(mode=0o700, exist_ok=True)
    secret = store / "roost.quickcall.password"
    secret.write_text("open sesame\n")
    secret.chmod(0o600)
    refused = machine.run("systemctl", "restart", "roost")

    assert refused.returncode != 0
    assert "quickcall.username: is empty, but quickcall.password is set" in machine.journal()
    assert "sesame" not in machine.journal()
    configuration = machine.path("/etc/roost/roost.toml")
    configuration.write_text(configuration.read_text() + '[quickcall]\nusername = "roost"\n')
    machine.must("systemctl", "restart", "roost")
    assert "active" == machine.unit()["ActiveState"]
    secret.unlink()


def test_port_below_1024_takes_the_drop_in(machine: Machine) -> None:
    """The doctor knows before the service does; with the one capability it binds and still has no other."""
    configuration, drop_ins = machine.path("/etc/roost/roost.toml"), "/etc/systemd/system/roost.service.d"
    before = configuration.read_text()
    configuration.write_text(f'{before}[sip]\nlisten = ["udp:0.0.0.0:5060", "tcp:0.0.0.0:843"]\n')
    doctor = machine.run("roost", "doctor")
    without = machine.run("systemctl", "restart", "roost")
    example = "/usr/share/doc/roost/examples/privileged-ports.conf"
    machine.must("install", "-D", "--mode=644", example, f"{drop_ins}/privileged-ports.conf")
    machine.must("systemctl", "daemon-reload")
    machine.must("systemctl", "restart", "roost")
    status = machine.must("cat", f"/proc/{machine.unit()['MainPID']}/status")

    assert 1 == doctor.returncode
    assert "tcp:0.0.0.0:843 is below 1024, and the service has no right to that" in doctor.stdout
    assert without.returncode != 0
    assert "CapEff:\t0000000000000400" in status
    assert 0 == machine.run("roost", "doctor").returncode
    machine.must("rm", "-r", drop_ins)
    configuration.write_text(before)
    machine.must("systemctl", "daemon-reload")
    machine.must("systemctl", "restart", "roost")


def test_upgrade_keeps_configuration_and_data(machine: Machine, package: Path, tmp_path: Path) -> None:
    """A later package asks nothing, keeps what the operator wrote, and runs when it is installed."""
    before = machine.unit()["MainPID"]
    shutil.copy(newer(package, tmp_path), machine.path("/later.deb"))
    machine.must("dpkg", "--install", "/later.deb")

    assert "# mine" in machine.path("/etc/roost/roost.toml").read_text()
    assert "second.example.com" in machine.must("roost", "account", "list")
    assert "active" == machine.unit()["ActiveState"]
    assert before != machine.unit()["MainPID"]


def test_removal_leaves_configuration_and_data(machine: Machine) -> None:
    """The service is gone; what is the operator's is not, and an installation finds it again."""
    machine.must("dpkg", "--remove", "roost")

    assert "inactive" == machine.unit()["ActiveState"]
    assert not machine.path("/usr/lib/roost").exists()
    assert machine.path("/etc/roost/roost.toml").exists()
    assert machine.path("/var/lib/roost/roost.db").exists()
    machine.must("dpkg", "--install", "/later.deb")
    assert "second.example.com" in machine.must("roost", "account", "list")
    assert "active" == machine.unit()["ActiveState"]


def test_purge_removes_everything(machine: Machine) -> None:
    """Nothing is left but the user."""
    machine.must("dpkg", "--purge", "roost")

    for name in ("/usr/lib/roost", "/usr/bin/roost", "/etc/roost", "/var/lib/roost"):
        assert not os.path.lexists(machine.path(name)), name
    assert "not-found" == machine.unit()["LoadState"]


def test_install_without_the_package_does_the_same(machine: Machine) -> None:
    """`make install` makes a service that runs, and `roost uninstall` takes it away and leaves the data."""
    said = make("install", f"ROOT={machine.root}")
    machine.must("systemctl", "daemon-reload")
    machine.must("systemctl", "start", "roost")

    assert "/opt/roost: Roost" in said
    assert "ready" == machine.ready()["status"]
    assert "roost.service: stopped" in machine.must("roost", "uninstall")
    assert "not-found" == machine.unit()["LoadState"]
    assert not os.path.lexists(machine.path("/opt/roost"))
    assert machine.path("/var/lib/roost/roost.db").exists()
