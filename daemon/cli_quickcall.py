"""`roost quickcall`: a call placed by hand, and followed until it ends."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import click

from daemon.cli_client import Refused, part, with_daemon
from daemon.cli_config import account_option, config_option, examples, json_option
from daemon.cli_events import LISTENING, follow
from daemon.cli_find import DEVICES, USERS, find_one
from daemon.cli_table import ago, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from daemon.cli_client import Answer, Client
    from daemon.cli_find import Found

SIDES: Final = {"a": "the device", "b": "the number", "us": "roost"}
TWICE: Final = 0.5  # seconds within which a second signal is the first one again, as from timeout(1)
STOPPING: Final = (signal.SIGINT, signal.SIGTERM)


@click.command(
    epilog=examples(
        "roost quickcall 1001 +15551234567",
        "roost quickcall 'Ann Lee' 1002 --user --media bypass",
        "roost quickcall 1001 1002 --json | jq -r 'select(.event == \"quickcall.ended\").outcome'",
    )
)
@click.argument("device")
@click.argument("number")
@click.option("--user", "of_user", is_flag=True, help="DEVICE is a user: all devices of the user ring, the first wins.")
@click.option(
    "--media",
    type=click.Choice(["bypass", "process"]),
    help="The phones send their media to each other, or through the daemon; otherwise what the API does.",
)
@click.option("--timeout", type=click.IntRange(4, 3600), metavar="SECONDS", help="How long the device may ring.")
@click.option("--no-auto-answer", is_flag=True, help="Let the device ring, rather than ask it to answer by itself.")
@click.option("--cid-name", metavar="NAME", help="Name that the number is shown.")
@click.option("--cid-number", metavar="NUMBER", help="Number that the number is shown.")
@account_option
@config_option
@json_option
def quickcall(
    device: str,
    number: str,
    media: str | None,
    timeout: int | None,
    cid_name: str | None,
    cid_number: str | None,
    account: str | None,
    config: Path | None,
    *,
    of_user: bool,
    no_auto_answer: bool,
    as_json: bool,
) -> None:
    """Ring DEVICE, connect it to NUMBER, and follow the call until it ends. Ctrl-C hangs up.

    Exit status 0 says that the two were connected. With --json every event is a line.
    """
    wishes = {
        "media": media,
        "timeout": None if timeout is None else str(timeout),
        "auto_answer": "false" if no_auto_answer else None,
        "cid-name": cid_name,
        "cid-number": cid_number,
    }
    query = {key: value for key, value in wishes.items() if value is not None}

    async def work(client: Client) -> bool:
        found = await find_one(client, USERS if of_user else DEVICES, device)
        return await _Placed(client, found, number, as_json=as_json).see_through(query)

    raise SystemExit(0 if with_daemon(config, work, account=account) else 1)


@dataclass(slots=True)
class _Placed:
    """One call, and what became of it."""

    client: Client
    found: Found
    number: str
    as_json: bool
    call_ids: set[str] = field(default_factory=set)
    connected: bool = False
    hanging_up: asyncio.Task[None] | None = None
    asked_at: float = 0.0
    """When the first signal came."""

    async def see_through(self, query: Mapping[str, str]) -> bool:
        """Place the call and tell of it until it is over; return whether the two were connected."""
        loop = asyncio.get_running_loop()
        following = asyncio.current_task()
        assert following is not None
        try:
            async with aclosing(follow(self.client, self.found.account.id, "quickcall")) as events:
                async for event in events:
                    if event["event"] == LISTENING and not self.call_ids:
                        await self._place(query)
                        for number in STOPPING:
                            loop.add_signal_handler(number, self._on_signal, following.cancel)
                    elif event["event"] == LISTENING:
                        await self._look()
                    elif self._is_ours(event) and self._tell(event):
                        return self.connected
        except asyncio.CancelledError:
            raise click.Abort from None
        finally:
            for number in STOPPING:
                loop.remove_signal_handler(number)
        return self.connected

    async def _place(self, query: Mapping[str, str]) -> None:
        answer = await self.client.ask("GET", f"{self.found.path}/quickcall/{part(self.number)}", query=query)
        if not answer:
            raise click.ClickException("the device is gone")
        self.call_ids = {each["outbound_call_id"] for each in answer["data"]["endpoints"] if "outbound_call_id" in each}

    async def _look(self) -> None:
        """After a break, see whether the call is still there."""
        for call_id in self.call_ids:
            if await self.client.ask("GET", f"{_channels(self.found)}/{part(call_id)}"):
                return
        raise click.ClickException("the daemon was away, and the call is over: `roost calls --ended` may tell how")

    def _is_ours(self, event: Answer) -> bool:
        call_ids = event.get("call_ids")
        return isinstance(call_ids, dict) and not self.call_ids.isdisjoint(call_ids.values())

    def _tell(self, event: Answer) -> bool:
        """Print the event; return whether it is the last."""
        name = event["event"]
        self.connected = self.connected or name == "quickcall.connected"
        if self.as_json:
            click.echo(json.dumps(event))
        else:
            click.echo(f"{time.strftime('%H:%M:%S')}  {printable(self._line(name.partition('.')[2], event))}")
        return bool(name == "quickcall.ended")

    def _line(self, what: str, event: Answer) -> str:
        if what == "ended":
            return f"ended: {outcome(event)}"
        side = event.get("side")
        whom = {"a": "the device", "b": self.number}.get(str(side), "")
        return f"{what} {whom}".rstrip()

    def _on_signal(self, give_up: Callable[[], object]) -> None:
        """Hang up; who asks once more will not wait for that."""
        now = time.monotonic()
        if self.hanging_up is None:
            self.asked_at = now
            self.hanging_up = asyncio.get_running_loop().create_task(self._hang_up())
        elif now > self.asked_at + TWICE:
            give_up()

    async def _hang_up(self) -> None:
        click.echo("hanging up; Ctrl-C once more does not wait for it", err=True)
        for call_id in self.call_ids:
            try:
                await self.client.ask("POST", f"{_channels(self.found)}/{part(call_id)}", {"action": "hangup"})
            except Refused as refusal:
                click.echo(refusal.message, err=True)


def outcome(facts: Mapping[str, object]) -> str:
    """Return how a call ended, as a sentence; the facts are those of its last event."""
    whose = SIDES.get(str(facts.get("side")), "")
    text = str(facts.get("outcome")).replace("_", " ")
    talked = facts.get("talked")
    if text == "answered":
        text = f"{whose or 'somebody'} hung up after {ago(talked) if isinstance(talked, float) else '?'}"
    elif whose:
        text = f"{text}, by {whose}"
    remark = f"; {facts['remark']}" if facts.get("remark") else ""
    return f"{text} (SIP {facts.get('status')}, Q.850 {facts.get('cause')}){remark}"


def _channels(found: Found) -> str:
    return f"/accounts/{found.account.id}/channels"
