"""What monitoring sees of a running daemon."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import ClientSession
from prometheus_client.parser import text_string_to_metric_families
from registering import Crowd

from api.ports import Draft, Kind
from config.listen import HostPort, Listener, ListenTransport
from config.settings import ApiSettings, MetricsSettings, Settings, SipSettings, StoreSettings
from daemon.app import Roost
from daemon.demo_phones import free_port
from daemon.store import Store
from sip.flow import Address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

REALM = "acme.test"
PASSWORD = "correct-horse"
LOCAL = "127.0.0.1"


class Daemon:
    """A whole daemon on ports of its own, with one device."""

    def __init__(self, path: Path) -> None:
        self.sip, self.api, self.metrics = Address(LOCAL, free_port()), free_port(), free_port()
        listen = tuple(Listener(each, *self.sip) for each in (ListenTransport.UDP, ListenTransport.TCP))
        self.settings = Settings(
            sip=SipSettings(listen=listen),
            api=ApiSettings(listen=HostPort(LOCAL, self.api)),
            metrics=MetricsSettings(listen=(HostPort(LOCAL, self.metrics),)),
            store=StoreSettings(path=str(path)),
        )
        self.roost = Roost(self.settings)

    async def start(self) -> Daemon:
        store = await Store.open(Path(self.settings.store.path))
        account = await store.create_master("acme", REALM)
        data = {"name": "Bob", "sip": {"username": "bob", "password": PASSWORD}}
        await store.documents.create(Draft(Kind.DEVICE, account.account_id, "d1", data))
        await store.close()
        await self.roost.start()
        return self

    async def get(self, path: str, *, port: int | None = None, **headers: str) -> tuple[int, str]:
        """Return status and body of a GET on the API's port, or another."""
        url = f"http://{LOCAL}:{port or self.api}{path}"
        async with ClientSession() as session, session.get(url, headers=headers) as answer:
            return answer.status, await answer.text()

    async def figures(self) -> dict[tuple[str, ...], float]:
        """Return every sample by its name and the values of its labels."""
        status, text = await self.get("/metrics")
        assert 200 == status
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    daemon = Daemon(tmp_path / "roost.db")
    await daemon.start()
    yield daemon
    await daemon.roost.stop()


@pytest.fixture
async def crowd(daemon: Daemon) -> AsyncIterator[Crowd]:
    crowd = Crowd(daemon.sip, REALM, PASSWORD)
    await crowd.start()
    yield crowd
    await crowd.close()


async def test_registrations_are_counted_and_timed(daemon: Daemon, crowd: Crowd) -> None:
    """A phone that registers is challenged once and added once, and the time includes the commit."""

    assert 200 == (await crowd.register("bob")).status
    figures = await daemon.figures()

    assert (1, 1, 0) == tuple(figures["roost_registrations_total", each] for each in ("challenged", "added", "removed"))
    assert (1, 1) == (figures["roost_bindings",], figures["roost_bindings_reach", "reachable"])
    assert 1 == figures["roost_register_duration_seconds_count",]
    assert figures["roost_store_commit_duration_seconds_count",] >= 1
    assert figures["roost_register_duration_seconds_sum",] > 0


async def test_wrong_passwords_and_dropped_messages_are_counted(daemon: Daemon) -> None:
    """What goes wrong has its figures too."""
    crowd = await Crowd(daemon.sip, REALM, "wrong").start()
    assert 401 == (await crowd.register("bob")).status
    await crowd.close()
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        asyncio.DatagramProtocol, remote_addr=daemon.sip
    )
    transport.sendto(b"nonsense\r\n\r\n")
    transport.close()
    await daemon.get("/readyz")  # which asks by SIP, behind what was sent
    figures = await daemon.figures()

    assert 1 == figures["roost_registrations_total", "wrong_credentials"]
    assert 1 == figures["roost_sip_messages_dropped_total", "unreadable_message"]


async def test_api_requests_are_counted_by_method_and_status(daemon: Daemon) -> None:
    """A method that nobody knows is no label of its own, for clients choose it."""
    status, _ = await daemon.get("/v2/accounts/none")
    async with ClientSession() as session:
        (await session.request("PROPFIND", f"http://{LOCAL}:{daemon.api}/v2/coffee")).release()
    figures = await daemon.figures()

    assert 1 == figures["roost_api_requests_total", "GET", str(status)]
    assert 1 == sum(value for key, value in figures.items() if key[:2] == ("roost_api_requests_total", "other"))
    assert not any("PROPFIND" in key for key in figures)


async def test_names_and_units_follow_prometheus(daemon: Daemon, crowd: Crowd) -> None:
    """Names begin with ours or `process_`, times are seconds, every family says what it is, none repeats."""
    await crowd.register("bob")
    _, text = await daemon.get("/metrics")
    families = list(text_string_to_metric_families(text))
    names = [family.name for family in families]

    assert len(names) == len(set(names))
    assert all(name.startswith(("roost_", "process_")) for name in names)
    assert all(family.documentation.endswith(".") for family in families)
    assert all(family.name.endswith("_seconds") for family in families if family.type == "histogram")
    assert PASSWORD not in text
    assert "bob" not in text


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz"])
async def test_a_proxy_does_not_publish_them(daemon: Daemon, path: str) -> None:
    """Through the API's address only clients on this host are answered; an address of their own answers everybody."""
    direct, _ = await daemon.get(path)
    proxied, _ = await daemon.get(path, **{"X-Forwarded-For": "192.0.2.1"})
    own, _ = await daemon.get(path, port=daemon.metrics, **{"X-Forwarded-For": "192.0.2.1"})

    assert (200, 404, 200) == (direct, proxied, own)


async def test_the_api_is_not_served_on_the_metrics_address(daemon: Daemon) -> None:
    """Who may read figures may not read devices."""
    status, _ = await daemon.get("/v2/openapi.json", port=daemon.metrics)

    assert 404 == status
