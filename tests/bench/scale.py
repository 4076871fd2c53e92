"""CPU for each status call and each registration at 1,000, 10,000 and 100,000 devices."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from http_load import ask
from phones import Phones
from roost import Roost
from table import Samples, show

if TYPE_CHECKING:
    from pathlib import Path

SIZES = (1_000, 10_000, 100_000)
ASKED = 1_000
"""Devices that are registered while the status is asked for: the answer is as large at every size."""
ALIKE = 1.2
"""The highest of the three is to be no more than this times the lowest."""
COLUMNS = {"full": 4_000, "refresh": 4_000, "status": 1_000, "device": 1_000}
"""What is measured, and how often in a round."""


def scale(directory: Path, *, full: bool) -> None:
    """Measure at each size, in alternation: all three daemons run at once."""
    samples = Samples()
    roosts = [Roost(directory / str(size), size, sip_qualify_interval=0) for size in SIZES]
    phones = [
        Phones(roost.port, size, base=16 * (n + 1)) for n, (roost, size) in enumerate(zip(roosts, SIZES, strict=True))
    ]
    try:
        for each in phones:
            each.run("full", ASKED).check()
        for _ in range(15 if full else 7):
            for roost, size in zip(roosts, SIZES, strict=True):
                _read(samples, roost, size, "status", "/devices/status")
                _read(samples, roost, size, "device", f"/devices/{7:032x}")
        for each, size in zip(phones, SIZES, strict=True):
            each.run("full", size).check()
        for _ in range(9 if full else 5):
            for roost, each, size in zip(roosts, phones, SIZES, strict=True):
                for kind in ("full", "refresh"):
                    _register(samples, roost, each, size, kind)
    finally:
        for process in (*phones, *roosts):
            process.close() if isinstance(process, Phones) else process.stop()
    _report(samples)


def _read(samples: Samples, roost: Roost, size: int, column: str, path: str) -> None:
    where = roost.account_url.partition(str(roost.api_port))[2] + path
    before = roost.cpu()
    ask(roost.api_port, where, COLUMNS[column], {"X-Auth-Token": roost.token})
    samples.add(f"{size:,}", column, (roost.cpu() - before) / COLUMNS[column] * 1e6)


def _register(samples: Samples, roost: Roost, phones: Phones, size: int, kind: str) -> None:
    before = roost.cpu()
    tally = phones.run(kind, COLUMNS[kind]).check()
    time.sleep(0.05)  # until the last commit is done
    samples.add(f"{size:,}", kind, (roost.cpu() - before) / tally["ok"] * 1e6)


def _report(samples: Samples) -> None:
    rows = [[name, *(f"{samples.median(name, column):.1f}" for column in COLUMNS)] for name in samples.rows]
    spreads = []
    for column in COLUMNS:
        values = [samples.median(name, column) for name in samples.rows]
        spreads.append(f"{max(values) / min(values):.2f}")
    show(
        f"CPU (us) by the number of devices; status of {ASKED:,} registered ones",
        ("devices", "registration, full", "refresh", "status", "one device"),
        [*rows, [f"highest to lowest ({ALIKE} wanted)", *spreads]],
    )
