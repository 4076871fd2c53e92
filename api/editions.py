"""Things that stand as long as nothing is written: a bounded memory of those of one edition."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable

T = TypeVar("T")


class Edition(Generic[T]):
    """What was made of what is stored, until another edition of that is asked for (`Documents.edition`)."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._edition: Hashable = None
        self._things: OrderedDict[Hashable, T] = OrderedDict()

    def find(self, edition: Hashable, key: Hashable) -> T | None:
        """Return what is kept under the key, if it is of this edition."""
        if edition != self._edition:
            self._things.clear()
            self._edition = edition
        return self._things.get(key)

    def keep(self, edition: Hashable, key: Hashable, thing: T) -> None:
        """Keep what was made of this edition, unless there is a newer one by now; the oldest makes room."""
        if edition == self._edition:
            self._things[key] = thing
            if len(self._things) > self._most:
                self._things.popitem(last=False)
