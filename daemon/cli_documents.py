"""What `roost device` and `roost user` have in common: to list, show, add, set and remove documents of an account."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from daemon.cli_find import find_one, list_all
from daemon.cli_table import echo_facts, echo_table
from daemon.log import mask_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from api.ports import Document
    from daemon.cli_client import Answer, Client
    from daemon.cli_fields import Fields
    from daemon.cli_find import Sort
    from daemon.cli_table import Column


async def list_documents(
    client: Client,
    sort: Sort,
    columns: Sequence[Column],
    cells: Callable[[Document, Answer], list[str]],
    *,
    as_json: bool,
) -> None:
    """Print what there is of a sort."""
    found = await list_all(client, sort)
    if as_json:
        click.echo(json.dumps([{**row, "account_id": account.id} for account, row in found]))
    elif found:
        echo_table(columns, sorted(cells(account, row) for account, row in found))
    else:
        click.echo(f"no {sort.plural} yet: `roost {sort.noun} add` makes one", err=True)


async def show_document(client: Client, sort: Sort, text: str, *, unmasked: bool, as_json: bool) -> None:
    """Print all fields of one, its passwords masked unless they are asked for."""
    found = await find_one(client, sort, text)
    data: Answer = {**(await client.ask("GET", found.path))["data"], "account_id": found.account.id}
    shown = data if unmasked else masked(data)
    if as_json:
        click.echo(json.dumps(shown))
    else:
        echo_facts(shown)


async def add_document(client: Client, sort: Sort, fields: Fields) -> Answer:
    """Make one in the account that is meant, and return it."""
    if len(client.accounts) != 1:
        raise click.UsageError(f"there are {len(client.accounts)} accounts: say --account")
    account = client.accounts[0]
    answer = await client.ask("PUT", f"/accounts/{account.id}/{sort.plural}", fields)
    return {**answer["data"], "account_id": account.id}


async def change_document(client: Client, sort: Sort, text: str, fields: Fields) -> Answer:
    """Change some fields of one, and return it."""
    found = await find_one(client, sort, text)
    answer = await client.ask("PATCH", found.path, fields)
    return {**answer["data"], "account_id": found.account.id}


async def remove_document(client: Client, sort: Sort, text: str, confirm: Callable[[str], None]) -> Answer:
    """Remove one, after `confirm` has let us."""
    found = await find_one(client, sort, text)
    confirm(f"{sort.noun} {sort.name(found.row)} ({found.id})")
    await client.ask("DELETE", found.path)
    return {"id": found.id, "account_id": found.account.id}


def masked(data: Answer) -> Answer:
    """Return a document as it may be shown to whoever looks over a shoulder."""
    return dict(mask_secrets(None, "", data))


def tell(facts: Mapping[str, Any], *, password: str | None, as_json: bool) -> None:
    """Print what became of a document: a few facts, or with `as_json` all of them, and a password that we made."""
    shown = masked(dict(facts))
    if password is not None:
        shown["generated_password"] = password
    if as_json:
        click.echo(json.dumps(shown))
        return
    kept = ("id", "name", "first_name", "last_name", "username", "realm", "account_id", "generated_password")
    echo_facts({key: shown[key] for key in kept if shown.get(key)})
