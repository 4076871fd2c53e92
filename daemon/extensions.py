"""Which user a short number means: in Kazoo an extension is its user's presence id (contract 6.3, 6.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.ports import Kind

if TYPE_CHECKING:
    from api.ports import Document


class Extensions:
    """The users by account and number. Implements `daemon.provisioning.DocumentListener`."""

    def __init__(self) -> None:
        self._users: dict[tuple[str, str], str] = {}

    def find(self, account_id: str, number: str) -> str | None:
        """Return the id of the account's user that a number means."""
        return self._users.get((account_id, number.lower()))

    def changed(self, old: Document | None, new: Document | None) -> None:
        """Take in a committed change of a document."""
        before, after = _number(old), _number(new)
        if before is not None and old is not None and self._users.get(before) == old.id:
            del self._users[before]
        if after is not None and new is not None:
            self._users[after] = new.id


def _number(document: Document | None) -> tuple[str, str] | None:
    """Return the account and number of a user; None for one without, and for what is no user."""
    if document is None or document.kind is not Kind.USER:
        return None
    presence_id = document.data.get("presence_id")
    number = presence_id.partition("@")[0].lower() if isinstance(presence_id, str) else ""
    return (document.account_id, number) if number else None
