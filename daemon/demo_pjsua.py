"""A phone made of pjsua2, for where baresip is not: `daemon.demo_handset`, in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from daemon.demo_phones import EVENT_LIMIT, STOP_LIMIT, PhoneAccount, PhoneFailed

if TYPE_CHECKING:
    from pathlib import Path


class PjsuaPhone:
    """One phone process; use it as an asynchronous context manager."""

    def __init__(self, folder: Path, *, tone: int = 440) -> None:
        self.folder = folder
        self.tone = tone
        self._events = asyncio.StreamReader()
        self._pipe: asyncio.ReadTransport | None = None
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> PjsuaPhone:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()

    async def register(self, account: PhoneAccount, *, limit: float = EVENT_LIMIT) -> None:
        """Start the phone with the account and wait until it is registered. Raises PhoneFailed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        reading, writing = os.pipe()
        settings = {"account": asdict(account), "tone": self.tone, "folder": str(self.folder), "events": writing}
        (self.folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
        with (self.folder / "output.log").open("wb") as output:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "daemon.demo_handset", str(self.folder / "settings.json"),
                stdin=asyncio.subprocess.PIPE, stdout=output, stderr=output, pass_fds=(writing,),
            )  # fmt: skip
        os.close(writing)
        self._pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(self._events), os.fdopen(reading, "rb", buffering=0)
        )
        status = await self.expect("registration", limit=limit)
        if status != 200:
            raise PhoneFailed(f"{account.aor} was not registered: {status}")

    async def stop(self) -> None:
        """Let the phone hang up, unregister and leave; kill it if it does not."""
        if self._process is not None:
            with contextlib.suppress(ConnectionError, PhoneFailed):
                await self.tell("quit")
            try:
                await asyncio.wait_for(self._process.wait(), STOP_LIMIT)
            except (TimeoutError, asyncio.TimeoutError):
                self._process.kill()
                await self._process.wait()
            self._process = None
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None

    async def expect(self, kind: str, *, limit: float = EVENT_LIMIT) -> object:
        """Wait for the next event of this kind, dropping those before it, and return what it tells.

        Kinds: `registration` (a status), `call` (whether it was answered), `media`, `closed`, `notify` (our answer).
        Raises PhoneFailed.
        """
        try:
            return await asyncio.wait_for(self._next(kind), limit)
        except (TimeoutError, asyncio.TimeoutError) as error:
            raise PhoneFailed(f"expected {kind} within {limit:g} s") from error

    async def tell(self, line: str) -> None:
        """Give the phone a command: `hangup` or `quit`."""
        if self._process is None or self._process.stdin is None:
            raise PhoneFailed("the phone is not running")
        self._process.stdin.write(f"{line}\n".encode())
        await self._process.stdin.drain()

    async def notify_answer(self) -> str:
        """Return the phone's answer to the NOTIFY that it got or gets."""
        return str(await self.expect("notify"))

    async def talks(self) -> None:
        """Wait until the phone is in a call."""
        await self.expect("media")

    async def hang_up(self) -> None:
        """End the call."""
        await self.tell("hangup")

    async def hung_up(self) -> None:
        """Wait until the call has ended."""
        await self.expect("closed")

    def recordings(self) -> list[Path]:
        """Return the WAV file of what the phone heard; complete when the phone has stopped."""
        return list(self.folder.glob("heard.wav"))

    async def _next(self, kind: str) -> object:
        while True:
            line = await self._events.readline()
            if not line:
                raise PhoneFailed(f"the pjsua2 phone is gone; {self._last_words()}")
            name, value = json.loads(line)
            if name == kind:
                return value

    def _last_words(self) -> str:
        return (self.folder / "output.log").read_text(encoding="utf-8", errors="replace")[-500:]
