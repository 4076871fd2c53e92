"""The daemon's log, as the journal of this host has it (systemd, journalctl)."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

PROGRAM: Final = "journalctl"
MAX_LINE: Final = 1024 * 1024  # bytes: far above what the daemon logs in one
MAX_CALL_IDS: Final = 1000  # of one phone; the oldest make room
END_LIMIT: Final = 2.0  # seconds that journalctl has to see that nobody reads it

_CALL_IDS: Final = frozenset(("call_id", "leg", "call_ids"))
"""Where a line, or an event, has Call-IDs."""


def why_no_journal(unit: str) -> str:
    """Return why this host's journal tells nothing of the unit; empty where it may."""
    if shutil.which(PROGRAM) is None:
        return f"there is no {PROGRAM} here"
    words = [PROGRAM, "--quiet", "--no-pager", "--output=cat", "--lines=1", f"--unit={unit}"]
    # Arguments, no shell; and only ours or what journalctl itself checks. So below.
    done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        return f"{PROGRAM}: {done.stderr.strip()}"
    return "" if done.stdout else f"the journal has nothing of the unit {unit}, or nothing that you may read"


class Journal:
    """A journalctl that reads the lines of a unit. Start it before root is given up, which may be needed for that."""

    def __init__(self, unit: str, since: str, *, follow: bool) -> None:
        words = [PROGRAM, "--quiet", "--no-pager", "--output=cat", f"--unit={unit}", f"--since={since}"]
        if follow:
            words += ["--follow", "--lines=all"]
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # noqa: S603

    async def lines(self) -> AsyncIterator[str]:
        """Return the lines as they come. Raises ClickException where journalctl fails."""
        assert self._process.stdout is not None
        reader = asyncio.StreamReader(limit=MAX_LINE)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), self._process.stdout)
        async for line in reader:
            yield line.decode(errors="replace").rstrip("\n")
        _, fault = await asyncio.to_thread(self._process.communicate)
        if self._process.returncode:
            raise click.ClickException(f"{PROGRAM}: {fault.decode(errors='replace').strip()}")

    def close(self) -> None:
        """Stop reading. It ends by itself then; we may have no right to end it."""
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
        try:
            self._process.terminate()
            self._process.wait(END_LIMIT)
        except (PermissionError, subprocess.TimeoutExpired):
            return


class Trail:
    """What belongs to one phone: whatever has its device id, or a Call-ID that was seen beside it."""

    def __init__(self, device_id: str) -> None:
        self._device_id = device_id
        self._call_ids: dict[str, None] = {}

    def takes(self, line: str) -> bool:
        """Return whether the line is the phone's; learn its Call-IDs where it is."""
        if self._device_id not in line and not any(call_id in line for call_id in self._call_ids):
            return False
        try:
            facts = json.loads(line)
        except ValueError:
            return True
        if isinstance(facts, dict):
            self.learn(facts)
        return True

    def learn(self, facts: dict[str, Any]) -> None:
        """Note the Call-IDs of a line, or of an event, that is the phone's."""
        for key in _CALL_IDS & facts.keys():
            for call_id in _texts(facts[key]):
                self._call_ids[call_id] = None
        while len(self._call_ids) > MAX_CALL_IDS:
            del self._call_ids[next(iter(self._call_ids))]


def _texts(value: object) -> Iterator[str]:
    several = value.values() if isinstance(value, dict) else value if isinstance(value, list) else (value,)
    for each in several:
        if isinstance(each, str) and each:
            yield each
