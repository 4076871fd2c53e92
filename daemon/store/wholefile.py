"""Files that are there whole or not at all: written under another name, brought to the disk, then given their own."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def whole_file(target: Path, *, replace: bool = True) -> Iterator[Path]:
    """Give an empty file, readable by its owner alone, that gets the target's name once the block has ended well.

    It stands in the target's folder. Without `replace` a file that is there by then stays, and FileExistsError is
    raised. Where anything is raised nothing is left behind.
    """
    descriptor, name = tempfile.mkstemp(prefix=f"{target.name}.", dir=target.parent)
    temporary = Path(name)
    try:
        yield temporary
        os.fsync(descriptor)
        if replace:
            temporary.replace(target)
        else:
            target.hardlink_to(temporary)  # unlike a rename, never takes the place of another file
            temporary.unlink()
        sync_folder(target.parent)
    except BaseException:
        for left in target.parent.glob(f"{temporary.name}*"):  # with the journal that SQLite may have had beside it
            left.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
