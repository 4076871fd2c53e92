"""CPU for each registration over UDP, with Kamailio as the peer, and the latency at a steady rate."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeAlias

import kamailio
from kamailio import Kamailio
from phones import Phones
from roost import Roost
from table import Samples, show

if TYPE_CHECKING:
    from pathlib import Path

Server: TypeAlias = "Roost | Kamailio"

PACE = 1000  # registrations a second, for the latency
FLAVOURS = (kamailio.TUNED, kamailio.INSTALLED, kamailio.WRITE_THROUGH, kamailio.WRITTEN_BACK)


def registrations(directory: Path, *, full: bool) -> None:
    """Measure full registrations and refreshes of 20,000 devices."""
    devices, sample, rounds = (20_000, 20_000, 5) if full else (20_000, 4_000, 3)
    samples = Samples()
    with ExitStack() as stack:
        pairs = [
            _begin(stack, server, devices, base=16 * (n + 1)) for n, server in enumerate(_servers(directory, devices))
        ]
        for _ in range(rounds):
            for server, phones in pairs:
                for kind in ("full", "refresh"):
                    _measure(samples, server, phones, kind, sample)
        for server, phones in pairs:
            _pace(samples, server, phones, seconds=10 if full else 3)
    _report(samples)


def _servers(directory: Path, devices: int) -> list[Server]:
    roosts = [
        Roost(directory / durability, devices, name=f"Roost, durability {durability}", sip_durability=durability)
        for durability in ("commit", "relaxed")
    ]
    peers = [Kamailio(directory / f"kamailio-{n}", flavour, devices) for n, flavour in enumerate(FLAVOURS)]
    return [*roosts, *peers]


def _begin(stack: ExitStack, server: Server, devices: int, *, base: int) -> tuple[Server, Phones]:
    stack.callback(server.stop)
    phones = stack.enter_context(Phones(server.port, devices, base=base))
    phones.run("full", devices).check()
    return server, phones


def _measure(samples: Samples, server: Server, phones: Phones, kind: str, sample: int) -> None:
    before = server.cpu()
    tally = phones.run(kind, sample).check()
    time.sleep(server.settle or 0.05)
    samples.add(server.name, kind, (server.cpu() - before) / tally["ok"] * 1e6)
    samples.add(server.name, f"{kind} rate", tally.per_second)
    samples.add(server.name, "share", tally.share)


def _pace(samples: Samples, server: Server, phones: Phones, *, seconds: int) -> None:
    before = server.cpu()
    tally = phones.rate("refresh", PACE * seconds, PACE).check()
    samples.add(server.name, "paced", (server.cpu() - before) / tally["ok"] * 1e6)
    for quantile in ("p50_ms", "p99_ms", "max_ms"):
        samples.add(server.name, quantile, tally[quantile])


def _report(samples: Samples) -> None:
    roosts, peers = samples.rows[:2], samples.rows[2:]
    show(
        "CPU for each registration (us), 64 in flight",
        ("server", "full", "refresh", "full/s", "refresh/s", "generator's share of a core"),
        [
            [name, *(f"{samples.median(name, column):.1f}" for column in ("full", "refresh"))]
            + [f"{samples.median(name, column):.0f}" for column in ("full rate", "refresh rate")]
            + [f"{samples.median(name, 'share'):.2f}"]
            for name in samples.rows
        ],
    )
    show(
        "Ratio of CPU: Roost to the peer",
        ("peer", *(f"{name.rpartition(' ')[2]}, {kind}" for name in roosts for kind in ("full", "refresh"))),
        [
            [peer]
            + [
                f"{samples.median(name, kind) / samples.median(peer, kind):.2f}"
                for name in roosts
                for kind in ("full", "refresh")
            ]
            for peer in peers
        ],
    )
    show(
        f"Refreshes at {PACE} a second",
        ("server", "CPU (us)", "p50 (ms)", "p99 (ms)", "longest (ms)"),
        [
            [name, f"{samples.median(name, 'paced'):.0f}"]
            + [f"{samples.median(name, column):.2f}" for column in ("p50_ms", "p99_ms", "max_ms")]
            for name in samples.rows
        ],
    )
