"""`roost calls`: the calls that are up, those that have ended, and the end of one."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

import click

from daemon.cli_client import part, with_daemon
from daemon.cli_config import account_option, config_option, examples, json_option
from daemon.cli_table import Column, ago, echo_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from daemon.cli_client import Answer, Client

LIVE: Final = (
    Column("DEVICE", 8),
    Column("NUMBER", 8),
    Column("STATE", 14),
    Column("FOR", 6, right=True),
    Column("CALL", 20),
)
ENDED: Final = (
    Column("BEGAN", 14),
    Column("DEVICE", 6),
    Column("NUMBER", 6),
    Column("OUTCOME", 8),
    Column("TALKED", 6, right=True),
    Column("CALL", 20),
)
LEGS: Final = 5  # rows read for each call that is wanted: a call has two legs, and more where several phones rang
MOST_ROWS: Final = 5_000  # that the API gives at once


@click.group(
    invoke_without_command=True,
    epilog=examples("roost calls", "roost calls --ended --limit 5", "roost calls hangup 63962653547-1f2e3d4c"),
)
@click.option("--ended", is_flag=True, help="Those that have ended, the latest first.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many that have ended.")
@account_option
@config_option
@json_option
@click.pass_context
def calls(
    context: click.Context, account: str | None, limit: int, config: Path | None, *, ended: bool, as_json: bool
) -> None:
    """Show the calls that are up, or those that have ended. With --json every leg is an element."""
    if context.invoked_subcommand is not None:
        return

    async def work(client: Client) -> None:
        if ended:
            _show_ended(
                await _legs(client, "cdrs", {"page_size": str(min(limit * LEGS, MOST_ROWS))}), limit, as_json=as_json
            )
        else:
            _show_live(await _legs(client, "channels", {}), as_json=as_json)

    with_daemon(config, work, account=account)


@calls.command(epilog=examples("roost calls hangup 63962653547-1f2e3d4c"))
@click.argument("call")
@account_option
@config_option
@json_option
def hangup(call: str, account: str | None, config: Path | None, *, as_json: bool) -> None:
    """End a call. CALL is its id as `roost calls` shows it, a Call-ID of one of its legs, or how one of them begins."""

    async def work(client: Client) -> Answer:
        legs = [leg for leg in await _legs(client, "channels", {}) if _is_meant(leg, call)]
        meant = {leg["interaction_id"] for leg in legs}
        if not meant:
            raise click.ClickException(f"no call that is up has the id {call}")
        if len(meant) > 1:
            raise click.ClickException(f"{call} may mean {len(meant)} calls: {', '.join(sorted(meant))}")
        leg = legs[0]
        path = f"/accounts/{leg['account_id']}/channels/{part(leg['uuid'])}"
        await client.ask("POST", path, {"action": "hangup"})
        return {"interaction_id": leg["interaction_id"], "account_id": leg["account_id"]}

    done = with_daemon(config, work, account=account)
    click.echo(json.dumps(done) if as_json else f"hung up: {done['interaction_id']}")


async def _legs(client: Client, resource: str, query: dict[str, str]) -> list[Answer]:
    return [
        {**row, "account_id": account.id}
        for account in client.accounts
        for row in (await client.ask("GET", f"/accounts/{account.id}/{resource}", query=query)).get("data", [])
    ]


def _is_meant(leg: Answer, text: str) -> bool:
    return any(str(leg.get(key, "")).startswith(text) for key in ("interaction_id", "uuid"))


def _calls(legs: Iterable[Answer]) -> list[list[Answer]]:
    """Return the legs call by call, in the order of the first of each."""
    found: dict[str, list[Answer]] = {}
    for leg in legs:
        found.setdefault(leg["interaction_id"], []).append(leg)
    return list(found.values())


def _show_live(legs: Sequence[Answer], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(legs))
    elif legs:
        echo_table(LIVE, [_live(each) for each in _calls(legs)])
    else:
        click.echo("no calls are up", err=True)


def _live(legs: Sequence[Answer]) -> list[str]:
    devices, numbers = _side(legs, "device"), _side(legs, "number")
    device = next((leg for leg in devices if leg["answered"]), devices[0] if devices else None)
    number = next((leg for leg in numbers if leg["answered"]), numbers[0] if numbers else None)
    if number is None:
        state = "device rings" if device and device["ringing"] else "calls device"
        if device and device["answered"]:
            state = "device answered"
    else:
        state = "talking" if number["answered"] else "number rings" if number["ringing"] else "calls number"
    return [
        _who(device),
        _who(number),
        state,
        ago(max(leg["elapsed_s"] for leg in legs)),
        legs[0]["interaction_id"],
    ]


def _show_ended(legs: Sequence[Answer], limit: int, *, as_json: bool) -> None:
    latest = sorted(_calls(legs), key=lambda each: max(leg["ended_at"] for leg in each), reverse=True)[:limit]
    if as_json:
        click.echo(json.dumps([leg for each in latest for leg in each]))
    elif latest:
        echo_table(ENDED, [_ended(each) for each in latest])
    else:
        click.echo("no calls have ended, or their records are not kept (quickcall.cdr_retention)", err=True)


def _ended(legs: Sequence[Answer]) -> list[str]:
    devices, numbers = _side(legs, "device"), _side(legs, "number")
    device = next((leg for leg in devices if "answered_at" in leg), devices[0] if devices else None)
    number = next((leg for leg in numbers if "answered_at" in leg), numbers[0] if numbers else None)
    told: dict[str, Any] = number or device or legs[0]
    talked = told["ended_at"] - told["answered_at"] if number and "answered_at" in told else 0
    return [
        time.strftime("%m-%d %H:%M:%S", time.localtime(min(leg["began_at"] for leg in legs))),
        _who(device),
        _who(number),
        str(told["outcome"]).replace("_", " "),
        ago(talked) if talked else "-",
        legs[0]["interaction_id"],
    ]


def _side(legs: Sequence[Answer], side: str) -> list[Answer]:
    return [leg for leg in legs if leg.get("side") == side]


def _who(leg: Answer | None) -> str:
    return "-" if leg is None else str(leg.get("destination") or leg.get("dialed_number") or "-")
