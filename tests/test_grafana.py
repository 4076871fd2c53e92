"""The dashboard in docs/ shows what the daemon exports."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import ClientSession

from config.listen import HostPort, Listener, ListenTransport
from config.settings import ApiSettings, Settings, SipSettings, StoreSettings, TlsSettings
from daemon.app import Roost
from daemon.demo_phones import free_port
from daemon.selfsigned import make_pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

LOCAL = "127.0.0.1"
DASHBOARD = json.loads((Path(__file__).parents[1] / "docs/grafana.json").read_text())
METRIC = re.compile(r"\b(?:roost|process)_\w+")
GROUPED = re.compile(r"by \((\w+)\) \((?:rate\()?(\w+)\{")
HEAD = re.compile(r"^# (?:TYPE|HELP) (\S+)", re.MULTILINE)


@pytest.fixture
async def exported(tmp_path: Path) -> AsyncIterator[str]:
    """Return what /metrics says of a daemon that has all kinds of listener."""
    pem = tmp_path / "pair.pem"
    pem.write_bytes(b"".join(make_pair([LOCAL], days=1)))
    roost = Roost(
        Settings(
            sip=SipSettings(listen=tuple(Listener(each, LOCAL, free_port()) for each in ListenTransport)),
            tls=TlsSettings(certificate=str(pem)),
            api=ApiSettings(listen=HostPort(LOCAL, port := free_port())),
            store=StoreSettings(path=str(tmp_path / "roost.db")),
        )
    )
    url = f"http://{LOCAL}:{port}"
    try:
        await roost.start()
        async with ClientSession() as session:
            await session.get(f"{url}/v2/token_auth")  # so that there is a request to tell of
            async with session.get(f"{url}/metrics") as answer:
                yield await answer.text()
    finally:
        await roost.stop()


def expressions() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]


async def test_every_metric_on_the_dashboard_is_exported(exported: str) -> None:
    """A panel of a metric that is not there any more would stay empty without a word."""
    known = {name + suffix for name in HEAD.findall(exported) for suffix in ("", "_bucket")}
    known |= set(re.findall(r"^(\w+)", exported, re.MULTILINE))

    assert set() == {name for each in expressions() for name in METRIC.findall(each)} - known


async def test_every_metric_of_ours_is_on_the_dashboard(exported: str) -> None:
    """What is measured is shown; process_start_time_seconds is for alerts."""
    shown = {name for each in expressions() for name in METRIC.findall(each)}
    families = {name for name in HEAD.findall(exported) if name.startswith("roost_")}

    assert set() == {name for name in families if not any(each.startswith(name) for each in shown)}


async def test_panels_group_by_labels_that_there_are(exported: str) -> None:
    """Where a metric has a sample, the label that a panel groups it by is on it."""
    for expression in expressions():
        for label, name in GROUPED.findall(expression):
            samples = [line for line in exported.splitlines() if line.startswith(f"{name}{{")]
            assert all(f'{label}="' in line for line in samples), expression


def test_panels_do_not_overlap() -> None:
    """Every panel has its own place in the 24 columns."""
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + dx, place["y"] + dy) for dx in range(place["w"]) for dy in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
