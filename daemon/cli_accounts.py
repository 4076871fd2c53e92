"""Accounts and tokens by hand: `init`, `account add`, `account list`, `token create`.

They open the database themselves, so they work whether the daemon is up or down.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import click

from api.ports import DocumentMissing, Kind, TokenIdentity
from daemon.cli_config import config_option, json_option
from daemon.cli_store import API_AUTH, in_store

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from api.ports import Document
    from daemon.store import Store

MAX_NAME = 128  # characters of an account's name, as the API's schema has it
MAX_REALM = 253  # characters of a domain name (RFC 1035 2.3.4)
MAX_TTL = 315_360_000  # seconds: ten years; what shall live longer is `never`

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


def _check_ttl(_context: click.Context, _parameter: click.Parameter, ttl: str | None) -> str | None:
    if ttl in (None, "never") or (re.fullmatch(r"\d{1,9}", ttl, re.ASCII) and 1 <= int(ttl) <= MAX_TTL):
        return ttl
    raise click.BadParameter(f"{ttl!r} is neither 1 to {MAX_TTL} seconds nor the word never")


name_option = click.option("--name", required=True, callback=_check_name, help="Name of the account.")
realm_option = click.option(
    "--realm",
    required=True,
    callback=_check_realm,
    help="Its SIP domain: what stands after the @ of a phone's address.",
)


@click.command()
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
    """Accounts."""


@account.command("add")
@name_option
@realm_option
@click.option("--parent", metavar="ID", help="Account that it stands below; otherwise the master account.")
@config_option
@json_option
def add_account(name: str, realm: str, parent: str | None, config: Path | None, *, as_json: bool) -> None:
    """Add an account."""

    async def work(store: Store) -> dict[str, object]:
        account = await store.add_account(name, realm, parent)
        return {"account_id": account.account_id, "name": name, "realm": realm, "api_key": account.api_key}

    _show(in_store(config, work), as_json=as_json)


@account.command("list")
@config_option
@json_option
def list_accounts(config: Path | None, *, as_json: bool) -> None:
    """List the accounts."""

    async def work(store: Store) -> list[dict[str, object]]:
        return [_row(document) for document in await store.list_accounts()]

    rows = in_store(config, work)
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        click.echo("  ".join(str(value) for value in row.values() if value))


@click.group()
def token() -> None:
    """Auth tokens."""


@token.command("create")
@click.option("--account", "account_id", required=True, metavar="ID", help="Account that the token speaks for.")
@click.option(
    "--ttl", callback=_check_ttl, metavar="SECONDS|never", help="Life of the token; otherwise that of api.token_ttl."
)
@config_option
@json_option
def create_token(account_id: str, ttl: str | None, config: Path | None, *, as_json: bool) -> None:
    """Make a token for the API's X-Auth-Token header. It is shown once."""

    async def work(store: Store) -> dict[str, object]:
        if await store.documents.get(Kind.ACCOUNT, account_id, account_id) is None:
            raise DocumentMissing(account_id)
        identity = TokenIdentity(account_id, None, API_AUTH)
        if ttl is None:
            made = await store.tokens.issue(identity)
        else:
            made = await store.tokens.issue(identity, ttl=None if ttl == "never" else int(ttl))
        return {"account_id": account_id, "auth_token": made}

    made = in_store(config, work)
    if as_json:
        click.echo(json.dumps(made))
    else:
        click.echo(made["auth_token"])


def _row(document: Document) -> dict[str, object]:
    tree = document.private.get("pvt_tree")
    parent = tree[-1] if isinstance(tree, list) and tree else None
    return {
        "account_id": document.id,
        "name": document.data.get("name"),
        "realm": document.data.get("realm"),
        "parent_id": parent,
    }


def _show(facts: Mapping[str, object], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(facts))
        return
    for name, value in facts.items():
        click.echo(f"{name}: {value}")
