"""`roost status`: the devices, whether they are registered, and where their phones are."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import click

from api.ports import GREGORIAN_EPOCH
from daemon.cli_client import Unreachable, with_daemon
from daemon.cli_config import account_option, config_option, examples, json_option
from daemon.cli_find import DEVICES, list_all
from daemon.cli_table import Column, ago, heading, table, terminal_width, tinted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from daemon.cli_client import Answer, Client

    State = dict[str, Any]

COLUMNS: Final = (
    Column("NAME", 8),
    Column("USERNAME", 8),
    Column("STATE", 11),
    Column("CONTACT", 15),
    Column("PHONE", 8),
    Column("LATENCY", 7, right=True),
    Column("SINCE", 6, right=True),
)
COLOURS: Final = {"registered": "green", "in call": "cyan", "unreachable": "red", "disabled": "bright_black"}
CALM: Final = 9  # times as long as a look took is waited before the next: many devices are no load
UNSTEADY: Final = frozenset(("expires_in", "last_seen", "latency_ms", "registered_at"))
"""What always changes, and so is no change."""

# ECMA-48, and xterm's other screen.
FULL_SCREEN: Final = "\x1b[?1049h\x1b[?25l"
LEAVE: Final = "\x1b[?25h\x1b[?1049l"
HOME, CLEAR_LINE, CLEAR_REST = "\x1b[H", "\x1b[K", "\x1b[J"


@click.command(
    epilog=examples(
        "roost status",
        "roost status --watch",
        "roost status --missing --account sip.example.com",
        "roost status --json | jq '.devices[] | select(.registered | not).name'",
    )
)
@click.option("--missing", is_flag=True, help="Only devices that are not registered, or do not answer.")
@click.option("--watch", is_flag=True, help="Go on, and show what changes, until Ctrl-C.")
@click.option(
    "--interval",
    type=click.FloatRange(0.5, 3600),
    default=2.0,
    show_default=True,
    help="Seconds between looks of --watch.",
)
@account_option
@config_option
@json_option
def status(
    account: str | None, interval: float, config: Path | None, *, missing: bool, watch: bool, as_json: bool
) -> None:
    """Show the devices: who is registered, from where, with which phone, how fast it answers, and since when.

    A device with several contacts has a line for each. With --watch --json every change is one line of JSON.
    """

    async def work(client: Client) -> None:
        if watch:
            await _watch(client, interval, missing=missing, as_json=as_json)
        else:
            state = await _look(client, missing=missing)
            click.echo(json.dumps(state) if as_json else "\n".join(_lines(state)))

    try:
        with_daemon(config, work, account=account)
    except KeyboardInterrupt:
        if not watch:
            raise


async def _look(client: Client, *, missing: bool) -> State:
    """Return all devices with what is known of each, and the totals."""
    known = {row["device_id"]: row for account in client.accounts for row in await _details(client, account.id)}
    devices = [_device(account.id, row, known.get(row["id"], {})) for account, row in await list_all(client, DEVICES)]
    devices.sort(key=lambda device: (str(device["username"]), str(device["name"])))
    totals = {
        "devices": len(devices),
        "registered": sum(device["registered"] for device in devices),
        "unreachable": sum(device["reachable"] is False for device in devices),
        "in_call": sum(device["in_call"] for device in devices),
    }
    shown = [device for device in devices if not missing or not device["registered"] or device["reachable"] is False]
    return {"devices": shown, "totals": totals}


async def _details(client: Client, account_id: str) -> Sequence[Answer]:
    query = {"details": "true", "paginate": "false"}
    rows: Sequence[Answer] = (await client.ask("GET", f"/accounts/{account_id}/devices/status", query=query))["data"]
    return rows


def _device(account_id: str, row: Answer, known: Mapping[str, Any]) -> State:
    return {
        "account_id": account_id,
        "device_id": row["id"],
        "name": row.get("name", ""),
        "username": row.get("username", ""),
        "enabled": row.get("enabled", True),
        "registered": bool(known),
        "reachable": known.get("reachable"),
        "in_call": known.get("in_call", False),
        "contacts": known.get("contacts", []),
    }


def _lines(state: State) -> list[str]:
    """Return the table and the totals as lines, or why there is no table."""
    if "error" in state:
        return [state["error"]]
    if not state["totals"]["devices"]:
        return ["no devices yet: `roost device add` makes one"]
    rows = [row for device in state["devices"] for row in _rows(device)]
    head, *lines = table(COLUMNS, rows, width=terminal_width())
    return [
        heading(head),
        *(tinted(line, COLOURS.get(row[2])) for line, row in zip(lines, rows, strict=True)),
        _totals(state),
    ]


def _rows(device: State) -> Iterator[tuple[str, ...]]:
    name, username = str(device["name"]), str(device["username"])
    if not device["contacts"]:
        yield name, username, "missing" if device["enabled"] else "disabled", "-", "-", "-", "-"
    for contact in device["contacts"]:
        latency = contact["latency_ms"]
        yield (
            name,
            username,
            _state(device, contact),
            f"{contact['transport']}:{contact['source']}",
            contact["user_agent"] or "-",
            "-" if latency is None else f"{latency:.0f} ms",
            ago(time.time() + GREGORIAN_EPOCH - contact["first_registered_at"]),
        )


def _state(device: State, contact: Mapping[str, Any]) -> str:
    if contact["reachable"] is False:
        return "unreachable"
    return "in call" if device["in_call"] else "registered"


def _totals(state: State) -> str:
    totals = state["totals"]
    parts = [f"{totals['devices']} devices", f"{totals['registered']} registered"]
    parts += [
        f"{totals[key]} {word}"
        for key, word in (("unreachable", "unreachable"), ("in_call", "in a call"))
        if totals[key]
    ]
    return ", ".join(parts)


async def _watch(client: Client, interval: float, *, missing: bool, as_json: bool) -> None:
    redraws = sys.stdout.isatty() and not as_json
    before: object = None
    with _full_screen() if redraws else contextlib.nullcontext():
        while True:
            looked = time.monotonic()
            try:
                state = await _look(client, missing=missing)
            except Unreachable as error:  # it is being restarted, perhaps
                state = {"error": error.message}
            if redraws:
                _redraw(state)
            elif before != (before := _without(state, UNSTEADY)):
                click.echo(json.dumps(state) if as_json else "\n".join((time.strftime("%H:%M:%S"), *_lines(state), "")))
            await asyncio.sleep(max(interval, CALM * (time.monotonic() - looked)))


def _without(value: Any, keys: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without(inner, keys) for key, inner in value.items() if key not in keys}
    return [_without(inner, keys) for inner in value] if isinstance(value, list) else value


def _redraw(state: State) -> None:
    size = shutil.get_terminal_size()
    lines = _lines(state)
    room = size.lines - 2
    if len(lines) > room:
        lines = [*lines[: room - 2], f"... {len(lines) - room + 1} more lines", lines[-1]]
    foot = time.strftime("%H:%M:%S") + "  Ctrl-C ends this"
    text = "\n".join(line + CLEAR_LINE for line in (*lines, "", foot)[: size.lines])
    click.echo(HOME + text + CLEAR_REST, nl=False, color=True)  # the cursor's way is no colour


@contextlib.contextmanager
def _full_screen() -> Iterator[None]:
    """Draw on the terminal's other screen, and leave it as it was."""
    click.echo(FULL_SCREEN, nl=False)
    try:
        yield
    finally:
        click.echo(LEAVE, nl=False)
