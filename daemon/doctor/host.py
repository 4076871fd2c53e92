"""The host: its clock, how many files may be open, and room on the disk."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final

from daemon.doctor.finding import Finding, fault, good, warning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TIMEX_SIZE: Final = 512  # bytes; struct timex has 208 on x86-64
TIME_ERROR: Final = 5
"""What adjtimex(2) returns where nobody keeps the clock in step."""
EARLIEST: Final = datetime(2026, 1, 1, tzinfo=timezone.utc)
"""Roost is younger than this, so a clock that is not is wrong."""
RESERVE: Final = 512
"""Descriptors beside the connections of phones: listeners, the database, the API's clients, media workers."""
LITTLE_ROOM: Final = 500 * 2**20
NO_ROOM: Final = 50 * 2**20


def kernel_clock_state() -> int | None:
    """Return what adjtimex(2) says of the clock; None where we may not ask."""
    state = int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(TIMEX_SIZE)))
    return None if state < 0 else state


def check_clock(state: int | None, now: datetime) -> Iterator[Finding]:
    """Tell whether the clock can be believed: certificates, records of calls and the phones' Date go by it."""
    text = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    if now < EARLIEST:
        yield fault("clock", f"it says {text}, which is over", "set it: certificates are refused, records are wrong")
    elif state == TIME_ERROR:
        yield warning("clock", f"{text}, but nobody keeps it in step", "apt-get install systemd-timesyncd")
    elif state is None:
        yield good("clock", f"{text}; whether it is kept in step cannot be seen here")
    else:
        yield good("clock", f"{text}, kept in step")


def open_files_limit(pid: int) -> int:
    """Return how many files a process may have open; our own limit for pid 0. Raises OSError."""
    if not pid:
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return resource.prlimit(pid, resource.RLIMIT_NOFILE)[0]


def check_open_files(whose: str, limit: int, max_connections: int) -> Iterator[Finding]:
    """Tell whether as many connections as the configuration allows can be open."""
    if limit == resource.RLIM_INFINITY or limit >= max_connections + RESERVE:
        yield good("files", f"{whose} may open {limit}, sip.max_connections is {max_connections}")
    else:
        text = f"{whose} may open {limit}, below sip.max_connections {max_connections} and {RESERVE} for the rest"
        yield warning("files", text, "raise LimitNOFILE by  systemctl edit roost,  or lower sip.max_connections")


def check_disk(folder: Path, *, needed: int) -> Iterator[Finding]:
    """Tell whether the disk has room; `needed` is the database's size, for an upgrade copies it."""
    there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    free = shutil.disk_usage(there).free
    text = f"{free // 2**20} MB are free at {there}"
    if not os.access(there, os.W_OK):
        yield fault("disk", f"{there} cannot be written", "registrations cannot be kept: see its owner and its mount")
    elif free < NO_ROOM:
        yield fault("disk", text, "make room: a full disk ends every change, registrations included")
    elif free < max(LITTLE_ROOM, 2 * needed):
        yield warning("disk", text, "make room for the log, and for the copy of the database that an upgrade makes")
    else:
        yield good("disk", text)
