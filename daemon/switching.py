"""How soon Python switches between its threads while what is stored is loaded."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

SHORT: Final = 0.0005  # seconds


@contextmanager
def quick_switching() -> Iterator[None]:
    """Let a thread that wants Python's lock have it soon.

    SQLite's thread wants it for a moment between two pages, and would wait for as long as a page takes (see
    `daemon.store.pages`).
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(SHORT)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
