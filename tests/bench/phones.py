"""The load generator, compiled when it is first used."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

SOURCE = Path(__file__).parent / "load" / "phones.c"
LIBRARIES = ("-lssl", "-lcrypto")
NEEDS = "the load generator needs a C compiler and OpenSSL's headers: apt-get install gcc libc6-dev libssl-dev"
REALM = "bench.test"
COMMAND_LIMIT = 300.0


class Tally(dict[str, float]):
    """What a run of the phones came to; the keys are those that phones.c prints."""

    @property
    def share(self) -> float:
        """How much of one core the generator took: near 1, it was the bottleneck."""
        return self["cpu"] / self["wall"]

    @property
    def per_second(self) -> float:
        """Registrations a second of wall time."""
        return self["ok"] / self["wall"]

    def check(self) -> Self:
        """Return itself; raises RuntimeError where any registration failed."""
        if self["failed"] or not self["ok"]:
            raise RuntimeError(f"registrations failed: {dict(self)}")
        return self


class Phones:
    """Phones `p0` to `p<count-1>`, each at a loopback address of its own."""

    def __init__(self, port: int, count: int, *, transport: str = "udp", base: int = 16) -> None:
        command = [str(compiled()), transport, "127.0.0.1", str(port), REALM, str(count), str(base)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.count = count
        self._read()

    @property
    def pid(self) -> int:
        """The generator's process."""
        return self._process.pid

    def run(self, kind: str, how_many: int, *, in_flight: int = 64) -> Tally:
        """Register as fast as the server answers; `kind` is full or refresh."""
        return self.ask(f"run {kind} {how_many} {in_flight}")

    def rate(self, kind: str, how_many: int, per_second: float) -> Tally:
        """Register at a pace, whatever the server does."""
        return self.ask(f"rate {kind} {how_many} {per_second}")

    def ask(self, command: str) -> Tally:
        """Give a command and return what came of it."""
        self.begin(command)
        return self.result()

    def begin(self, command: str) -> None:
        """Give a command and go on; `result` waits for it."""
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def result(self) -> Tally:
        """Wait for the command that was begun."""
        return Tally(self._read())

    def close(self) -> None:
        """End the generator."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> dict[str, float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the load generator ended")
        found: dict[str, float] = json.loads(line)
        return found


@cache
def compiled() -> Path:
    """Return the program, compiled with the system's C compiler. Raises RuntimeError where that cannot be done."""
    program = Path(mkdtemp(prefix="roost-bench-")) / "phones"
    try:
        subprocess.run(["cc", "-O2", "-o", str(program), str(SOURCE), *LIBRARIES], check=True)
    except (OSError, subprocess.CalledProcessError) as failure:
        raise RuntimeError(NEEDS) from failure
    return program
