"""What happens in an account, for commands that go on: server-sent events, taken up again where a break left them."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Final

from daemon.cli_client import Unreachable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    import aiohttp

    from daemon.cli_client import Answer, Client

LISTENING: Final = "listening"
"""The event, of ours, that nothing is missed from now on; it comes first, and after every break."""
PATIENCE: Final = 15.0  # seconds that a daemon may be away, as while it is restarted
RETRY: Final = 1.0  # seconds between tries


async def follow(client: Client, account_id: str, names: str) -> AsyncGenerator[Answer, None]:
    """Return the events of these names (`device,quickcall.ended`) as they happen, LISTENING first.

    Raises Unreachable where the daemon is not there, or was away for too long.
    """
    last = ""
    heard = 0.0
    while True:
        try:
            headers = {"Last-Event-ID": last} if last else {}
            async with client.stream(f"/accounts/{account_id}/events", {"events": names}, headers) as reader:
                heard = time.monotonic()
                yield {"event": LISTENING, "account_id": account_id}
                async for event in _read(reader):
                    heard = time.monotonic()
                    last = str(event["id"])
                    yield event
        except Unreachable:
            if time.monotonic() > heard + PATIENCE:
                raise
        await asyncio.sleep(RETRY)


async def _read(reader: aiohttp.StreamReader) -> AsyncIterator[Answer]:
    """Return the events of a stream (WHATWG HTML 9.2.6); the daemon puts each one's data on one line."""
    async for line in reader:
        if line.startswith(b"data:"):
            event: Answer = json.loads(line[5:])
            yield event
