"""CPU for each read of the API, with a bare aiohttp handler that returns the same bytes as the peer."""

from __future__ import annotations

import json
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bare import Bare
from http_load import ask
from kamailio import TUNED, Kamailio
from phones import Phones
from roost import Roost
from table import Samples, show

if TYPE_CHECKING:
    from pathlib import Path

    from processes import ServerProcess

DEVICE = f"{7:032x}"


@dataclass(frozen=True, slots=True)
class Read:
    """A request to measure."""

    name: str
    path: str
    """Below the account."""
    count: int
    """Requests of a round."""
    target: float
    """The ratio to the bare handler that is wanted."""


STATUS = {
    100: Read("status, 100 registered", "/devices/status", 1500, 1.5),
    10_000: Read("status, 10,000 registered", "/devices/status", 400, 1.15),
}
PAGES = (
    Read("device list, 50 rows", "/devices", 1000, 2.0),
    Read("device list, 50 rows, with_status", "/devices?with_status=true", 1000, 2.0),
    Read("device list, 500 rows", "/devices?page_size=500", 300, 2.0),
    Read("one device", f"/devices/{DEVICE}", 1500, 2.0),
    Read("one device's status", f"/devices/{DEVICE}/status", 1500, 2.0),
)


def status(directory: Path, *, full: bool) -> None:
    """Measure GET /devices/status, and Kamailio's dump of as many contacts."""
    samples, targets = Samples(), {}
    for devices, read in STATUS.items():
        with ExitStack() as stack:
            roost = _registered(stack, directory / f"roost-{devices}", devices)
            _compare(stack, samples, directory, roost, read, rounds=41 if full else 15)
            targets[read.name] = read.target
            _dump(stack, samples, directory / f"kamailio-{devices}", devices, read, rounds=3)
    _report(samples, targets)
    show(
        "Kamailio's dump of the same table (CPU, ms)",
        ("registered", "Roost", "Kamailio ul.dump", "Kamailio ul.dump brief", "times Roost"),
        [
            [f"{devices:,}", f"{samples.median(read.name, 'roost') / 1e3:.3f}"]
            + [f"{samples.median(read.name, column) / 1e3:.2f}" for column in ("dump", "brief")]
            + [f"{samples.median(read.name, 'brief') / samples.median(read.name, 'roost'):.0f}"]
            for devices, read in STATUS.items()
        ],
    )


def pages(directory: Path, *, full: bool) -> None:
    """Measure lists and documents of 10,000 devices, half of them registered."""
    samples = Samples()
    with ExitStack() as stack:
        roost = _registered(stack, directory / "roost", 10_000, registered=5000)
        for read in PAGES:
            _compare(stack, samples, directory, roost, read, rounds=41 if full else 15)
    _report(samples, {read.name: read.target for read in PAGES})


def _registered(stack: ExitStack, directory: Path, devices: int, *, registered: int = 0) -> Roost:
    roost = Roost(directory, devices, sip_qualify_interval=0)
    stack.callback(roost.stop)
    with Phones(roost.port, registered or devices) as phones:
        phones.run("full", registered or devices).check()
    return roost


def _compare(stack: ExitStack, samples: Samples, directory: Path, roost: Roost, read: Read, *, rounds: int) -> None:
    bare = Bare(directory / f"bare-{len(samples.rows)}", roost.get(read.path))
    stack.callback(bare.stop)
    path = roost.account_url.partition(str(roost.api_port))[2] + read.path
    headers = {"X-Auth-Token": roost.token}
    for number in range(rounds + 1):
        for column, server, port, where in (("roost", roost, roost.api_port, path), ("bare", bare, bare.port, "/")):
            cpu, share = _cpu_of(server, port, where, read.count, headers)
            if number:  # the first round fills caches
                samples.add(read.name, column, cpu)
                samples.add(read.name, "share", share)
        if number:
            samples.add(read.name, "ratio", cpu and samples.latest(read.name, "roost") / cpu)


def _cpu_of(server: ServerProcess, port: int, path: str, count: int, headers: dict[str, str]) -> tuple[float, float]:
    before = server.cpu()
    asked = ask(port, path, count, headers)
    return (server.cpu() - before) / count * 1e6, asked.share


def _dump(stack: ExitStack, samples: Samples, directory: Path, devices: int, read: Read, *, rounds: int) -> None:
    kamailio = Kamailio(directory, TUNED, devices)
    stack.callback(kamailio.stop)
    with Phones(kamailio.port, devices, base=64) as phones:
        phones.run("full", devices).check()
    for _ in range(rounds):
        for column, parameters in (("dump", []), ("brief", ["brief"])):
            before = kamailio.cpu()
            dumped = _rpc(kamailio.port, "ul.dump", parameters)
            if f"p{devices - 1}@" not in dumped and f'"p{devices - 1}"' not in dumped:
                raise RuntimeError(f"the dump is not whole: {dumped[:300]}")
            samples.add(read.name, column, (kamailio.cpu() - before) * 1e6)


def _rpc(port: int, method: str, parameters: list[str]) -> str:
    body = json.dumps({"jsonrpc": "2.0", "method": method, "params": parameters, "id": 1}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/RPC", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=300) as response:
        text: str = response.read().decode()
    return text


def _report(samples: Samples, targets: dict[str, float]) -> None:
    show(
        "CPU for each request (us), 64 connections",
        ("request", "Roost", "bare aiohttp", "ratio", "lowest to highest", "wanted", "clients' share of a core"),
        [
            [name]
            + [f"{samples.median(name, column):.0f}" for column in ("roost", "bare")]
            + [f"{samples.median(name, 'ratio'):.2f}", samples.range(name, "ratio"), f"{wanted:.2f}"]
            + [f"{samples.median(name, 'share'):.2f}"]
            for name, wanted in targets.items()
        ],
    )
