"""Small values that must outlive the process, such as the key that signs nonces."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from daemon.store.database import Database

_FIND = "SELECT value FROM settings WHERE key = ?"
_PUT = "INSERT OR REPLACE INTO settings (key, value) VALUES (?, ?)"
_ADD = "INSERT INTO settings (key, value) VALUES (?, ?)"


class StoredValues:
    """Bytes by name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get_or_create(self, key: str, make: Callable[[], bytes]) -> bytes:
        """Return the value, made and stored where there is none; two processes get the same one."""

        def job(connection: sqlite3.Connection) -> bytes:
            for (value,) in connection.execute(_FIND, (key,)).fetchall():
                return bytes(value)
            made = make()
            connection.execute(_ADD, (key, made))
            return made

        return await self._database.write(job)

    async def put(self, key: str, value: bytes) -> None:
        """Store the value, whatever there was."""

        def job(connection: sqlite3.Connection) -> None:
            connection.execute(_PUT, (key, value))

        await self._database.write(job)
