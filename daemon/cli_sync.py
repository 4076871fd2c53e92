"""`roost sync`: check-syncs by hand, through the API of the daemon that runs."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final

import click

from daemon.cli_client import with_daemon
from daemon.cli_config import account_option, config_option, examples, json_option
from daemon.cli_find import DEVICES, find_one

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from api.ports import Document
    from daemon.cli_client import Answer, Client

POLL: Final = 0.5  # seconds between looks at a job
GOOD: Final = frozenset({"delivered", "rebooting", "rebooted"})


@click.command(epilog=examples("roost sync 1001", 'roost sync "Front desk" --mode reboot', "roost sync --all --rate 2"))
@click.argument("device", required=False)
@click.option("--all", "every", is_flag=True, help="All devices, one after the other.")
@click.option("--mode", type=click.Choice(["resync", "reboot"]), help="Otherwise what the phone's make means by it.")
@click.option("--rate", type=click.FloatRange(0.01, 100), default=5.0, show_default=True, help="NOTIFYs a second.")
@click.option(
    "--wait", type=click.FloatRange(0, 60), default=35.0, show_default=True, help="Seconds to wait for one device."
)
@account_option
@config_option
@json_option
def sync(
    device: str | None,
    mode: str | None,
    rate: float,
    wait: float,
    account: str | None,
    config: Path | None,
    *,
    every: bool,
    as_json: bool,
) -> None:
    """Ask a phone to fetch its configuration, or all of them with --all.

    DEVICE is a device's id, its SIP username or its name. Ctrl-C stops a sync of all.
    """
    if every == (device is not None):
        raise click.UsageError("name one DEVICE, or say --all")
    form = {} if mode is None else {"mode": mode}

    async def work(client: Client) -> bool:
        if device is None:
            return await _sync_all(client, {**form, "rate": rate}, as_json=as_json)
        return await _sync_one(client, device, {**form, "wait": wait}, as_json=as_json)

    raise SystemExit(0 if with_daemon(config, work, account=account) else 1)


async def _sync_one(client: Client, device: str, form: Mapping[str, object], *, as_json: bool) -> bool:
    found = await find_one(client, DEVICES, device)
    deliveries = (await client.ask("POST", f"{found.path}/sync", form)).get("deliveries", [])
    if as_json:
        click.echo(json.dumps(deliveries))
    else:
        for each in deliveries:
            click.echo(_line(each))
    return all(each["state"] in GOOD for each in deliveries)


async def _sync_all(client: Client, form: Mapping[str, object], *, as_json: bool) -> bool:
    jobs = [await _sync_account(client, account, form, quiet=as_json) for account in client.accounts]
    if as_json:
        click.echo(json.dumps(jobs))
    return all(job["state"] == "done" for job in jobs)


async def _sync_account(client: Client, account: Document, form: Mapping[str, object], *, quiet: bool) -> Answer:
    """Sync the devices of an account and watch that to its end."""
    base = f"/accounts/{account.id}/devices/sync"
    job: Answer = (await client.ask("POST", base, form))["data"]
    name = str(account.data.get("name", account.id))
    try:
        if quiet or not job["total"]:
            while job["state"] == "running":
                job = await _look(client, base, job)
        else:
            with click.progressbar(length=job["total"], label=name) as bar:
                while job["state"] == "running":
                    before, job = job["sent"], await _look(client, base, job)
                    bar.update(job["sent"] - before)
    except asyncio.CancelledError:
        job = (await client.ask("DELETE", f"{base}/{job['id']}"))["data"]
        click.echo(f"{name}: stopped, {job['sent']} of {job['total']} sent", err=True)
        raise
    if not quiet:
        click.echo(f"{name}: {_counts(job)}")
    return job


async def _look(client: Client, base: str, job: Answer) -> Answer:
    await asyncio.sleep(POLL)
    found: Answer = (await client.ask("GET", f"{base}/{job['id']}"))["data"]
    return found


def _counts(job: Answer) -> str:
    states = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in sorted(job["states"].items()))
    return f"{job['sent']} of {job['total']} devices: {states}" if states else f"{job['total']} devices"


def _line(each: Answer) -> str:
    status = f"{each['sip_status']} {each['sip_reason']}" if each["sip_status"] else None
    latency = None if each["latency_ms"] is None else f"{each['latency_ms']} ms"
    facts = (each["contact"], each["vendor"], each["event"], each["state"].replace("_", " "), status, latency)
    return "  ".join(fact for fact in facts if fact)
