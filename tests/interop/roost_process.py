"""The daemon as its users meet it: a process with a configuration file, an HTTP API and a log."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sipp_phone import Account

from daemon.demo_phones import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

REPOSITORY = Path(__file__).parents[2]
REALM = "acme.test"
API_HOST = "127.0.0.1"
START_LIMIT = 15.0
STOP_LIMIT = 10.0
ANSWER_LIMIT = 10.0
RTP_PORTS = 200
"""Enough for the calls of `media.max_calls`."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer: its status and its JSON body."""

    status: int
    body: dict[str, Any]

    @property
    def data(self) -> Any:
        """The `data` of the envelope."""
        return self.body["data"]


@dataclass(frozen=True, slots=True)
class Device:
    """A device that was made through the API, and what its phone is told."""

    id: str
    account: Account


class Roost:
    """One daemon on loopback ports of its own choosing, with its state in `directory`."""

    def __init__(
        self,
        directory: Path,
        settings: Mapping[str, Mapping[str, object]] | None = None,
        *,
        host: str = "127.0.0.1",
        tls: bool = False,
    ) -> None:
        self.directory = directory
        self.host = host
        """Where SIP is served; the API is always on 127.0.0.1."""
        self.sip_port = free_port()
        self.tls_port = free_port() if tls else 0
        self.api_port = free_port()
        self.route_port = free_port()
        self.rtp_port = secrets.choice(range(2000, 10_000, RTP_PORTS))
        """The first of those for media; `free_port` gives none of them."""
        self.account_id = ""
        self.api_key = ""
        self.token = ""
        self._settings = settings or {}
        self._process: subprocess.Popen[bytes] | None = None
        self._devices = 0

    @property
    def sip(self) -> tuple[str, int]:
        """Where phones register, by UDP and by TCP."""
        return self.host, self.sip_port

    @property
    def pid(self) -> int:
        """The process id of the running daemon."""
        assert self._process is not None
        return self._process.pid

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.directory / "roost.db"

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def create(self) -> Roost:
        """Write the configuration and make the master account."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._configuration.write_text(self._toml())
        if self.tls_port:
            self._run("tls", "self-signed", "--directory", str(self.directory))
        made = json.loads(self._run("init", "--name", "acme", "--realm", REALM, "--json"))
        self.account_id, self.api_key, self.token = made["account_id"], made["api_key"], made["auth_token"]
        return self

    def start(self) -> Roost:
        """Start the daemon and wait until its API answers."""
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._command("run"), cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_LIMIT
        while time.monotonic() < deadline and self.running:
            try:
                self.api("GET", "/accounts/none")
            except OSError:
                time.sleep(0.05)
            else:
                return self
        self.stop()
        raise AssertionError(f"roost did not start:\n{self.log_text()[-4000:]}")

    def stop(self) -> int:
        """End the daemon with SIGTERM, and return its exit status."""
        assert self._process is not None
        self._process.terminate()
        try:
            return self._process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"roost ignored SIGTERM:\n{self.log_text()[-4000:]}") from None

    def kill(self) -> None:
        """End the daemon as a power cut does."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(STOP_LIMIT)

    def api(self, method: str, path: str, data: object = None) -> Answer:
        """Call the API with the master account's token; `path` is what follows `/v2`."""
        body = None if data is None else json.dumps({"data": data}).encode()
        return self.http(method, f"/v2{path}", body, {"X-Auth-Token": self.token, "Content-Type": "application/json"})

    def http(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        """Send any HTTP request to the API's address."""
        request = urllib.request.Request(  # loopback, our own daemon
            f"http://{API_HOST}:{self.api_port}{path}", data=body, headers=dict(headers), method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_LIMIT) as response:
                return Answer(response.status, json.loads(response.read() or b"{}"))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, json.loads(error.read() or b"{}"))

    def on_account(self, method: str, path: str, data: object = None) -> Answer:
        """Call the API below the master account."""
        return self.api(method, f"/accounts/{self.account_id}{path}", data)

    def create_device(self, **fields: object) -> Device:
        """Make a device with a username of its own; `fields` go beside its name and sip block."""
        self._devices += 1
        account = Account(f"phone{self._devices}", f"Secret-{self._devices}-word", REALM)
        sip = {"username": account.username, "password": account.password}
        answer = self.on_account("PUT", "/devices", {"name": f"Phone {self._devices}", "sip": sip, **fields})
        assert answer.status == 201, answer.body
        return Device(answer.data["id"], account)

    def registered(self) -> set[str]:
        """Return the device ids that `/devices/status` lists."""
        answer = self.on_account("GET", "/devices/status")
        assert answer.status == 200, answer.body
        assert all(row["registered"] is True for row in answer.data), answer.data
        return {row["device_id"] for row in answer.data}

    def sync(self, device: Device) -> Answer:
        """Ask for a check-sync."""
        return self.on_account("POST", f"/devices/{device.id}/sync")

    def quickcall(self, device: Device, number: str, query: str = "?media=bypass", *, method: str = "GET") -> Answer:
        """Ask for a quickcall."""
        return self.on_account(method, f"/devices/{device.id}/quickcall/{number}{query}")

    def workers(self) -> list[int]:
        """Return the process ids of the media workers."""
        return [pid for pid in children_of(self.pid) if b"sip.media.worker" in _command_line(pid)]

    def log_text(self) -> str:
        """Return all that the daemon printed."""
        return self._log_path.read_text(errors="replace") if self._log_path.exists() else ""

    def log_events(self) -> list[dict[str, Any]]:
        """Return the log's JSON lines."""
        return [json.loads(line) for line in self.log_text().splitlines() if line.startswith("{")]

    @property
    def _configuration(self) -> Path:
        return self.directory / "roost.toml"

    @property
    def _log_path(self) -> Path:
        return self.directory / "roost.log"

    def _run(self, *words: str) -> str:
        done = subprocess.run(
            self._command(*words), cwd=REPOSITORY, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "daemon", *words, "--config", str(self._configuration)]

    def _toml(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        listen = [f"{transport}:{host}:{self.sip_port}" for transport in ("udp", "tcp")]
        sections: dict[str, dict[str, object]] = {
            "sip": {"listen": listen, "min_expires": 1},
            "api": {"listen": f"{API_HOST}:{self.api_port}"},
            "store": {"path": str(self.database)},
            # No worker is kept warm for tests that need none; the ports are those of this daemon alone.
            "media": {"workers": 0, "port_range": f"{self.rtp_port}-{self.rtp_port + RTP_PORTS - 1}"},
            "quickcall": {"route": f"sip:{{number}}@{self.host}:{self.route_port}"},
            "log": {"level": "debug", "format": "json"},
        }
        if self.tls_port:
            listen.append(f"tls:{host}:{self.tls_port}")
            sections["tls"] = {name: str(self.directory / f"{name}.pem") for name in ("certificate", "key")}
        for name, values in self._settings.items():
            sections.setdefault(name, {}).update(values)
        # A JSON string, number, boolean or list of strings is the same in TOML.
        lines = [
            line
            for name, values in sections.items()
            for line in (f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items()))
        ]
        return "\n".join(lines) + "\n"


async def eventually(check: Callable[[], object], what: str, *, limit: float = 5.0) -> None:
    """Wait until `check` is true, looking often; fail with `what` after `limit` seconds."""
    deadline = time.monotonic() + limit
    while not check():
        assert time.monotonic() < deadline, f"not within {limit:g} s: {what}"
        await asyncio.sleep(0.05)


def resident_kilobytes(pid: int) -> int:
    """Return how much memory the process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def children_of(pid: int) -> list[int]:
    """Return the process ids of a process's children; none where it is gone."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
