"""Documents that were read lately, so that a request that names the same account and device again reads no database."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from api.ports import Document, Kind

MAX_DOCUMENTS: Final = 1024  # of some 3 KiB each
FRESH_FOR: Final = 1.0  # seconds; the command line may write to the database beside us, and tells nobody

Key = tuple["Kind", str, str]


class RecentDocuments:
    """A bounded memory of documents as they were last committed.

    Rule: whoever reads the database asks for the `moment` first and hands it to `remember`, so that what was read
    before a commit is not remembered after it.
    """

    __slots__ = ("_clock", "_documents", "moment")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._documents: OrderedDict[Key, tuple[Document, float]] = OrderedDict()
        self.moment = 0
        """Counts commits."""

    def find(self, key: Key) -> Document | None:
        """Return the document, None where it is not remembered, which says nothing about whether it exists."""
        found = self._documents.get(key)
        if found is None or self._clock() >= found[1]:
            return None
        self._documents.move_to_end(key)
        return found[0]

    def remember(self, key: Key, document: Document, moment: int) -> None:
        """Keep what was read, unless something was committed since `moment`."""
        if moment != self.moment:
            return
        self._documents[key] = document, self._clock() + FRESH_FOR
        self._documents.move_to_end(key)
        if len(self._documents) > MAX_DOCUMENTS:
            self._documents.popitem(last=False)

    def committed(self, document: Document) -> None:
        """Forget a document that was written or deleted."""
        self.moment += 1
        self._documents.pop((document.kind, document.account_id, document.id), None)
