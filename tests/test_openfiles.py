"""The process's open files."""

from __future__ import annotations

import os
import resource
from contextlib import ExitStack
from pathlib import Path

import pytest

from daemon.openfiles import AT_ONCE, SPARE, count_open, make_room

TABLE = Path("/proc/self/status")


def table_size() -> int:
    """Return for how many files the kernel has room without making it."""
    return int(TABLE.read_text().partition("FDSize:")[2].split()[0])


async def test_open_files_are_counted_over_several_turns() -> None:
    """As many more as were opened."""
    before = await count_open()
    with ExitStack() as files:
        for _ in range(AT_ONCE):
            files.callback(os.close, os.dup(0))

        assert before + AT_ONCE == await count_open()
    assert before == await count_open()


@pytest.mark.parametrize("connections", [100, 300_000])
def test_there_is_room_for_the_connections_and_no_file_is_left_open(connections: int) -> None:
    """But for no more than the process may open."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = os.listdir("/proc/self/fd")  # noqa: PTH208
    make_room(connections)

    assert before == os.listdir("/proc/self/fd")  # noqa: PTH208
    assert min(limit, connections + SPARE) <= table_size()
