"""Fixtures that several test files share."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog
from api_client import Api
from hypothesis import settings

from daemon.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from pytest_aiohttp.plugin import AiohttpClient

    Roost = Callable[..., subprocess.CompletedProcess[str]]


settings.register_profile("busy-machine", deadline=None)  # an example may have to wait for the processor
settings.load_profile("busy-machine")

# A shell without job control starts what it puts into the background with Ctrl-C ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


class HandClock:
    """A clock that a test moves."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "roost.db"


@pytest.fixture
async def store(store_path: Path, clock: HandClock) -> AsyncIterator[Store]:
    """Open an empty store whose Unix time is `clock`."""
    opened = await Store.open(store_path, clock=clock)
    yield opened
    await opened.close()


@pytest.fixture
async def api(aiohttp_client: AiohttpClient, store: Store) -> Api:
    """Serve the whole API over an empty store with a master account."""
    return await Api.start(aiohttp_client, store)


@pytest.fixture
async def device_id(api: Api) -> str:
    """Make a device of the master account."""
    sip = {"username": "bob", "password": "secret"}
    return str((await api.put_device(name="desk", sip=sip, device_type="softphone"))["id"])


@pytest.fixture
def restored_logging() -> Iterator[None]:
    """Have logging afterwards as it was before."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


@pytest.fixture
def roost(tmp_path: Path) -> Roost:
    """Run `roost` with these arguments and variables, in a folder of the test's own."""

    def run(*arguments: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("ROOST_", "STATE_"))}
        # Port 1: where no daemon is.
        environ |= {"PYTHONPATH": str(Path(__file__).parent.parent), "ROOST_API_LISTEN": "127.0.0.1:1"} | variables
        command = [sys.executable, "-m", "daemon", *arguments]
        return subprocess.run(
            command, input=stdin, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False
        )

    return run


@pytest.fixture
def master(roost: Roost) -> dict[str, str]:
    """Make the master account and return what `init` printed."""
    done = roost("init", "--name", "Master", "--realm", "SIP.Example.com", "--json")
    assert 0 == done.returncode, done.stderr
    facts: dict[str, str] = json.loads(done.stdout)
    return facts
