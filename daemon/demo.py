"""`roost demo`: the product in a minute, on loopback ports of its own and with a database that is thrown away.

The daemon is a process as in earnest, it is spoken to over HTTP, and the phones are not ours: two baresips where it is
installed, two pjsua2 phones otherwise. Every step is printed as it happens; the result is true only if all worked.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp
import click

from daemon.demo_phones import Baresip, PhoneAccount, PhoneFailed, baresip_path, free_port
from daemon.demo_pjsua import PjsuaPhone
from daemon.demo_tone import tone_share

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

REALM = "demo.roost.internal"
NUMBERS = ("1001", "1002")
TONES = (400, 800)
"""Hertz, one a phone: each must be heard at the other end."""
MODES = {"bypass": "phone to phone", "process": "through Roost"}
"""Where the media of a call flows."""
TALK = 2.0
"""Seconds of talk before one side hangs up."""
LEAST_SHARE = 0.7
"""Share of what a phone heard that must be the other's tone."""
START_LIMIT = 15.0
STOP_LIMIT = 15.0
SETTLE_LIMIT = 5.0
"""Seconds that the status may take to follow what happened."""
DEMO_LIMIT = 120.0
"""Seconds after which the whole demo has failed."""

CONFIG = """\
[sip]
listen = ["udp:127.0.0.1:{sip}", "tcp:127.0.0.1:{sip}"]
[api]
listen = "127.0.0.1:{api}"
[store]
path = "{folder}/roost.db"
[log]
level = "debug"
format = "json"
"""


class DemoFailed(Exception):
    """A step did not do what it must."""


class Phone(Protocol):
    """What the demo needs of a phone."""

    async def register(self, account: PhoneAccount) -> None: ...  # noqa: D102 - as its two makes say
    async def notify_answer(self) -> str: ...  # noqa: D102
    async def talks(self) -> None: ...  # noqa: D102
    async def hang_up(self) -> None: ...  # noqa: D102
    async def hung_up(self) -> None: ...  # noqa: D102
    async def stop(self) -> None: ...  # noqa: D102
    def recordings(self) -> list[Path]: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Daemon:
    """The daemon that runs, and a client of its API."""

    sip: str
    api: str
    account_id: str
    http: aiohttp.ClientSession

    async def call(self, method: str, path: str, data: Mapping[str, object] | None = None) -> Any:
        """Call the API below the account and return the `data` of its answer. Raises DemoFailed."""
        url = f"{self.api}/v2/accounts/{self.account_id}{path}"
        async with self.http.request(method, url, json=None if data is None else {"data": data}) as response:
            body = await response.json()
            if not response.ok or body.get("status") != "success":
                raise DemoFailed(f"{method} {path} answered {response.status}: {json.dumps(body)[:300]}")
            return body.get("data")


class Steps:
    """Prints each step as it happens, with the seconds since the start."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def say(self, what: str, text: str) -> None:
        """Print one step."""
        click.echo(f"{time.monotonic() - self._start:6.1f} s  {what:<10} {text}")


def run_demo() -> bool:
    """Run the demo and return whether all of it worked."""
    steps = Steps()
    with tempfile.TemporaryDirectory(prefix="roost-demo-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        try:
            asyncio.run(asyncio.wait_for(_demo(folder, steps), DEMO_LIMIT))
        except (DemoFailed, PhoneFailed, aiohttp.ClientError, TimeoutError, asyncio.TimeoutError) as error:
            steps.say("FAILED", str(error) or f"not done within {DEMO_LIMIT:g} s")
            log = folder / "roost.log"
            if log.exists():
                click.echo("\nThe daemon's last words:\n" + log.read_text(encoding="utf-8", errors="replace")[-3000:])
            return False
    steps.say("done", "all of it worked")
    return True


async def _demo(folder: Path, steps: Steps) -> None:
    make = "baresip" if baresip_path() else "pjsua2"
    async with _daemon(folder, steps) as daemon:
        devices = [await _create_device(daemon, number) for number in NUMBERS]
        steps.say("devices", f"{' and '.join(NUMBERS)} made through the API")
        await _show_status(daemon, steps, ())
        await _call_with(daemon, steps, make, folder, devices, "bypass")
        if find_spec("pjsua2") is not None:
            await _call_with(daemon, steps, make, folder, devices, "process")
        else:
            steps.say("quickcall", "media=process is left out, for pjsua2 is not installed")


async def _call_with(daemon: Daemon, steps: Steps, make: str, folder: Path, devices: Sequence[str], media: str) -> None:
    """Show phones that come, are in a call, and go; the first ones are sent a check-sync as well."""
    async with contextlib.AsyncExitStack() as stack:
        phones: list[Phone] = []
        for number, tone in zip(NUMBERS, TONES, strict=True):
            phones.append(await stack.enter_async_context(_phone(make, folder / f"{media}-{number}", tone)))
            await phones[-1].register(_phone_account(daemon, number))
            steps.say("phone", f"{make} registered as {number} over UDP, with digest")
        await _show_status(daemon, steps, devices)
        if media == "bypass":
            await _sync(daemon, steps, devices[0], phones[0])
        await _quickcall(daemon, steps, devices[0], phones, media)
    await _check_sound(steps, phones)
    await _show_status(daemon, steps, ())


async def _create_device(daemon: Daemon, number: str) -> str:
    sip = {"username": number, "password": _password(number)}
    device = await daemon.call("PUT", "/devices", {"name": f"Phone {number}", "sip": sip})
    return str(device["id"])


async def _show_status(daemon: Daemon, steps: Steps, devices: Sequence[str]) -> None:
    """Show /devices/status once it lists exactly these devices, which it must do soon."""
    deadline = time.monotonic() + SETTLE_LIMIT
    while True:
        rows = await daemon.call("GET", "/devices/status")
        registered = {row["device_id"] for row in rows if row["registered"] is True}
        if registered == set(devices):
            steps.say("status", f"GET /devices/status  {json.dumps(rows)}")
            return
        if time.monotonic() > deadline:
            raise DemoFailed(f"/devices/status should list {sorted(devices)}, but says {json.dumps(rows)}")
        await asyncio.sleep(0.1)


async def _sync(daemon: Daemon, steps: Steps, device: str, phone: Phone) -> None:
    answer = await daemon.call("POST", f"/devices/{device}/sync")
    steps.say("sync", f"POST /devices/{device}/sync  {json.dumps(answer)}")
    steps.say("", f"NOTIFY check-sync reached the phone, whose own answer is: {await phone.notify_answer()}")


async def _quickcall(daemon: Daemon, steps: Steps, device: str, phones: Sequence[Phone], media: str) -> None:
    near, far = phones
    path = f"/devices/{device}/quickcall/{NUMBERS[1]}?media={media}"
    await daemon.call("GET", path)
    steps.say("quickcall", f"GET {path}")
    await near.talks()
    steps.say("", f"{NUMBERS[0]} rang and answered by itself; now {NUMBERS[1]} is rung")
    await far.talks()
    steps.say("", f"{NUMBERS[1]} answered: both talk, {MODES[media]}, for {TALK:g} s")
    await asyncio.sleep(TALK)
    await far.hang_up()
    await far.hung_up()
    steps.say("", f"{NUMBERS[1]} hung up")
    await near.hung_up()
    steps.say("", f"{NUMBERS[0]} was told and hung up too")


async def _check_sound(steps: Steps, phones: Sequence[Phone]) -> None:
    """Measure in the recordings, complete only now, that each phone heard the other's tone."""
    for number, phone, tone in zip(NUMBERS, phones, reversed(TONES), strict=True):
        heard = max((tone_share(path, tone) for path in phone.recordings()), default=0.0)
        if heard < LEAST_SHARE:
            raise DemoFailed(f"{number} did not hear the other's {tone} Hz: {heard:.0%} of what it heard")
        steps.say("sound", f"{number} heard the other's {tone} Hz: {heard:.0%} of all that it heard")


@contextlib.asynccontextmanager
async def _phone(make: str, folder: Path, tone: int) -> AsyncIterator[Phone]:
    phone = Baresip(folder, tone=tone) if make == "baresip" else PjsuaPhone(folder, tone=tone)
    async with phone:
        yield phone


def _phone_account(daemon: Daemon, number: str) -> PhoneAccount:
    return PhoneAccount(number, _password(number), REALM, daemon.sip)


def _password(number: str) -> str:
    return f"demo-{number}-password"


@contextlib.asynccontextmanager
async def _daemon(folder: Path, steps: Steps) -> AsyncIterator[Daemon]:
    """Run the daemon for as long as the block, and see that it ends in order."""
    sip, api = free_port(), free_port()
    config = folder / "roost.toml"
    config.write_text(CONFIG.format(sip=sip, api=api, folder=folder), encoding="utf-8")
    made = await _init(config)
    process = await _start(config, folder / "roost.log")
    headers = {"X-Auth-Token": made["auth_token"]}
    try:
        async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=START_LIMIT)) as http:
            daemon = Daemon(f"127.0.0.1:{sip}", f"http://127.0.0.1:{api}", made["account_id"], http)
            await _wait_until_up(daemon, process)
            steps.say("daemon", f"runs: SIP on {daemon.sip}, API on {daemon.api}/v2, account {daemon.account_id}")
            yield daemon
        steps.say("daemon", f"stopped on SIGTERM with status {await _stop(process)}")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _init(config: Path) -> dict[str, str]:
    process = await asyncio.create_subprocess_exec(
        *_command("init", config), "--name", "demo", "--realm", REALM, "--json",
        cwd=config.parent, env=_environment(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await process.communicate()
    if process.returncode != 0:
        raise DemoFailed(f"roost init: {errors.decode()}")
    made: dict[str, str] = json.loads(output)
    return made


async def _start(config: Path, log: Path) -> asyncio.subprocess.Process:
    with log.open("wb") as output:
        return await asyncio.create_subprocess_exec(
            *_command("run", config),
            cwd=config.parent, env=_environment(), stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip


async def _wait_until_up(daemon: Daemon, process: asyncio.subprocess.Process) -> None:
    deadline = time.monotonic() + START_LIMIT
    while process.returncode is None and time.monotonic() < deadline:
        with contextlib.suppress(aiohttp.ClientConnectionError):
            await daemon.call("GET", "/devices/status")
            return
        await asyncio.sleep(0.1)
    raise DemoFailed(f"the daemon did not start (status {process.returncode})")


async def _stop(process: asyncio.subprocess.Process) -> int:
    process.terminate()
    try:
        status = await asyncio.wait_for(process.wait(), STOP_LIMIT)
    except (TimeoutError, asyncio.TimeoutError) as error:
        raise DemoFailed(f"the daemon did not stop within {STOP_LIMIT:g} s") from error
    if status != 0:
        raise DemoFailed(f"the daemon stopped with status {status}")
    return status


def _command(command: str, config: Path) -> list[str]:
    return [sys.executable, "-m", "daemon", command, "--config", str(config)]


def _environment() -> dict[str, str]:
    """Return the environment without what would override the demo's configuration."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ROOST_")}
