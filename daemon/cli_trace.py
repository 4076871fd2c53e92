"""`roost trace`: the SIP messages of one device, as a ladder, as text or as a capture file."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import IO, TYPE_CHECKING, Final

import click

from daemon.cli_client import with_daemon
from daemon.cli_config import account_option, config_option, examples, json_option
from daemon.cli_find import DEVICES, find_one

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.cli_client import Answer, Client
    from sip.flow import Address
    from sip.sighting import Sighting

POLL: Final = 0.5  # seconds between looks at a trace that is followed
PCAP: Final = "application/vnd.tcpdump.pcap"


@click.command(
    epilog=examples(
        "roost trace 1001", "roost trace 1001 --follow", "roost trace 1001 --pcap 1001.pcap", "roost trace 1001 --stop"
    )
)
@click.argument("device")
@click.option("--ladder", "form", flag_value="ladder", default=True, help="As a ladder diagram (the usual form).")
@click.option("--text", "form", flag_value="text", help="As the messages themselves.")
@click.option("--follow", is_flag=True, help="Print what comes until Ctrl-C.")
@click.option("--pcap", type=click.File("wb", lazy=False), metavar="FILE", help="Write a file for Wireshark.")
@click.option(
    "--seconds",
    type=click.IntRange(1, 86_400),
    default=3600,
    show_default=True,
    help="When a new trace ends.",
)
@click.option("--start", is_flag=True, help="Begin a new trace, and forget what the last one has.")
@click.option("--stop", is_flag=True, help="End the trace; what it has stays.")
@click.option("--clear", is_flag=True, help="End the trace, and forget what it has.")
@account_option
@config_option
@json_option
def trace(
    device: str,
    form: str,
    pcap: IO[bytes] | None,
    seconds: int,
    account: str | None,
    config: Path | None,
    *,
    follow: bool,
    start: bool,
    stop: bool,
    clear: bool,
    as_json: bool,
) -> None:
    """Show the SIP messages of a device, without its credentials.

    DEVICE is a device's id, its SIP username or its name. Where no trace of it is there, one begins: from then on
    its messages are kept, for an hour unless --seconds says otherwise.
    """
    if start + stop + clear + follow + (pcap is not None) > 1:
        raise click.UsageError("--start, --stop, --clear, --follow and --pcap do not go together")

    async def work(client: Client) -> None:
        found = await find_one(client, DEVICES, device)
        path = f"{found.path}/trace"
        if clear:
            await client.ask("DELETE", path)
        elif stop:
            _tell(await client.ask("POST", path, {"action": "stop"}), device)
        elif start or not await client.ask("GET", path, query={"after": "9" * 15}):
            _tell(await client.ask("POST", path, {"action": "start", "seconds": seconds}), device)
        if follow:
            await _follow(client, path, form)
        elif pcap is not None:
            async with client.stream(path, {}, {"Accept": PCAP}) as content:
                pcap.write(await content.read())
        elif not (start or stop or clear):
            answer = await client.ask("GET", path)
            click.echo(json.dumps(answer["data"]) if as_json else _drawn(answer, form), nl=as_json)

    with contextlib.suppress(KeyboardInterrupt):
        with_daemon(config, work, account=account)


def _tell(answer: Answer, device: str) -> None:
    if not answer:
        raise click.ClickException(f"there is no trace of {device}")
    state = answer["data"]
    if state["running"]:
        left = state["ends"] - state["started"]
        click.echo(f"{device} is traced from now on, for {left} s; `roost trace {device}` shows it", err=True)
    else:
        click.echo(f"the trace of {device} is over, with {state['kept']} messages", err=True)


async def _follow(client: Client, path: str, form: str) -> None:
    from sip.ladder import Ladder
    from sip.sighting import as_text

    ladder, after = Ladder([]), 0
    while answer := await client.ask("GET", path, query={"after": str(after)}):
        messages = _sightings(answer)
        if form == "text":
            click.echo(as_text(messages), nl=False)
        else:
            for line in ladder.extend(messages):
                click.echo(line)
        after = max((each.number for each in messages), default=after)
        if not answer["data"]["running"]:
            return
        await asyncio.sleep(POLL)


def _drawn(answer: Answer, form: str) -> str:
    # Imported here, so that the other commands start without it.
    from sip.ladder import draw
    from sip.sighting import as_text

    messages = _sightings(answer)
    if not messages:
        return "no messages yet\n" if answer["data"]["running"] else "no messages\n"
    return as_text(messages) if form == "text" else draw(messages)


def _sightings(answer: Answer) -> list[Sighting]:
    from sip.flow import Transport
    from sip.sighting import Sighting

    found = []
    for row in answer["data"]["messages"]:
        source, destination = _address(row["source"]), _address(row["destination"])
        local, remote = (source, destination) if row["sent"] else (destination, source)
        transport = Transport(row["transport"].upper())
        data = row["message"].encode()
        found.append(Sighting(row["number"], row["time"], row["sent"], transport, local, remote, data, row["length"]))
    return found


def _address(text: str) -> Address:
    from sip.flow import Address

    host, _, port = text.rpartition(":")
    return Address(host.strip("[]"), int(port))
