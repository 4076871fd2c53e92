"""A phone played by SIPp and driven step by step: SIPp does all SIP, the test says when.

SIPp's third-party-control socket (`-3pcc`) is the cord: scenarios report with `sendCmd` and wait with `recvCmd`, so no
scenario needs a pause and no test a guess. Commands and reports end with ESC and are matched to a call by Call-ID.
"""

from __future__ import annotations

import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.demo_phones import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SCENARIOS = Path(__file__).parent / "scenarios"
STEP_TIMEOUT = 5.0
LIFETIME = 60  # seconds after which SIPp ends by itself
_END = b"\x1b"


class SippFailed(AssertionError):
    """SIPp met something that its scenario does not allow; the text is its error log."""


@dataclass(frozen=True, slots=True)
class Account:
    """What one types into a phone."""

    username: str
    password: str
    realm: str


@dataclass(frozen=True, slots=True)
class SipText:
    """A SIP message as SIPp reported it."""

    text: str
    call_id: str
    """Of the SIPp call that reported it."""

    @property
    def start_line(self) -> str:
        """The request line or status line."""
        return self.text.partition("\r\n")[0]

    @property
    def method(self) -> str:
        """The method of a request."""
        return self.start_line.split(" ", 1)[0]

    @property
    def status(self) -> int:
        """The status code of a response."""
        return int(self.start_line.split(" ", 2)[1])

    @property
    def body(self) -> str:
        """What follows the empty line."""
        return self.text.partition("\r\n\r\n")[2]

    def header(self, name: str) -> str:
        """Return the values of a header joined by commas; empty where it is missing."""
        lines = self.text.partition("\r\n\r\n")[0].split("\r\n")[1:]
        pairs = (line.partition(":") for line in lines)
        return ", ".join(value.strip() for key, _, value in pairs if key.strip().lower() == name.lower())

    def media_port(self) -> int:
        """Return the port of the audio line in the SDP."""
        line = next(line for line in self.body.splitlines() if line.startswith("m=audio "))
        return int(line.split()[1])


class SippPhone:
    """One account on one SIPp process; `transport` is `udp` or `tcp` (one connection for everything).

    `incoming` names the scenario for requests from the daemon. `prefix` is put before the command, to run it in another
    network namespace, from where our end of the cord is at `cord_host`.
    """

    def __init__(
        self,
        account: Account,
        registrar: tuple[str, int],
        directory: Path,
        *,
        transport: str = "udp",
        host: str = "127.0.0.1",
        port: int | None = None,
        incoming: str = "incoming",
        prefix: Sequence[str] = (),
        cord_host: str = "127.0.0.1",
    ) -> None:
        self.account = account
        self.host = host
        self.port = port or free_port()
        self.media_port = free_port()
        self.transport = transport
        self._incoming = incoming
        self._prefix = prefix
        self._cord_host = cord_host
        self._registrar = registrar
        self._directory = directory
        self._reports: list[SipText] = []
        self._buffer = b""
        self._process: subprocess.Popen[bytes] | None = None
        self._cord: socket.socket | None = None
        self._call_id = ""

    @property
    def contact(self) -> str:
        """The URI at which the phone says that it is."""
        return f"sip:{self.account.username}@{_bracketed(self.host)}:{self.port};transport={self.transport}"

    def start(self) -> SippPhone:
        """Start SIPp and wait for its cord."""
        self._directory.mkdir(parents=True, exist_ok=True)
        with socket.create_server((self._cord_host, 0)) as server:
            server.settimeout(STEP_TIMEOUT)
            self._process = subprocess.Popen(
                self._command(server.getsockname()[1]),
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                self._cord, _ = server.accept()
            except TimeoutError:
                self._fail("SIPp did not connect to its cord")
        self._call_id = self._receive().call_id
        return self

    def stop(self) -> None:
        """End SIPp, without unregistering."""
        if self._cord is not None:
            self._cord.close()
            self._cord = None
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=STEP_TIMEOUT)
            self._process = None

    def send_register(self, *, authorized: bool, expires: int = 60, contact: str | None = None) -> SipText:
        """Send one REGISTER, with credentials for the last challenge or without; return its final answer.

        `contact` is the whole header value (`*` and several included); the empty string leaves the header out.
        """
        value = f"<{self.contact}>" if contact is None else contact
        header = f"Contact: {value}" if value else "Allow-Events: check-sync"
        answer = "yes" if authorized else "no"
        self._send(self._call_id, f"Authorized: {answer}", f"Header: {header}", f"Expires: {expires}")
        return self._next(lambda report: report.call_id == self._call_id, f"answer to {header}")

    def register(self, *, expires: int = 60, contact: str | None = None) -> SipText:
        """Register as phones do: without credentials, then with them; return the answer to the second."""
        challenge = self.send_register(authorized=False, expires=expires, contact=contact)
        if challenge.status != 401:
            return challenge
        return self.send_register(authorized=True, expires=expires, contact=contact)

    def unregister(self) -> SipText:
        """Remove this contact."""
        return self.register(expires=0)

    def receive(self, method: str, *, timeout: float = STEP_TIMEOUT) -> SipText:
        """Wait for a request of this method from the daemon."""
        return self._next(
            lambda report: report.call_id != self._call_id and report.method == method, method, timeout=timeout
        )

    def receive_any(self, *, timeout: float = STEP_TIMEOUT) -> SipText:
        """Wait for the next request from the daemon, whatever it is."""
        return self._next(lambda report: report.call_id != self._call_id, "request", timeout=timeout)

    def answer(self, request: SipText, *lines: str) -> None:
        """Tell SIPp what to do with the request; the scenario of incoming requests says what it understands."""
        self._send(request.call_id, *lines)

    def _command(self, cord: int) -> Sequence[str]:
        account = self.account
        keys = {"username": account.username, "realm": account.realm}
        options = {
            "-sf": str(SCENARIOS / "phone.xml"),
            "-oocsf": str(SCENARIOS / f"{self._incoming}.xml"),
            "-3pcc": f"{self._cord_host}:{cord}",
            "-i": self.host,
            "-p": str(self.port),
            "-mp": str(self.media_port),
            "-t": "t1" if self.transport == "tcp" else "u1",
            "-au": account.username,
            "-ap": account.password,
            "-m": "1",
            "-timeout": f"{LIFETIME}s",
            "-error_file": "errors.log",
            "-message_file": "messages.log",
            "-default_behaviors": "all,-bye",
        }
        words = [word for pair in options.items() for word in pair]
        words += [word for name, value in keys.items() for word in ("-key", name, value)]
        host, port = self._registrar
        return [
            *self._prefix,
            "sipp",
            *words,
            "-nostdin",
            "-trace_err",
            "-trace_msg",
            "-timeout_error",
            f"{_bracketed(host)}:{port}",
        ]

    def _send(self, call_id: str, *lines: str) -> None:
        assert self._cord is not None
        self._cord.sendall("\r\n".join((f"Call-ID: {call_id}", *lines, "", "")).encode() + _END)

    def _next(self, wanted: Callable[[SipText], bool], what: str, *, timeout: float = STEP_TIMEOUT) -> SipText:
        for index, report in enumerate(self._reports):
            if wanted(report):
                return self._reports.pop(index)
        while True:
            report = self._receive(what, timeout=timeout)
            if wanted(report):
                return report
            self._reports.append(report)

    def _receive(self, what: str = "start", *, timeout: float = STEP_TIMEOUT) -> SipText:
        assert self._cord is not None
        self._cord.settimeout(timeout)
        while _END not in self._buffer:
            try:
                data = self._cord.recv(65536)
            except TimeoutError:
                self._fail(f"no {what} within {timeout} s")
            if not data:
                self._fail(f"SIPp ended while we waited for {what}")
            self._buffer += data
        report, _, self._buffer = self._buffer.partition(_END)
        head, _, text = report.decode(errors="replace").partition("\r\n\r\n")
        if "abort_call" in head:
            self._fail(f"SIPp gave up while we waited for {what}")
        call_id = head.partition("Call-ID:")[2].splitlines()[0].strip()
        return SipText(text=text, call_id=call_id)

    def _fail(self, reason: str) -> None:
        log = self._directory / "errors.log"
        text = log.read_text(errors="replace") if log.exists() else "(nothing)"
        raise SippFailed(f"{self.account.username}: {reason}; SIPp's error log:\n{text[-4000:]}")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
