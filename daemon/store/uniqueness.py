"""The rules of uniqueness (contract 4.3, 4.5, 4.6), as they are told; the UNIQUE indexes hold them too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.ports import Draft, Kind, Violation
from daemon.store import queries
from daemon.store.records import text_at

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from daemon.store.database import Row
    from daemon.store.records import Columns

    Read = Callable[[str, Mapping[str, object]], Awaitable[Sequence[Row]]]

_QUERIES = {
    Kind.ACCOUNT: queries.ACCOUNT_CONFLICTS,
    Kind.USER: queries.USER_CONFLICTS,
    Kind.DEVICE: queries.DEVICE_CONFLICTS,
}
_NO_RULES = "SELECT '' WHERE 0"  # for the other kinds

_MESSAGES = {
    "mac_address": "MAC address already in use",
    "sip.username": "SIP credentials already in use",
    "sip.ip": "SIP IP already in use",
    "mobile.mdn": "Mobile number already in use",
    "username": "Username must be unique within account",
    "hotdesk.id": "Hotdesk ID must be unique within account",
    "realm": "Account realm already in use",
}


async def find_conflicts(read: Read, draft: Draft, columns: Columns) -> list[Violation]:
    """Return the rules that the draft would break as of the last commit; `read` runs a query on a reader."""
    return violations_of(await read(*conflict_query(draft, columns)), draft, columns)


def conflict_query(draft: Draft, columns: Columns) -> tuple[str, Mapping[str, object]]:
    """Return the query, with its parameters, whose rows `violations_of` takes."""
    return _QUERIES.get(draft.kind, _NO_RULES), {**columns, "account_id": draft.account_id, "id": draft.id}


def violations_of(rows: Iterable[Row], draft: Draft, columns: Columns) -> list[Violation]:
    """Return the rules that the draft would break."""
    return [_violation(rule, draft, columns) for (rule,) in rows]


def _violation(rule: str, draft: Draft, columns: Columns) -> Violation:
    cause = text_at(draft.data, *rule.split("."))
    if rule == "mac_address":
        cause = str(columns["mac"])
    return Violation(rule, "unique", _MESSAGES[rule], cause)


class Claims:
    """What documents that are not written yet will occupy; they are all of one account."""

    def __init__(self) -> None:
        self._values: set[tuple[str, str | bytes]] = set()
        self._usernames: dict[str, bool] = {}
        """By SIP username, whether one of those who have it authenticates by it."""

    def broken_by(self, draft: Draft, columns: Columns) -> list[Violation]:
        """Return the rules that the draft would break beside those that were taken in."""
        broken = [rule for rule, value in _claims_of(columns) if (rule, value) in self._values]
        username = columns["sip_username"]
        others = self._usernames.get(username) if isinstance(username, str) else None
        if others is not None and (others or _authenticates(columns)):
            broken.append("sip.username")
        return [_violation(rule, draft, columns) for rule in broken]

    def take(self, columns: Columns) -> None:
        """Take in what a draft will occupy."""
        self._values.update(_claims_of(columns))
        username = columns["sip_username"]
        if isinstance(username, str):
            self._usernames[username] = self._usernames.get(username, False) or _authenticates(columns)


_CLAIMED = {
    "mac": "mac_address",
    "sip_ip": "sip.ip",
    "mdn": "mobile.mdn",
    "login": "username",
    "hotdesk_id": "hotdesk.id",
}


def _claims_of(columns: Columns) -> list[tuple[str, str | bytes]]:
    return [(rule, value) for column, rule in _CLAIMED.items() if (value := columns[column]) is not None]


def _authenticates(columns: Columns) -> bool:
    return columns["sip_method"] == "password"
