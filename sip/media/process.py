"""One worker process as the core has it: its start, the socket to it, and its end, whatever that is."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from sip.errors import ParseError
from sip.media.bridge import Fault, Lines, Warm, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sip.media.bridge import Command, Message

log = structlog.get_logger(__name__)

START_LIMIT: Final = 10.0  # seconds until a worker says that it runs; a tenth of one is usual
EXIT_LIMIT: Final = 2.0  # seconds that it may take to leave before it is killed
ROOT: Final = Path(__file__).parents[2]
"""What `sip` is found in: a site-packages folder or a working copy."""
PASSED_ON: Final = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH")
"""What a worker gets of our environment, which may hold passwords."""
BOOT: Final = "import sys; sys.path.append(sys.argv.pop(1)); from sip.media.worker import main; main()"


class WorkerFailed(Exception):
    """A worker did not start, and why."""


class WorkerProcess:
    """A worker. `start` it; `on_event` hears what it says, `on_end` once that it is gone."""

    def __init__(self, sounds: Sequence[int]) -> None:
        self.on_event: Callable[[Message], None] = lambda _event: None
        self.on_end: Callable[[], None] = lambda: None
        self.ended = False
        """Whether it is gone, or said what it must not."""
        self.pid = 0
        self._sounds = tuple(sounds)
        self.reason = "it ended without a word"
        """Why it ended, where it did."""
        self._warm: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._socket: socket.socket | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it and wait until it runs. Raises WorkerFailed."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._socket = ours
        try:
            with theirs:
                self._process = await _spawn(theirs.fileno(), self._sounds)
            self.pid = self._process.pid
            self._reader = asyncio.create_task(self._read(ours), name=f"media-worker-{self.pid}")
            await asyncio.wait_for(asyncio.shield(self._warm), START_LIMIT)
        except (TimeoutError, asyncio.TimeoutError):
            raise WorkerFailed(f"it was not there within {START_LIMIT:g} s") from None
        except OSError as error:
            raise WorkerFailed(str(error)) from error
        if self.ended:
            raise WorkerFailed(self.reason)

    def send(self, command: Command) -> None:
        """Tell it something. One that is gone is told nothing; `on_end` says so."""
        if self._socket is None or self.ended:
            return
        try:
            # A line of some bytes into a buffer of many thousand: it goes at once, or its reader hangs.
            self._socket.send(encode(command))
        except OSError:
            self.kill()

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def stop(self) -> None:
        """Let it end, as it does when the socket closes, and kill it where it does not."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)
        if self._process is not None:
            try:
                await asyncio.wait_for(self._process.wait(), EXIT_LIMIT)
            except (TimeoutError, asyncio.TimeoutError):
                log.warning("media.worker_killed", pid=self.pid)
                self.kill()
                await self._process.wait()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        if self._socket is not None:
            self._socket.close()

    async def _read(self, ours: socket.socket) -> None:
        """Hear what it says, to the end of the socket: the kernel tells of a death within milliseconds."""
        lines, loop = Lines(), asyncio.get_running_loop()
        try:
            while data := await loop.sock_recv(ours, 4096):
                for event in lines.feed(data):
                    self._take(event)
        except ParseError as fault:
            self.reason = fault.reason
            self.kill()
        except OSError as error:
            self.reason = str(error)
        self.ended = True
        if not self._warm.done():
            self._warm.set_result(None)
        self.on_end()

    def _take(self, event: Message) -> None:
        if isinstance(event, Warm):
            if not self._warm.done():
                self._warm.set_result(None)
        elif isinstance(event, Fault):
            self.reason = event.reason
            log.warning("media.worker_fault", pid=self.pid, reason=event.reason)
        else:
            self.on_event(event)


async def _spawn(core: int, sounds: Sequence[int]) -> asyncio.subprocess.Process:
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    paths = [f"/proc/self/fd/{descriptor}" for descriptor in sounds]
    return await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-c", BOOT, str(ROOT), str(core), *paths,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
        pass_fds=(core, *sounds), env=environment,
    )  # fmt: skip
