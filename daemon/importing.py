"""What the readers of import files share: the rows that they find, and the faults that the file itself has."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from api.import_rules import ImportRow

MAX_FILE: Final = 256 * 1024 * 1024  # bytes: 100,000 of Kazoo's largest devices
MAX_ROWS: Final = 100_000  # documents in a file: as many as one machine has phones


@dataclass(frozen=True, slots=True)
class FileFault:
    """What is wrong with a file before anybody looks at what it means."""

    place: str
    """Such as `line 3`."""
    field: str
    """Empty where it is the place as a whole."""
    message: str


@dataclass(slots=True)
class Found:
    """What a file has."""

    rows: list[ImportRow] = field(default_factory=list)
    faults: list[FileFault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What was guessed, and is worth to be told."""


class Unreadable(Exception):
    """The file as a whole cannot be read; the text says why."""
