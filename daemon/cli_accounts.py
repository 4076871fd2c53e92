"""`roost init` and `roost account`."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

import click

from api.ports import TokenIdentity
from daemon.cli_client import Unreachable, find_account, find_master, with_daemon
from daemon.cli_config import config_option, examples, json_option
from daemon.cli_documents import tell
from daemon.cli_fields import confirm_removal, fields_argument, parse_fields, yes_option
from daemon.cli_store import API_AUTH, in_store
from daemon.cli_table import Column, echo_facts, echo_table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from api.ports import Document
    from daemon.cli_client import Answer, Client
    from daemon.store import Store

COLUMNS: Final = (Column("NAME", 12), Column("REALM", 16), Column("ID", 32))
MAX_NAME = 128  # characters of an account's name, as the API's schema has it
MAX_REALM = 253  # characters of a domain name (RFC 1035 2.3.4)

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_REALM = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII | re.IGNORECASE)


def _check_name(_context: click.Context, _parameter: click.Parameter, name: str) -> str:
    if not 1 <= len(name.strip()) <= MAX_NAME:
        raise click.BadParameter(f"has 1 to {MAX_NAME} characters")
    return name.strip()


def _check_realm(_context: click.Context, _parameter: click.Parameter, realm: str) -> str:
    if len(realm) > MAX_REALM or _REALM.fullmatch(realm) is None:
        raise click.BadParameter(f"{realm!r} is not a domain name, such as sip.example.com")
    return realm.lower()


name_option = click.option("--name", required=True, callback=_check_name, help="Name of the account.")
realm_option = click.option(
    "--realm",
    required=True,
    callback=_check_realm,
    help="Its SIP domain: what stands after the @ of a phone's address.",
)


@click.command(epilog=examples("roost init --name Main --realm sip.example.com"))
@name_option
@realm_option
@config_option
@json_option
def init(name: str, realm: str, config: Path | None, *, as_json: bool) -> None:
    """Make the database and the master account, which may do everything."""

    async def work(store: Store) -> dict[str, object]:
        account = await store.create_master(name, realm)
        token = await store.tokens.issue(TokenIdentity(account.account_id, None, API_AUTH))
        return {"account_id": account.account_id, "realm": realm, "api_key": account.api_key, "auth_token": token}

    _show(in_store(config, work, create=True), as_json=as_json)


@click.group()
def account() -> None:
    """Accounts: each with a SIP domain of its own. ACCOUNT is an id, a realm or a name."""


@account.command("add", epilog=examples("roost account add --name Acme --realm acme.example.com"))
@name_option
@realm_option
@click.option("--parent", metavar="ACCOUNT", help="Account that it stands below; otherwise the master account.")
@config_option
@json_option
def add_account(name: str, realm: str, parent: str | None, config: Path | None, *, as_json: bool) -> None:
    """Add an account. It works whether the daemon is up or down."""

    async def ask(client: Client) -> dict[str, object]:
        above = find_account(client.accounts, parent) if parent else find_master(client.accounts)
        made = (await client.ask("PUT", f"/accounts/{above.id}", {"name": name, "realm": realm}))["data"]
        key = (await client.ask("GET", f"/accounts/{made['id']}/api_key"))["data"]
        return {"account_id": made["id"], "name": name, "realm": realm, **key}

    async def write(store: Store) -> dict[str, object]:
        above = find_account(await store.list_accounts(), parent).id if parent else None
        made = await store.add_account(name, realm, above)
        return {"account_id": made.account_id, "name": name, "realm": realm, "api_key": made.api_key}

    try:
        facts = with_daemon(config, ask)
    except Unreachable:
        facts = in_store(config, write)  # nobody else has the database open, so nobody has to be told
    _show(facts, as_json=as_json)


@account.command("list", epilog=examples("roost account list", "roost account list --json | jq -r '.[].account_id'"))
@config_option
@json_option
def list_accounts(config: Path | None, *, as_json: bool) -> None:
    """List the accounts. It works whether the daemon is up or down."""

    async def work(store: Store) -> list[dict[str, str | None]]:
        return [_row(document) for document in await store.list_accounts()]

    rows = in_store(config, work)
    if as_json:
        click.echo(json.dumps(rows))
    else:
        echo_table(COLUMNS, [[row[key] or "" for key in ("name", "realm", "account_id")] for row in rows])


@account.command(epilog=examples("roost account show acme.example.com", "roost account show Acme --show-api-key"))
@click.argument("account")
@click.option("--show-api-key", is_flag=True, help="Show the API key too, which lets its holder do all in the account.")
@config_option
@json_option
def show(account: str, config: Path | None, *, show_api_key: bool, as_json: bool) -> None:
    """Show all fields of an account."""

    async def work(client: Client) -> Answer:
        query = {"include_api_key": "true"} if show_api_key else {}
        return dict((await client.ask("GET", f"/accounts/{client.accounts[0].id}", query=query))["data"])

    _show(with_daemon(config, work, account=account), as_json=as_json)


@account.command(
    "set", epilog=examples("roost account set Acme name='Acme Ltd'", "roost account set Acme enabled=false")
)
@click.argument("account")
@fields_argument
@config_option
@json_option
def set_fields(account: str, fields: tuple[str, ...], config: Path | None, *, as_json: bool) -> None:
    """Change some fields of an account; FIELD:=null removes one."""
    document = parse_fields(fields)
    if not document:
        raise click.UsageError("name a FIELD=VALUE")

    async def work(client: Client) -> Answer:
        return dict((await client.ask("PATCH", f"/accounts/{client.accounts[0].id}", document))["data"])

    tell(with_daemon(config, work, account=account), password=None, as_json=as_json)


@account.command(epilog=examples("roost account remove acme.example.com"))
@click.argument("account")
@yes_option
@config_option
@json_option
def remove(account: str, config: Path | None, *, yes: bool, as_json: bool) -> None:
    """Remove an account that has none below it, with its users and devices."""

    async def work(client: Client) -> Answer:
        meant = client.accounts[0]
        confirm_removal(f"account {meant.data.get('name')} ({meant.id}) and all that is in it", yes=yes)
        await client.ask("DELETE", f"/accounts/{meant.id}")
        return {"id": meant.id}

    tell(with_daemon(config, work, account=account), password=None, as_json=as_json)


def _row(document: Document) -> dict[str, str | None]:
    tree = document.private.get("pvt_tree")
    parent = tree[-1] if isinstance(tree, list) and tree else None
    name, realm = document.data.get("name"), document.data.get("realm")
    return {
        "account_id": document.id,
        "name": str(name) if name else None,
        "realm": str(realm) if realm else None,
        "parent_id": str(parent) if parent else None,
    }


def _show(facts: Mapping[str, object], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(facts))
        return
    echo_facts(facts)
