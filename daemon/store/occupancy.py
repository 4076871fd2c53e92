"""Who uses the database: the daemon holds a lock on a file beside it, so that nobody takes the file away under it.

The lock goes with its process, however that ends; the file stays.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from daemon.store.connection import prepare_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class InUse(Exception):
    """Somebody is at the database who cannot share it."""


class Occupancy:
    """A daemon's hold on its database; several may have one. Raises InUse while somebody wants it alone."""

    def __init__(self, database: Path) -> None:
        self._descriptor = _lock(database, fcntl.LOCK_SH)

    async def release(self) -> None:
        """Let others have the file for themselves."""
        os.close(self._descriptor)


@contextmanager
def alone(database: Path) -> Iterator[None]:
    """Keep every daemon away from the database. Raises InUse where one runs."""
    descriptor = _lock(database, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(database: Path, kind: int) -> int:
    prepare_folder(database)
    path = database.with_name(f"{database.name}.lock")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        text = "a daemon runs on it" if kind == fcntl.LOCK_EX else "it is being restored or imported into"
        raise InUse(f"{database} is in use: {text}") from None
    return descriptor
