"""All phones come back at once after a power cut: at the rate that the machine takes, and at more than that."""

from __future__ import annotations

import threading
import time
import urllib.error
from typing import TYPE_CHECKING

from crowd import BLOCKS, figures, longest_blocks
from phones import Phones, Tally
from roost import Roost
from table import show

if TYPE_CHECKING:
    from pathlib import Path

IN_FLIGHT = 400
"""Registrations at once in the first part: more than one wake-up takes, fewer than are refused."""
TIMES = 10
"""How many times what is taken is offered in the last part, by phones that do not obey 503."""
FLOOD = 20
"""Seconds that it lasts."""
LIMIT = 240
"""Seconds that the storm may take until every phone is registered."""
PAUSE = 0.1
"""Seconds between two calls of the API meanwhile."""


class Caller(threading.Thread):
    """A client of the API that notes how long each of its calls takes."""

    def __init__(self, roost: Roost) -> None:
        super().__init__(daemon=True)
        self._roost = roost
        self._over = threading.Event()
        self.times: list[float] = []
        self.failures = 0

    def run(self) -> None:
        """Call until `stop`."""
        while not self._over.wait(PAUSE):
            began = time.monotonic()
            try:
                self._roost.get("/registrations/count")
            except (OSError, urllib.error.HTTPError):
                self.failures += 1
            else:
                self.times.append(time.monotonic() - began)

    def stop(self) -> str:
        """Return the 99th percentile in milliseconds, and how many calls failed."""
        self._over.set()
        self.join()
        times = sorted(self.times)
        return f"{times[int(0.99 * (len(times) - 1))] * 1000:.0f} ({self.failures} failed)" if times else "none"


def avalanche(directory: Path, *, full: bool) -> None:
    """Measure 100,000 phones, 10,000 without --full."""
    devices = 100_000 if full else 10_000
    taken, row = _measure(directory / "taken", devices, "as fast as answered", f"run full {devices} {IN_FLIGHT}")
    rows = [row, _measure(directory / "storm", devices, "all at once", f"storm {LIMIT}")[1]]
    pace = TIMES * taken.per_second
    flood = f"flood full {pace * FLOOD:.0f} {pace:.0f}"
    rows.append(_measure(directory / "flood", devices, f"{pace:.0f} a second, obeying nothing", flood)[1])
    header = (
        "how",
        "registered",
        "seconds",
        "bindings",
        "503s",
        "Retry-After",
        "no answer",
        "repeated",
        "API p99 (ms)",
    )
    show(
        f"{devices} phones come back",
        (*header, "peak (MB)", "lost by the kernel", *BLOCKS, "a phone anew after (s)"),
        rows,
    )


def _measure(directory: Path, devices: int, how: str, command: str) -> tuple[Tally, list[str]]:
    """Give the phones a command, and return what they tell and the row of the table."""
    roost = Roost(directory, devices)
    try:
        with Phones(roost.port, devices) as phones:
            caller = Caller(roost)
            caller.start()
            tally = phones.ask(command)
            api = caller.stop()
            after = _recovery(phones)
        found = figures(roost)
        return tally, [
            *(how, f"{tally['ok']:.0f}", f"{tally['wall']:.0f}", f"{found['roost_bindings']:.0f}"),
            *(f"{tally['refused']:.0f}", _spread(tally), f"{tally['unanswered']:.0f}", f"{tally['repeated']:.0f}", api),
            *(f"{roost.peak() / 1e6:.0f}", f"{found['roost_sip_datagrams_lost_total']:.0f}"),
            *(*longest_blocks(roost), after),
        ]
    finally:
        roost.stop()


def _spread(tally: Tally) -> str:
    return f"{tally['retry_low']:.0f}-{tally['retry_high']:.0f} s" if tally["refused"] else "-"


def _recovery(phones: Phones) -> str:
    """Return how long one phone needs to register when the storm is over."""
    tally = phones.run("full", 1, in_flight=1).check()
    return f"{tally['wall']:.2f}"
