"""Connections that are held: what each costs to open and to hold, and what a registration over one does."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, TypeAlias

import kamailio
from crowd import BLOCKS, allow_files, longest_blocks
from kamailio import Kamailio
from phones import Phones
from roost import Roost
from table import Samples, show

from daemon.selfsigned import make_pair

if TYPE_CHECKING:
    from pathlib import Path

Server: TypeAlias = "Roost | Kamailio"

SPARE_FILES: Final = 1_000
SETTLE: Final = 0.5
"""Seconds until the server has started all that it starts, and from the last connection until it has taken that in."""
COLUMNS: Final = {
    "open": "open one (us)",
    "full": "full (us)",
    "refresh": "refresh (us)",
    "connection": "bytes a connection",
    "registered": "with its registration",
}


def connections(directory: Path, *, full: bool) -> None:
    """Measure 10,000 connections of each transport, 2,000 without --full, in turns with Kamailio."""
    count, rounds = (10_000, 5) if full else (2_000, 3)
    allow_files(count + SPARE_FILES)
    pair = make_pair(["127.0.0.1"], days=1)
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    certificate.write_bytes(pair.certificate)
    key.write_bytes(pair.key)
    rows: list[list[str]] = []
    for transport in ("tcp", "tls"):
        place = directory / transport
        place.mkdir()
        settings = {"sip_max_connections": count, "tls_certificate": str(certificate), "tls_key": str(key)}
        with ExitStack() as stack:
            roost = Roost(place / "roost", count, **settings)
            stack.callback(roost.stop)
            peer = Kamailio(place / "kamailio", kamailio.INSTALLED, count, certificate=certificate, key=key)
            stack.callback(peer.stop)
            rows += _compare(stack, transport, (roost, peer), count, rounds)
    header = ("server", *COLUMNS.values(), *BLOCKS, "generator's share of a core")
    show(f"{count} connections held, an RSA key of 2,048 bits", header, rows)


def _compare(
    stack: ExitStack, transport: str, servers: tuple[Server, Server], count: int, rounds: int
) -> list[list[str]]:
    """Hold the connections of both servers, register over them in turns, and return the table's rows."""
    samples = Samples()
    crowds = [
        (server, _open(stack, samples, transport, server, count, base=16 * (number + 1)))
        for number, server in enumerate(servers)
    ]
    for _ in range(rounds):
        for server, phones in crowds:
            for kind in ("full", "refresh"):
                before = server.cpu()
                tally = phones.run(kind, count).check()
                samples.add(server.name, kind, (server.cpu() - before) / tally["ok"] * 1e6)
                samples.add(server.name, "share", tally.share)
    rows = [
        [
            f"{transport.upper()}, {server.name}",
            *(f"{samples.median(server.name, column):.0f}" for column in COLUMNS),
            *(longest_blocks(server) if isinstance(server, Roost) else ("-", "-")),
            f"{samples.median(server.name, 'share'):.2f}",
        ]
        for server in servers
    ]
    ratios = [f"{samples.ratio(servers[0].name, servers[1].name, column):.2f}" for column in COLUMNS]
    return [*rows, [f"{transport.upper()}, ratio", *ratios, "", "", ""]]


def _open(stack: ExitStack, samples: Samples, transport: str, server: Server, count: int, *, base: int) -> Phones:
    """Open the connections one after the other, and register each once."""
    port = server.secure_port if transport == "tls" else server.port
    time.sleep(SETTLE)  # media workers start when the listeners are open
    empty, before = server.resident(), server.cpu()
    phones = stack.enter_context(Phones(port, count, transport=transport, base=base))
    time.sleep(SETTLE)
    samples.add(server.name, "open", (server.cpu() - before) / count * 1e6)
    samples.add(server.name, "connection", (server.resident() - empty) / count)
    phones.run("full", count).check()
    samples.add(server.name, "registered", (server.resident() - empty) / count)
    return phones
