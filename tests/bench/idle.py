"""A daemon whose phones do nothing but answer its OPTIONS."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from crowd import BLOCKS, longest_blocks
from phones import Phones
from roost import Roost
from table import show

if TYPE_CHECKING:
    from pathlib import Path

DEVICES = 10_000
QUALIFY = 60
"""Seconds between two OPTIONS to a phone: the default."""


def idle(directory: Path, *, full: bool) -> None:
    """Measure the CPU of 10,000 qualified phones, and of 10,000 that are not asked."""
    seconds = 2 * QUALIFY if full else QUALIFY
    rows = [_measure(directory / f"every-{interval}", interval, seconds) for interval in (QUALIFY, 0)]
    show(
        f"{DEVICES} registered phones, idle for {seconds} s",
        ("OPTIONS to each", "answered", "CPU (% of a core)", "us for each", *BLOCKS),
        rows,
    )


def _measure(directory: Path, interval: int, seconds: int) -> list[str]:
    roost = Roost(directory, DEVICES, sip_qualify_interval=interval)
    try:
        with Phones(roost.port, DEVICES) as phones:
            phones.run("full", DEVICES).check()
            phones.ask(f"wait {interval or 1}")  # so that the asking has become a stream
            before, began = roost.cpu(), time.monotonic()
            tally = phones.ask(f"wait {seconds}")
            cpu, wall = roost.cpu() - before, time.monotonic() - began
        each = f"{cpu / tally['requests'] * 1e6:.0f}" if tally["requests"] else "-"
        how = f"every {interval} s" if interval else "never"
        return [how, f"{tally['requests']:.0f}", f"{cpu / wall * 100:.2f}", each, *longest_blocks(roost)]
    finally:
        roost.stop()
