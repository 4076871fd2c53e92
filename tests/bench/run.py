"""Measure one figure, or all: `python tests/bench/run.py FIGURE [--full]`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

from avalanche import avalanche
from connections import connections
from idle import idle
from media import media
from quickcalls import quickcall
from reads import pages, status
from registrations import registrations
from restart import restart
from roost import what_is_measured
from scale import scale
from syncs import sync
from table import say

FIGURES = {
    "registrations": registrations,
    "connections": connections,
    "avalanche": avalanche,
    "restart": restart,
    "idle": idle,
    "status": status,
    "pages": pages,
    "scale": scale,
    "sync": sync,
    "quickcall": quickcall,
    "media": media,
}


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figure", choices=[*FIGURES, "all"])
    parser.add_argument("--full", action="store_true", help="more rounds and larger samples")
    arguments = parser.parse_args()
    say(what_is_measured())
    for name in FIGURES if arguments.figure == "all" else [arguments.figure]:
        began = time.monotonic()
        with TemporaryDirectory(prefix="roost-bench-") as directory:
            FIGURES[name](Path(directory), full=arguments.full)
        say(f"\n{name}: {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
