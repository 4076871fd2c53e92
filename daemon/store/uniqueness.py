"""The rules of uniqueness (contract 4.3, 4.5, 4.6), as they are told; the UNIQUE indexes hold them too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.ports import Draft, Kind, Violation
from daemon.store import queries
from daemon.store.records import text_at

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from daemon.store.records import Columns

    Fetch = Callable[[str, Mapping[str, object]], Awaitable[Iterable[Iterable[str]]]]

_QUERIES = {
    Kind.ACCOUNT: queries.ACCOUNT_CONFLICTS,
    Kind.USER: queries.USER_CONFLICTS,
    Kind.DEVICE: queries.DEVICE_CONFLICTS,
}

_MESSAGES = {
    "mac_address": "MAC address already in use",
    "sip.username": "SIP credentials already in use",
    "sip.ip": "SIP IP already in use",
    "mobile.mdn": "Mobile number already in use",
    "username": "Username must be unique within account",
    "hotdesk.id": "Hotdesk ID must be unique within account",
    "realm": "Account realm already in use",
}


async def find_conflicts(fetch: Fetch, draft: Draft, columns: Columns) -> list[Violation]:
    """Return the rules that the draft would break; `fetch` runs a query, on a reader or in the writer's transaction."""
    query = _QUERIES.get(draft.kind)
    if query is None:
        return []
    broken = await fetch(query, {**columns, "account_id": draft.account_id, "id": draft.id})
    return [_violation(rule, draft, columns) for (rule,) in broken]


def _violation(rule: str, draft: Draft, columns: Columns) -> Violation:
    cause = text_at(draft.data, *rule.split("."))
    if rule == "mac_address":
        cause = str(columns["mac"])
    return Violation(rule, "unique", _MESSAGES[rule], cause)
