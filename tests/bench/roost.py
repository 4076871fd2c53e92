"""Roost under measurement: a database full of devices, and a daemon on it."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from phones import REALM
from processes import ServerProcess, free_port

from api.ports import Document, Kind, TokenIdentity
from daemon.store import Store
from daemon.store.document_rows import INSERT, row_of
from daemon.store.records import columns_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping

    from api.ports import JsonObject

REPOSITORY = Path(__file__).parents[2]
COMMAND = shlex.split(os.environ.get("ROOST_BENCH_COMMAND", f"{sys.executable} -m daemon"))
"""How the daemon is started: with another interpreter, or below a profiler."""

WRITTEN_WITHIN = 1.5
"""Seconds after the last answer until what was answered before is written: the store's `LATER` and a transaction."""

_TELL_PYTHON = "import sys; print('Python', sys.version.split()[0], 'of', sys.base_prefix)"


def what_is_measured() -> str:
    """Tell which Roost is started, and by which Python where the command names one."""
    commands = [[*COMMAND, "--version"]]
    if Path(COMMAND[0]).name.startswith("python"):
        commands.append([COMMAND[0], "-I", "-c", _TELL_PYTHON])
    told = [subprocess.run(each, cwd=REPOSITORY, capture_output=True, text=True, check=True) for each in commands]
    return "; ".join(each.stdout.strip() for each in told)


class Roost(ServerProcess):
    """One daemon with devices `p0` to `p<devices-1>`, in a directory that may hold those of an earlier one."""

    def __init__(self, directory: Path, devices: int, *, name: str = "Roost", **settings: str | int) -> None:
        self.name = name
        self.settle = WRITTEN_WITHIN if settings.get("sip_durability") == "relaxed" else 0.0
        self.port, self.secure_port, self.api_port = free_port(), free_port(), free_port()
        if not directory.exists():
            directory.mkdir(parents=True)
            account = asyncio.run(_provision(directory / "roost.db", devices))
            (directory / "account.json").write_text(json.dumps(account))
        self.account_id, self.token = json.loads((directory / "account.json").read_text())
        config = directory / "roost.toml"
        config.write_text(self._toml(directory, settings))
        super().__init__([*COMMAND, "run", "--config", str(config)], directory, REPOSITORY, _as_installed())
        self.wait_until(self.answers)

    @property
    def account_url(self) -> str:
        """The URL of the account with the devices."""
        return f"http://127.0.0.1:{self.api_port}/v2/accounts/{self.account_id}"

    def answers(self) -> bool:
        """Return whether the API does, which it does when all is loaded and every other listener is open."""
        try:
            self.get("/registrations/count")
        except OSError:
            return False
        return True

    def get(self, path: str) -> bytes:
        """Return the body of a GET below the account."""
        request = urllib.request.Request(self.account_url + path, headers={"X-Auth-Token": self.token})
        with urllib.request.urlopen(request, timeout=10) as response:
            body: bytes = response.read()
        return body

    def _toml(self, directory: Path, settings: Mapping[str, str | int]) -> str:
        listen = [f"udp:127.0.0.1:{self.port}", f"tcp:127.0.0.1:{self.port}"]
        if "tls_certificate" in settings:
            listen.append(f"tls:127.0.0.1:{self.secure_port}")
        sections: dict[str, dict[str, object]] = {
            "sip": {"listen": listen},
            "api": {"listen": f"127.0.0.1:{self.api_port}"},
            "store": {"path": str(directory / "roost.db")},
            "log": {"level": "warning"},
        }
        for path, value in settings.items():
            section, _, key = path.partition("_")
            sections.setdefault(section, {})[key] = value
        return "\n".join(
            line
            for section, keys in sections.items()
            for line in (f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items()))
        )


def _as_installed() -> Mapping[str, str]:
    """Return an environment in which Python keeps its byte code from start to start, as where it is installed."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


async def _provision(path: Path, devices: int) -> tuple[str, str]:
    store = await Store.open(path)
    await store.create_master("bench", "master.test")
    account = await store.add_account("bench", REALM)

    def insert(connection: sqlite3.Connection) -> None:
        connection.executemany(INSERT, _rows(account.account_id, devices))

    await store.documents._database.write(insert)
    token = await store.tokens.issue(TokenIdentity(account.account_id, None, "api_key"), ttl=None)
    await store.close()
    return account.account_id, token


def _rows(account_id: str, devices: int) -> Iterator[dict[str, object]]:
    for number in range(devices):
        data: JsonObject = {
            "name": f"Phone {number}",
            "enabled": True,
            "device_type": "sip_device",
            "mac_address": f"00:15:65:{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}",
            "sip": {
                "username": f"p{number}",
                "password": f"secret-{number}",
                "method": "password",
                "invite_format": "contact",
                "expire_seconds": 300,
            },
        }
        made = 63_900_000_000 + number
        document = Document(Kind.DEVICE, account_id, f"{number:032x}", "1-bench", made, made, data, {})
        yield {**row_of(document), **columns_of(Kind.DEVICE, data, {})}
