"""`roost sync`: check-syncs by hand, through the API of the daemon that runs.

The command makes itself a token in the database, as its owner may, and ends it when it is done.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from api.ports import TokenIdentity
from daemon.cli_accounts import API_AUTH, in_store
from daemon.cli_config import config_option, json_option, load_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Mapping
    from pathlib import Path

    import aiohttp

    from api.ports import Document
    from config.listen import HostPort
    from daemon.store import Store

Answer = dict[str, Any]
"""An envelope, or a row of one: JSON as it came."""

TOKEN_TTL: Final = 86_400  # seconds: longer than any sync of many takes; the token is ended with the command
ANSWER_LIMIT: Final = 90.0  # seconds: the API may wait 60 for a phone
POLL: Final = 0.5  # seconds between looks at a job
GOOD: Final = frozenset({"delivered", "rebooting", "rebooted"})

_DEVICE_ID = re.compile(r"[0-9a-f]{32}")
_ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where a listener on all is reached


@click.command()
@click.argument("device", required=False)
@click.option("--all", "every", is_flag=True, help="All devices, one after the other.")
@click.option("--account", "account_id", metavar="ID", help="Account of the devices; otherwise all accounts.")
@click.option("--mode", type=click.Choice(["resync", "reboot"]), help="Otherwise what the phone's make means by it.")
@click.option("--rate", type=click.FloatRange(0.01, 100), default=5.0, show_default=True, help="NOTIFYs a second.")
@click.option(
    "--wait", type=click.FloatRange(0, 60), default=35.0, show_default=True, help="Seconds to wait for one device."
)
@config_option
@json_option
def sync(
    device: str | None,
    account_id: str | None,
    mode: str | None,
    rate: float,
    wait: float,
    config: Path | None,
    *,
    every: bool,
    as_json: bool,
) -> None:
    """Ask a phone to fetch its configuration, or all of them with --all.

    DEVICE is a device's id or its SIP username. Ctrl-C stops a sync of all.
    """
    if every == (device is not None):
        raise click.UsageError("name one DEVICE, or say --all")
    target = _Target(_address(load_settings(config).settings.api.listen), account_id)
    accounts, token = in_store(config, target.log_in)
    form = {} if mode is None else {"mode": mode}
    try:
        if device is None:
            work = _sync_all(target, accounts, token, {**form, "rate": rate}, as_json=as_json)
        else:
            work = _sync_one(target, accounts, token, device, {**form, "wait": wait}, as_json=as_json)
        good = _run(work)
    finally:
        in_store(config, lambda store: store.tokens.revoke(token))
    raise SystemExit(0 if good else 1)


@dataclass(frozen=True, slots=True)
class _Target:
    """Which daemon, and which of its accounts."""

    url: str
    account_id: str | None

    async def log_in(self, store: Store) -> tuple[list[Document], str]:
        """Return the accounts that are meant, and a token for all of them."""
        accounts = await store.list_accounts()
        master = next((each for each in accounts if each.private.get("pvt_superduper_admin") is True), None)
        meant = [each for each in accounts if self.account_id in (None, each.id)]
        if master is None or not meant:
            raise click.ClickException(f"there is no such account: {self.account_id or 'none at all'}")
        return meant, await store.tokens.issue(TokenIdentity(master.id, None, API_AUTH), ttl=TOKEN_TTL)


class _Api:
    """The API of the daemon, with a token."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self._url = url
        self._http = http

    async def ask(
        self, method: str, path: str, data: Mapping[str, object] | None = None, query: Mapping[str, str] | None = None
    ) -> Answer:
        """Return the envelope of an answer. Raises ClickException for a refusal, but returns {} for 404."""
        body = None if data is None else {"data": data}
        async with self._http.request(method, f"{self._url}{path}", json=body, params=query) as response:
            envelope: Answer = await response.json()
            if response.status == 404:  # no such thing: who asked knows what that means
                return {}
            if not response.ok:
                raise click.ClickException(f"{envelope.get('message')}: {json.dumps(envelope.get('data'))}")
            return envelope


@contextlib.asynccontextmanager
async def _connect(target: _Target, token: str) -> AsyncIterator[_Api]:
    # Imported here, so that the other commands start without it.
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=ANSWER_LIMIT)
    async with aiohttp.ClientSession(headers={"X-Auth-Token": token}, timeout=timeout) as http:
        yield _Api(target.url, http)


def _run(work: Coroutine[Any, Any, bool]) -> bool:
    import aiohttp

    try:
        return asyncio.run(work)
    except (aiohttp.ClientError, TimeoutError, asyncio.TimeoutError) as error:
        raise click.ClickException(f"the daemon does not answer: {str(error) or 'not in time'}") from error


async def _sync_one(
    target: _Target, accounts: list[Document], token: str, device: str, form: Mapping[str, object], *, as_json: bool
) -> bool:
    async with _connect(target, token) as api:
        found = [path for account in accounts for path in await _find(api, account, device)]
        if not found:
            raise click.ClickException(f"no device has the id or SIP username {device}")
        if len(found) > 1:
            raise click.ClickException(f"{len(found)} devices have the SIP username {device}: say --account or the id")
        deliveries = (await api.ask("POST", f"{found[0]}/sync", form)).get("deliveries", [])
    if as_json:
        click.echo(json.dumps(deliveries))
    else:
        for each in deliveries:
            click.echo(_line(each))
    return all(each["state"] in GOOD for each in deliveries)


async def _find(api: _Api, account: Document, device: str) -> list[str]:
    """Return the paths of the account's devices that are meant: one at most by id, else those of the SIP username."""
    base = f"/accounts/{account.id}/devices"
    if _DEVICE_ID.fullmatch(device) and await api.ask("GET", f"{base}/{device}"):
        return [f"{base}/{device}"]
    listed = await api.ask("GET", base, query={"filter_sip.username": device, "paginate": "false"})
    return [f"{base}/{row['id']}" for row in listed.get("data", [])]


async def _sync_all(
    target: _Target, accounts: list[Document], token: str, form: Mapping[str, object], *, as_json: bool
) -> bool:
    async with _connect(target, token) as api:
        jobs = [await _sync_account(api, account, form, quiet=as_json) for account in accounts]
    if as_json:
        click.echo(json.dumps(jobs))
    return all(job["state"] == "done" for job in jobs)


async def _sync_account(api: _Api, account: Document, form: Mapping[str, object], *, quiet: bool) -> Answer:
    """Sync the devices of an account and watch that to its end."""
    base = f"/accounts/{account.id}/devices/sync"
    job: Answer = (await api.ask("POST", base, form))["data"]
    name = str(account.data.get("name", account.id))
    try:
        if quiet or not job["total"]:
            while job["state"] == "running":
                job = await _look(api, base, job)
        else:
            with click.progressbar(length=job["total"], label=name) as bar:
                while job["state"] == "running":
                    before, job = job["sent"], await _look(api, base, job)
                    bar.update(job["sent"] - before)
    except asyncio.CancelledError:
        job = (await api.ask("DELETE", f"{base}/{job['id']}"))["data"]
        click.echo(f"{name}: stopped, {job['sent']} of {job['total']} sent", err=True)
        raise
    if not quiet:
        click.echo(f"{name}: {_counts(job)}")
    return job


async def _look(api: _Api, base: str, job: Answer) -> Answer:
    await asyncio.sleep(POLL)
    found: Answer = (await api.ask("GET", f"{base}/{job['id']}"))["data"]
    return found


def _counts(job: Answer) -> str:
    states = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in sorted(job["states"].items()))
    return f"{job['sent']} of {job['total']} devices: {states}" if states else f"{job['total']} devices"


def _line(each: Answer) -> str:
    status = f"{each['sip_status']} {each['sip_reason']}" if each["sip_status"] else None
    latency = None if each["latency_ms"] is None else f"{each['latency_ms']} ms"
    facts = (each["contact"], each["vendor"], each["event"], each["state"].replace("_", " "), status, latency)
    return "  ".join(fact for fact in facts if fact)


def _address(listen: HostPort) -> str:
    if not listen.port:
        raise click.ClickException("api.listen has port 0, so the daemon's address cannot be known from here")
    host = _ANY_ADDRESS.get(listen.host, listen.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{listen.port}/v2"
