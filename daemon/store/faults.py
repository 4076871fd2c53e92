"""Which errors of SQLite mean that the database cannot be had now, and telling of it once."""

from __future__ import annotations

import sqlite3

import structlog

from api.ports import StoreUnavailable

_log = structlog.stdlib.get_logger(__name__)

_OURS = (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.DataError, sqlite3.NotSupportedError)
_PASSING = ("locked", "full")  # SQLite's own words; Python 3.10 does not hand out its codes


def is_fault(error: BaseException) -> bool:
    """Return whether the error is the database's (full, locked, unreadable, corrupt) and not the statement's."""
    return isinstance(error, sqlite3.DatabaseError | OSError) and not isinstance(error, _OURS)


def needs_reopening(error: BaseException) -> bool:
    """Return whether a new connection may see more than this one: not so for a full or a locked file."""
    return not any(word in str(error) for word in _PASSING)


class Health:
    """Whether the last use of the database went well; the first failure in a row is a warning, repeats are not."""

    def __init__(self, side: str) -> None:
        self._side = side
        self._failing = False

    def failed(self, error: BaseException) -> StoreUnavailable:
        """Log the reason, with the traceback of what is no fault of the file, and return what the callers get."""
        log = _log.debug if self._failing else _log.warning
        log("store.unavailable", side=self._side, reason=str(error), exc_info=None if is_fault(error) else error)
        self._failing = True
        return StoreUnavailable(str(error))

    def succeeded(self) -> None:
        """Note a use that went well."""
        if self._failing:
            self._failing = False
            _log.info("store.recovered", side=self._side)
