"""Fixtures that several test files share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from api_client import Api

from daemon.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from pytest_aiohttp.plugin import AiohttpClient


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
