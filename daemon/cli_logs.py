"""`roost logs`: one phone's life, from the daemon's events and from the journal."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import click

from api.ports import GREGORIAN_EPOCH
from daemon.cli_client import with_daemon
from daemon.cli_config import account_option, config_option, examples, json_option
from daemon.cli_events import LISTENING, follow
from daemon.cli_find import DEVICES, find_one
from daemon.cli_journal import Journal, Trail, why_no_journal
from daemon.cli_table import printable

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.cli_client import Client

NAMES: Final = "device,sync,notify,quickcall"
HIDDEN: Final = frozenset(
    ("event", "timestamp", "id", "account_id", "device_id", "level", "logger", "call_ids", "leg_device")
)
"""Facts that a line for people does without, or has elsewhere."""


@click.command(
    epilog=examples(
        "roost logs 1001",
        "roost logs 1001 --since today --no-follow",
        "roost logs 'Front desk' --json | jq -r .event",
    )
)
@click.argument("device")
@click.option("--since", default="1 hour ago", show_default=True, metavar="TIME", help="As journalctl has it.")
@click.option("--follow/--no-follow", "follows", default=True, help="Go on with what happens, until Ctrl-C.")
@click.option("--unit", default="roost", show_default=True, help="The daemon's unit in the journal.")
@account_option
@config_option
@json_option
def logs(
    device: str, since: str, unit: str, account: str | None, config: Path | None, *, follows: bool, as_json: bool
) -> None:
    """Tell one phone's life: registrations, syncs and calls of DEVICE, as they happen.

    The lines come from the journal of this host, where there is one, by device id and by the Call-IDs seen beside it;
    and from the daemon's events, which begin now. With --json every line is an object: `from` is `log` or `event`.
    """
    missing = why_no_journal(unit)
    if missing and not follows:
        raise click.ClickException(f"{missing}: nothing can be told of what was")
    if missing:
        click.echo(f"{missing}: only the daemon's events follow", err=True)
    journal = None if missing else Journal(unit, since, follow=follows)
    printer = _Printer(as_json=as_json)
    try:
        with_daemon(config, lambda client: _tell(client, device, journal, printer, follows=follows), account=account)
    except KeyboardInterrupt:
        if not follows:
            raise
    finally:
        if journal is not None:
            journal.close()


async def _tell(client: Client, device: str, journal: Journal | None, printer: _Printer, *, follows: bool) -> None:
    found = await find_one(client, DEVICES, device)
    trail = Trail(found.id)
    if not follows:
        await _tell_journal(journal, trail, printer)
        return
    await asyncio.gather(
        _tell_journal(journal, trail, printer, must=False), _tell_events(client, found.account.id, trail, printer)
    )


async def _tell_journal(journal: Journal | None, trail: Trail, printer: _Printer, *, must: bool = True) -> None:
    """Print the phone's lines. Without `must`, a journal that cannot be read is told and no more."""
    if journal is None:
        return
    try:
        async for line in journal.lines():
            if trail.takes(line):
                printer.log(line)
    except click.ClickException as error:
        if must:
            raise
        click.echo(error.message, err=True)


async def _tell_events(client: Client, account_id: str, trail: Trail, printer: _Printer) -> None:
    async with contextlib.aclosing(follow(client, account_id, NAMES)) as events:
        async for event in events:
            if event["event"] == LISTENING:
                click.echo("listening to the daemon's events", err=True)
            elif trail.takes(json.dumps(event)):
                printer.event(event)


class _Printer:
    """Prints lines of two sources in one form."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def log(self, line: str) -> None:
        """Print a line of the log; one that is no JSON as it is."""
        try:
            facts = json.loads(line)
        except ValueError:
            facts = None
        if isinstance(facts, dict):
            moment = _local(str(facts.get("timestamp", "")))
            self._print("log", moment, facts)
        elif self._as_json:
            click.echo(json.dumps({"from": "log", "text": line}))
        else:
            click.echo(printable(line))

    def event(self, facts: dict[str, Any]) -> None:
        """Print an event."""
        self._print("event", time.strftime("%H:%M:%S", time.localtime(facts["timestamp"] - GREGORIAN_EPOCH)), facts)

    def _print(self, source: str, moment: str, facts: dict[str, Any]) -> None:
        if self._as_json:
            click.echo(json.dumps({"from": source, **facts}))
            return
        shown = " ".join(f"{key}={_text(value)}" for key, value in facts.items() if key not in HIDDEN)
        click.echo(printable(f"{moment}  {source:5}  {facts.get('event')}  {shown}".rstrip()))


def _text(value: object) -> str:
    return value if isinstance(value, str) and value and " " not in value else json.dumps(value)


def _local(timestamp: str) -> str:
    """Return a time of the log, which is UTC, as the clock on the wall has it."""
    try:
        moment = datetime.fromisoformat(timestamp.replace("Z", "+00:00"))
    except ValueError:
        return "--:--:--"
    return moment.astimezone().strftime("%H:%M:%S")
