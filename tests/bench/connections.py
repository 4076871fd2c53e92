"""Connections that are held: what each costs, and what a registration over one does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import kamailio
from crowd import allow_files, longest_block
from kamailio import Kamailio
from phones import Phones
from roost import Roost
from table import Samples, show

if TYPE_CHECKING:
    from pathlib import Path

SPARE_FILES = 1_000
ROUNDS = 3


def connections(directory: Path, *, full: bool) -> None:
    """Measure 10,000 TCP connections, 2,000 without --full, in turns with Kamailio."""
    count, sample = (10_000, 10_000) if full else (2_000, 2_000)
    allow_files(count + SPARE_FILES)
    samples = Samples()
    servers = (
        Roost(directory / "commit", count, name="Roost, durability commit", sip_max_connections=count),
        Kamailio(directory / "kamailio", kamailio.INSTALLED, count),
    )
    blocks = {}
    try:
        for number, server in enumerate(servers):
            empty = server.resident()
            with Phones(server.port, count, transport="tcp", base=16 * (number + 1)) as phones:
                samples.add(server.name, "connection", (server.resident() - empty) / count)
                phones.run("full", count).check()
                samples.add(server.name, "registered", (server.resident() - empty) / count)
                for _ in range(ROUNDS):
                    for kind in ("full", "refresh"):
                        before = server.cpu()
                        tally = phones.run(kind, sample).check()
                        samples.add(server.name, kind, (server.cpu() - before) / tally["ok"] * 1e6)
            blocks[server.name] = longest_block(server) if isinstance(server, Roost) else "-"
    finally:
        for server in servers:
            server.stop()
    show(
        f"{count} TCP connections held",
        ("server", "full (us)", "refresh (us)", "bytes a connection", "with its registration", "longest block (ms)"),
        [
            [
                name,
                *(f"{samples.median(name, column):.0f}" for column in ("full", "refresh", "connection", "registered")),
                blocks[name],
            ]
            for name in samples.rows
        ],
    )
