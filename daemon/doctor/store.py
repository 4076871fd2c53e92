"""The database: whole, of a version that is known, and readable to nobody else. Nothing of it is changed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Final

from daemon.doctor.finding import Finding, fault, good, warning
from daemon.store.backup import BackupFailed, inspect
from daemon.store.migrations import shipped_migrations

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOST_REALMS: Final = 20
RESTORE: Final = "restore a backup: stop the daemon, then  roost restore FILE"


def check_database(path: Path) -> Iterator[Finding]:
    """Read all of the database, whether the daemon is up or down."""
    if not path.exists():
        yield good("database", f"there is none at {path} yet; the first start makes it")
        return
    try:
        contents = inspect(path)
    except BackupFailed as error:
        yield fault("database", str(error), RESTORE)
        return
    newest = shipped_migrations()[-1].version
    held = f"{contents.accounts} accounts, {contents.devices} devices, {contents.bindings} contacts"
    if contents.version > newest:
        text = f"{path} is of version {contents.version}, this Roost knows {newest}"
        yield fault("database", text, "run the newer Roost, or restore the copy it made: docs/operations.md")
    elif contents.version < newest:
        yield good("database", f"whole: {held}", f"version {contents.version}: the next start brings it to {newest}")
    else:
        yield good("database", f"whole: {held}")


def check_database_mode(path: Path) -> Iterator[Finding]:
    """Tell whether others may read the passwords in it."""
    for file in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
        if file.exists() and file.stat().st_mode & 0o077:
            yield warning("modes", f"{file} can be read by others", f"it holds passwords: chmod 600 {file}")


def realms_of(path: Path) -> list[str]:
    """Return the realms of the first accounts; none where the database cannot be read."""
    sql = """
        SELECT realm FROM documents WHERE kind = 'account' AND deleted = 0 AND realm IS NOT NULL
        ORDER BY created LIMIT ?
    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return [str(realm) for (realm,) in connection.execute(sql, (MOST_REALMS,))]
    except sqlite3.Error:
        return []
