"""CPU for a check-sync of each of 10,000 phones, as fast as clients can ask for it."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from http_load import post
from phones import Phones
from roost import Roost
from table import Samples, show

if TYPE_CHECKING:
    from pathlib import Path

PHONES = 10_000
SETTLE = 40.0  # seconds that the answers may take to come in: longer than timer F


def sync(directory: Path, *, full: bool) -> None:
    """POST to every device with a phone, and to as many without one: what differs is the NOTIFY's."""
    phones = PHONES if full else 2_000
    samples = Samples()
    roost = Roost(directory / "roost", 2 * phones, sip_qualify_interval=0)
    with ExitStack() as stack:
        stack.callback(roost.stop)
        crowd = stack.enter_context(Phones(roost.port, phones))
        crowd.run("full", phones).check()
        for _ in range(5 if full else 3):
            _round(samples, roost, phones, first=phones, column="without")
            _round(samples, roost, phones, first=0, column="with")
            _check(roost, phones)
    both = samples.median("cpu", "with"), samples.median("cpu", "without")
    show(
        f"check-sync of {phones:,} phones, 64 requests at a time",
        ("", "CPU (us)"),
        [
            ["API request that finds no contact", f"{both[1]:.0f}"],
            ["API request with its NOTIFY, answer and stored outcome", f"{both[0]:.0f}"],
            ["the NOTIFY transaction", f"{both[0] - both[1]:.0f}"],
            ["NOTIFYs answered a second", f"{samples.median('rate', 'with'):.0f}"],
            ["clients' share of a core", f"{samples.median('share', 'with'):.2f}"],
        ],
    )


def _round(samples: Samples, roost: Roost, phones: int, *, first: int, column: str) -> None:
    base = roost.account_url.partition(str(roost.api_port))[2]
    paths = [f"{base}/devices/{number:032x}/sync" for number in range(first, first + phones)]
    before = roost.cpu()
    asked = post(roost.api_port, paths, {"X-Auth-Token": roost.token})
    time.sleep(0.5)  # until the last outcomes are stored
    samples.add("cpu", column, (roost.cpu() - before) / phones * 1e6)
    samples.add("rate", column, phones / asked.wall)
    samples.add("share", column, asked.share)


def _check(roost: Roost, phones: int) -> None:
    """Look at some phones: each must have accepted its NOTIFY. Raises RuntimeError."""
    deadline = time.monotonic() + SETTLE
    for number in range(0, phones, phones // 20):
        while "delivered" not in (states := _states(roost, number)):
            if time.monotonic() > deadline:
                raise RuntimeError(f"device {number} was told nothing: {states}")
            time.sleep(0.1)


def _states(roost: Roost, number: int) -> list[str]:
    return [row["state"] for row in json.loads(roost.get(f"/devices/{number:032x}/sync"))["data"]]
