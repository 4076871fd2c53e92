"""What a committed write did to a document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from api.ports import Document


@dataclass(frozen=True, slots=True)
class Change:
    """One document before and after a committed write; None where it was not there."""

    old: Document | None
    new: Document | None

    @property
    def subject(self) -> Document:
        """The document as it last was."""
        return present(self.new or self.old)


def present(document: Document | None) -> Document:
    """Return a document that must be there."""
    assert document is not None
    return document
