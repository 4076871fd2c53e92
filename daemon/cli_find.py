"""Which device or user is meant: an id, a username or a name. What could mean two of them is an error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click

from daemon.cli_client import part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from api.ports import Document
    from daemon.cli_client import Answer, Client

MOST_SHOWN: Final = 10  # candidates of an ambiguous word that are told


@dataclass(frozen=True, slots=True)
class Sort:
    """What is looked for."""

    noun: str
    plural: str
    """Its resource in the API."""
    filters: Callable[[str], Iterable[Mapping[str, str]]]
    """The query strings that find those of a username or a name."""
    name: Callable[[Answer], str]
    """How a row of a listing is called."""


@dataclass(frozen=True, slots=True)
class Found:
    """A device or user that is there."""

    account: Document
    id: str
    row: Answer
    """What is known of it: its document, or its row in a listing."""
    path: str
    """Where the API has it."""


def _device_filters(text: str) -> Iterable[Mapping[str, str]]:
    yield {"filter_sip.username": text}
    yield {"filter_name": text}


def _user_filters(text: str) -> Iterable[Mapping[str, str]]:
    yield {"filter_username": text.lower()}
    words = text.split(" ")
    for cut in range(1, len(words)):
        yield {"filter_first_name": " ".join(words[:cut]), "filter_last_name": " ".join(words[cut:])}


def full_name(user: Answer) -> str:
    """Return a user's first and last name."""
    return " ".join(str(user[key]) for key in ("first_name", "last_name") if user.get(key))


DEVICES: Final = Sort("device", "devices", _device_filters, lambda row: str(row.get("name") or ""))
USERS: Final = Sort("user", "users", _user_filters, full_name)


async def find_one(client: Client, sort: Sort, text: str) -> Found:
    """Return the one that is meant. Raises ClickException where there is none, or several."""
    found = {each.id: each for account in client.accounts for each in await _find(client, account, sort, text)}
    if not found:
        how = "id, SIP username or name" if sort is DEVICES else "id, username or name"
        raise click.ClickException(f"no {sort.noun} has the {how} {text}")
    if len(found) > 1:
        raise click.ClickException(_ambiguous(sort, text, list(found.values())))
    return next(iter(found.values()))


async def list_all(client: Client, sort: Sort) -> Sequence[tuple[Document, Answer]]:
    """Return the rows of all accounts that are meant, each with its account."""
    return [
        (account, row)
        for account in client.accounts
        for row in (await client.ask("GET", _base(account, sort), query={"paginate": "false"})).get("data", [])
    ]


async def _find(client: Client, account: Document, sort: Sort, text: str) -> Sequence[Found]:
    base = _base(account, sort)
    by_id = await client.ask("GET", f"{base}/{part(text)}")
    if by_id:
        return [Found(account, text, by_id["data"], f"{base}/{part(text)}")]
    rows = [
        row
        for query in sort.filters(text)
        for row in (await client.ask("GET", base, query={**query, "paginate": "false"})).get("data", [])
    ]
    return [Found(account, row["id"], row, f"{base}/{row['id']}") for row in rows]


def _base(account: Document, sort: Sort) -> str:
    return f"/accounts/{account.id}/{sort.plural}"


def _ambiguous(sort: Sort, text: str, found: Sequence[Found]) -> str:
    lines = [f"{text} may mean {len(found)} {sort.plural}; say the id, or --account:"]
    for each in found[:MOST_SHOWN]:
        username = each.row.get("username") or ""
        lines.append(f"  {each.id}  {sort.name(each.row)}  {username}  {each.account.data.get('realm')}")
    if len(found) > MOST_SHOWN:
        lines.append(f"  and {len(found) - MOST_SHOWN} more")
    return "\n".join(lines)
