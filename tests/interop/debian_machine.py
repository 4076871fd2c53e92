"""A Debian of the test's own that runs systemd: made by mmdebstrap, booted by systemd-nspawn, without a network."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from roost_process import REPOSITORY

if TYPE_CHECKING:
    from typing import IO

MAKE_LIMIT: Final = 600.0
BOOT_LIMIT: Final = 120.0
COMMAND_LIMIT: Final = 120.0
STOP_LIMIT: Final = 30.0
PACKAGES: Final = "python3,libstdc++6,systemd,init-system-helpers"
"""What the package depends on, so that no network is needed within."""


class NoMachine(Exception):
    """It cannot be booted here, and why."""


class Machine:
    """Make it, `boot` it, and `stop` it."""

    def __init__(self, root: Path, suite: str) -> None:
        self.root = root
        self._suite = suite
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    def make(self) -> Machine:
        """Install the smallest Debian that the package can be installed to."""
        done = subprocess.run(
            ["mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", self._suite, str(self.root)],
            capture_output=True, text=True, timeout=MAKE_LIMIT, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        return self

    def boot(self) -> Machine:
        """Start systemd in it and wait until it has started everything. Raises NoMachine."""
        console = self.root.with_suffix(".console")
        self._log = console.open("wb")
        self._process = subprocess.Popen(
            ["systemd-nspawn", "--directory", str(self.root), "--machine", f"roost-test-{self.root.parent.name}",
             "--register=no", "--keep-unit", "--private-network", "--boot"],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, cwd="/",
        )  # fmt: skip
        deadline = time.monotonic() + BOOT_LIMIT
        while time.monotonic() < deadline and self._process.poll() is None:
            if self._leader() and self.run("systemctl", "is-system-running").stdout.strip() in {"running", "degraded"}:
                return self
            time.sleep(0.3)
        self.stop()
        raise NoMachine(console.read_text(errors="replace")[-1000:])

    def stop(self) -> None:
        """Shut it down."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_LIMIT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(STOP_LIMIT)
        if self._log is not None:
            self._log.close()

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in it, as its root."""
        enter = ["nsenter", "--target", self._leader(), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--"]
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return subprocess.run(
            [*enter, "env", "-i", path, "HOME=/root", "DEBIAN_FRONTEND=noninteractive", *command],
            capture_output=True, text=True, timeout=COMMAND_LIMIT, check=False,
        )  # fmt: skip

    def within_its_network(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program of ours where it is reached at 127.0.0.1."""
        return subprocess.run(
            ["nsenter", "--target", self._leader(), "--net", "--", *command],
            capture_output=True, text=True, timeout=COMMAND_LIMIT, check=False,
        )  # fmt: skip

    def must(self, *command: str) -> str:
        """Run a command that has to succeed, and return what it printed."""
        done = self.run(*command)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}{self.journal()[-3000:]}"
        return done.stdout

    def unit(self) -> dict[str, str]:
        """Return the properties of the service."""
        lines = self.must("systemctl", "show", "roost.service").splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def journal(self) -> str:
        """Return all that the service logged."""
        return self.run("journalctl", "--no-pager", "--output=cat", "--unit=roost.service").stdout

    def ready(self) -> Any:
        """Return what the daemon says of itself when it is asked over HTTP."""
        code = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8000/readyz', timeout=5).read().decode())"
        return json.loads(self.must("python3", "-c", code))

    def path(self, name: str) -> Path:
        """Return where a file of it is for us."""
        return self.root / name.lstrip("/")

    def _leader(self) -> str:
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return children.read_text().split(" ")[0] if children.exists() else ""


def newer(package: Path, folder: Path) -> Path:
    """Pack the package again as a later one."""
    content, later = folder / "content", folder / "later.deb"
    subprocess.run(["dpkg-deb", "--raw-extract", package, content], check=True, timeout=COMMAND_LIMIT)
    control = content / "DEBIAN" / "control"
    lines = control.read_text().splitlines()
    control.write_text("\n".join(f"{line}+later" if line.startswith("Version:") else line for line in lines) + "\n")
    build = ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", content, later]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL, timeout=COMMAND_LIMIT)
    return later


def make(*words: str) -> str:
    """Run make in this working copy."""
    done = subprocess.run(
        ["make", "--no-print-directory", *words],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=MAKE_LIMIT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
