"""What several benches ask of a Roost with many phones: its figures, its memory, its open files."""

from __future__ import annotations

import resource
import urllib.request
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from roost import Roost

LONGEST = "roost_event_loop_longest_block_seconds"
LONGEST_OWN = "roost_event_loop_longest_block_cpu_seconds"
BLOCKS = ("longest block (ms)", "own CPU in one (ms)")
"""The columns of what `longest_blocks` returns."""


def figures(roost: Roost) -> dict[str, float]:
    """Return /metrics: the values by name with labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{roost.api_port}/metrics", timeout=30) as response:
        lines = response.read().decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def longest_blocks(roost: Roost) -> tuple[str, str]:
    """Return the longest block of the event loop in the last minute, and the most CPU in one, in milliseconds."""
    found = figures(roost)
    return f"{found[LONGEST] * 1000:.1f}", f"{found[LONGEST_OWN] * 1000:.1f}"


def allow_files(count: int) -> None:
    """Let this process and those that it starts open as many files. Raises ValueError where the system forbids it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, max(count, most)))
