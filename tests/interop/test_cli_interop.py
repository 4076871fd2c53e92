"""The commands beside a daemon that runs, with phones that are not ours."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from cli_command import LIMIT, facts, lines_of, run
from roost_process import REALM, REPOSITORY, Device, eventually
from sipp_phone import Account

if TYPE_CHECKING:
    from collections.abc import Callable

    from roost_process import Roost
    from sipp_phone import SippPhone

pytestmark = pytest.mark.interop


def test_device_lives_from_add_to_remove(own_roost: Roost, sipp_phone: Callable[..., SippPhone]) -> None:
    """With passwords that are shown when they are made or asked for, and that phones register with."""
    added = facts(own_roost, "device", "add", "--name", "Front desk", "--username", "1001", "--generate-password")
    shown = facts(own_roost, "device", "show", "1001", "--show-password")
    masked = facts(own_roost, "device", "show", "Front desk")
    assert shown["sip"]["password"] == added["generated_password"]
    assert {masked["sip"]["password"], added["sip"]["password"]} == {"***"}

    again = facts(own_roost, "device", "set", added["id"], "--password-file", "-", stdin="another secret\n")
    assert "generated_password" not in again
    (row,) = facts(own_roost, "device", "list")
    assert (row["id"], row["name"], row["username"]) == (added["id"], "Front desk", "1001")

    phone = sipp_phone(own_roost, Device(added["id"], Account("1001", "another secret", REALM)))
    assert phone.register().status == 200
    (device,) = facts(own_roost, "status")["devices"]
    assert (device["registered"], len(device["contacts"])) == (True, 1)

    assert facts(own_roost, "device", "remove", "1001", "--yes")["id"] == added["id"]
    assert facts(own_roost, "device", "list") == []


def test_no_token_is_left_behind(own_roost: Roost) -> None:
    """Whatever becomes of a command, its own token is ended with it."""
    run(own_roost, "status")
    run(own_roost, "device", "show", "nobody")
    connection = sqlite3.connect(own_roost.database)

    assert connection.execute("SELECT count(*) FROM tokens").fetchone() == (1,)  # that of `init`
    connection.close()


async def test_no_token_is_left_behind_by_a_command_that_is_ended(own_roost: Roost) -> None:
    """As by timeout(1), or a terminal that is closed."""
    with lines_of(own_roost, "status", "--watch") as (process, lines):
        await eventually(lambda: lines, "the first look", limit=LIMIT)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, LIMIT) == 128 + signal.SIGTERM

    assert len(facts(own_roost, "token", "list")) == 1  # that of `init`


def test_what_may_mean_two_devices_is_an_error(own_roost: Roost) -> None:
    devices = [own_roost.create_device() for _ in range(2)]
    for device in devices:
        assert run(own_roost, "device", "set", device.id, "name=Hall").returncode == 0
    done = run(own_roost, "device", "show", "Hall")

    assert (done.returncode, done.stdout) == (1, "")
    assert "Hall may mean 2 devices" in done.stderr
    assert all(device.id in done.stderr for device in devices)
    assert facts(own_roost, "device", "show", devices[0].account.username)["id"] == devices[0].id


def test_account_is_needed_where_there_are_several(own_roost: Roost) -> None:
    """And the daemon knows an account that was added while it ran."""
    made = facts(own_roost, "account", "add", "--name", "Other", "--realm", "other.test")
    refused = run(own_roost, "user", "add", "--first-name", "Ann", "--last-name", "Lee")
    user = facts(own_roost, "user", "add", "--first-name", "Ann", "--last-name", "Lee", "--account", "other.test")

    assert refused.returncode == 2
    assert "say --account" in refused.stderr
    assert user["account_id"] == made["account_id"]
    assert [row["id"] for row in facts(own_roost, "user", "list", "--account", "Other")] == [user["id"]]
    assert facts(own_roost, "user", "show", "Ann Lee")["id"] == user["id"]
    assert facts(own_roost, "account", "set", "Other", "name=Third")["name"] == "Third"
    assert run(own_roost, "account", "show", "Third", "--show-api-key").stdout.count(made["api_key"]) == 1
    assert facts(own_roost, "user", "remove", "Ann Lee", "--yes")["id"] == user["id"]
    assert facts(own_roost, "account", "remove", "Third", "--yes")["id"] == made["account_id"]


def test_refusal_of_the_api_is_a_sentence(own_roost: Roost) -> None:
    device = own_roost.create_device()
    done = run(own_roost, "device", "set", device.id, "enabled=perhaps")

    assert done.returncode == 1
    assert "enabled: " in done.stderr
    assert "{" not in done.stderr


def test_daemon_that_is_not_there_is_status_3(own_roost: Roost) -> None:
    own_roost.stop()
    done = run(own_roost, "status")

    assert (done.returncode, done.stdout) == (3, "")
    assert "is it running?" in done.stderr


async def test_status_watches_a_phone_come_and_go(own_roost: Roost, sipp_phone: Callable[..., SippPhone]) -> None:
    """One line of JSON for each change, and Ctrl-C is its good end."""
    device = own_roost.create_device()
    with lines_of(own_roost, "status", "--watch", "--json", "--interval", "0.5") as (process, lines):
        await eventually(lambda: lines, "the first state", limit=LIMIT)
        phone = sipp_phone(own_roost, device)
        assert (await asyncio.to_thread(phone.register)).status == 200
        await eventually(lambda: len(lines) >= 2, "the registration", limit=LIMIT)
        assert (await asyncio.to_thread(phone.unregister)).status == 200
        await eventually(lambda: len(lines) >= 3, "its end", limit=LIMIT)
        process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(process.wait, LIMIT) == 0

    registered = [json.loads(line)["totals"]["registered"] for line in lines]
    assert (registered[0], max(registered), registered[-1]) == (0, 1, 0)


def test_status_on_a_terminal_of_80_columns(own_roost: Roost) -> None:
    """In colour where there is a terminal, unless NO_COLOR says otherwise; never wider than it."""
    device = own_roost.create_device()
    long = "A device with a name that is much longer than any terminal is wide, which happens where people type"
    assert run(own_roost, "device", "set", device.id, f"name={long}").returncode == 0
    coloured, plain = on_terminal(own_roost, "status"), on_terminal(own_roost, "status", NO_COLOR="1")

    assert "\x1b[" in coloured
    assert "\x1b[" not in plain
    assert all(len(line) <= 80 for line in plain.splitlines())
    assert "A device" in plain
    assert long in run(own_roost, "status").stdout


async def test_watch_redraws_a_terminal_and_leaves_it_as_it_was(
    own_roost: Roost, sipp_phone: Callable[..., SippPhone]
) -> None:
    """On its other screen, with the cursor hidden; within its height, with the totals in sight."""
    devices = [own_roost.create_device() for _ in range(12)]
    phone = sipp_phone(own_roost, devices[0])
    master, slave = pty.openpty()
    environ = {**os.environ, "COLUMNS": "80", "LINES": "10", "TERM": "xterm"}
    command = own_roost._command("status", "--watch", "--interval", "0.5")
    text = bytearray()
    with subprocess.Popen(command, cwd=REPOSITORY, env=environ, stdout=slave, stderr=slave) as process:
        os.close(slave)
        try:
            asyncio.get_running_loop().add_reader(master, lambda: text.extend(os.read(master, 65536)))
            await eventually(lambda: b"12 devices, 0 registered" in text, "the first screen", limit=LIMIT)
            assert (await asyncio.to_thread(phone.register)).status == 200
            await eventually(lambda: b"12 devices, 1 registered" in text, "the registration", limit=LIMIT)
            process.send_signal(signal.SIGINT)
            await eventually(lambda: text.endswith(b"\x1b[?25h\x1b[?1049l"), "the terminal as it was", limit=LIMIT)
            asyncio.get_running_loop().remove_reader(master)
            assert await asyncio.to_thread(process.wait, LIMIT) == 0
        finally:
            process.kill()
    os.close(master)

    screens = text.decode().split("\x1b[H")
    assert screens[0] == "\x1b[?1049h\x1b[?25l"
    assert all(len(screen.splitlines()) <= 10 for screen in screens)
    assert "more lines" in screens[1]


def on_terminal(daemon: Roost, *words: str, **variables: str) -> str:
    """Return what a command prints on a terminal of its own."""
    master, slave = pty.openpty()
    environ = {**os.environ, "COLUMNS": "80", "LINES": "24", "TERM": "xterm", **variables}
    with subprocess.Popen(daemon._command(*words), cwd=REPOSITORY, env=environ, stdout=slave, stderr=slave) as process:
        os.close(slave)
        text = b""
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:  # Linux's way to say that nobody has the other side open
                break
            if not piece:
                break
            text += piece
        assert process.wait(LIMIT) == 0, text
    os.close(master)
    return text.decode()


def test_help_needs_neither_database_nor_daemon() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "daemon", "device", "--help"], cwd=REPOSITORY, capture_output=True, check=False
    )

    assert done.returncode == 0
    assert b"DEVICE is an id, a SIP username or a name" in done.stdout
