"""The processes that a bench measures: their CPU time and memory, and how they are started and ended."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

START_LIMIT = 60.0
STOP_LIMIT = 20.0
PORTS = (12_000, 32_000)
"""Below net.ipv4.ip_local_port_range, as Linux has it."""


class ServerProcess:
    """A server under measurement, with whatever processes it forks."""

    def __init__(
        self,
        command: Sequence[str],
        directory: Path,
        working_directory: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._log_path = directory / "log"
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=working_directory or directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process that was started."""
        return self._process.pid

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait for `ready`; raises RuntimeError with the end of the log where the process ends or takes too long."""
        deadline = time.monotonic() + START_LIMIT
        while not ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"the server did not start:\n{self._log_path.read_text(errors='replace')[-3000:]}")
            time.sleep(0.02)

    def cpu(self) -> float:
        """Return the CPU seconds, user and system, of the process and its children so far."""
        return sum(_cpu_of(pid) for pid in self._family())

    def resident(self) -> int:
        """Return the bytes of memory held, what the processes share counted once."""
        return sum(_proportional(pid) for pid in self._family())

    def alone(self) -> int:
        """Return the bytes of memory that the started process holds, without those it forked."""
        return _proportional(self.pid)

    def peak(self) -> int:
        """Return the most bytes that the started process held at once."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))

    def stop(self) -> None:
        """End the process with SIGTERM, by force where that does not help."""
        self._process.terminate()
        try:
            self._process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the process and its children as a power cut does."""
        for pid in self._family():
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                continue
        self._process.wait(STOP_LIMIT)

    def _family(self) -> list[int]:
        found = [self.pid]
        for pid in found:
            children = Path(f"/proc/{pid}/task/{pid}/children")
            found += map(int, children.read_text().split()) if children.exists() else ()
        return found


def free_port() -> int:
    """Return a port that is free for UDP and TCP on loopback.

    It is none that the kernel gives to clients: who asks such a port whether its server listens yet may reach itself.
    """
    while True:
        port = random.randrange(*PORTS)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            try:
                udp.bind(("127.0.0.1", port))
                tcp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def listens(port: int) -> bool:
    """Return whether something listens on the TCP port, without a connection that it would see."""
    ports = {line.split()[1].rpartition(":")[2] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]}
    return f"{port:04X}" in ports


def _cpu_of(pid: int) -> float:
    # clock_getcpuclockid(3): the sum of utime and stime in /proc/PID/stat, not cut to hundredths of a second.
    return time.clock_gettime((~pid << 3) | 2)


def _proportional(pid: int) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))
