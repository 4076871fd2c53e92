"""A daemon that starts with many phones registered: until every listener is open, and what each phone costs it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from crowd import figures
from phones import Phones
from roost import Roost
from table import Samples, show

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = 5


def restart(directory: Path, *, full: bool) -> None:
    """Measure 100,000 bindings, 10,000 without --full; the memory of those that registered, and of those loaded.

    Not that of the media workers, which are started when all is open.
    """
    devices = 100_000 if full else 10_000
    samples = Samples()
    Roost(directory / "roost", devices, sip_qualify_interval=0).stop()  # so that there is byte code
    roost = Roost(directory / "roost", devices, sip_qualify_interval=0)
    empty = roost.alone()
    with Phones(roost.port, devices) as phones:
        phones.run("full", devices).check()
        samples.add("registered", "memory", (roost.alone() - empty) / devices)
    roost.stop()
    for _ in range(ROUNDS):
        began = time.monotonic()
        roost = Roost(directory / "roost", devices, sip_qualify_interval=0)
        samples.add("started", "wall", time.monotonic() - began)
        samples.add("started", "cpu", roost.cpu())
        samples.add("started", "memory", (roost.alone() - empty) / devices)
        bindings = figures(roost)["roost_bindings"]
        roost.stop()
        if bindings != devices:
            raise RuntimeError(f"{bindings:.0f} of {devices} bindings came back")
    show(
        f"Restart with {devices} bindings, and memory beyond that of {devices} devices that are not registered",
        ("seconds to the API's first answer", "CPU seconds", "bytes a binding, registered", "bytes a binding, loaded"),
        [
            [f"{samples.median('started', column):.2f}" for column in ("wall", "cpu")]
            + [f"{samples.median(row, 'memory'):.0f}" for row in ("registered", "started")]
        ],
    )
