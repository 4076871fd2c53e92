"""`roost token`: auth tokens by hand, in the database itself."""

from __future__ import annotations

import json
import re
import sys
import time
from typing import TYPE_CHECKING, Final

import click

from api.ports import TokenIdentity
from daemon.cli_client import find_account
from daemon.cli_config import account_option, config_option, examples, json_option
from daemon.cli_store import API_AUTH, in_store
from daemon.cli_table import Column, ago, echo_table
from daemon.store.tokens import token_id_of

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.store import Store

MAX_TTL: Final = 315_360_000  # seconds: ten years; what shall live longer is `never`
COLUMNS: Final = (Column("ID", 16), Column("ACCOUNT", 12), Column("OF", 4), Column("ENDS IN", 7, right=True))


def _check_ttl(_context: click.Context, _parameter: click.Parameter, ttl: str | None) -> str | None:
    if ttl in (None, "never") or (re.fullmatch(r"\d{1,9}", ttl, re.ASCII) and 1 <= int(ttl) <= MAX_TTL):
        return ttl
    raise click.BadParameter(f"{ttl!r} is neither 1 to {MAX_TTL} seconds nor the word never")


@click.group()
def token() -> None:
    """Auth tokens: whose holder may use the API. These commands work whether the daemon is up or down."""


@token.command(
    "create",
    epilog=examples("roost token create --account acme.example.com", "roost token create --account Acme --ttl never"),
)
@click.option(
    "--account", required=True, metavar="ACCOUNT", help="Account that the token speaks for: its id, realm or name."
)
@click.option(
    "--ttl", callback=_check_ttl, metavar="SECONDS|never", help="Life of the token; otherwise that of api.token_ttl."
)
@config_option
@json_option
def create_token(account: str, ttl: str | None, config: Path | None, *, as_json: bool) -> None:
    """Make a token for the API's X-Auth-Token header. It is shown once."""

    async def work(store: Store) -> dict[str, object]:
        account_id = find_account(await store.list_accounts(), account).id
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


@token.command("list", epilog=examples("roost token list", "roost token list --account Acme --json"))
@account_option
@config_option
@json_option
def list_tokens(account: str | None, config: Path | None, *, as_json: bool) -> None:
    """List the tokens that are good now. What a token is cannot be read again; its id is only for `token revoke`."""

    async def work(store: Store) -> list[dict[str, object]]:
        accounts = await store.list_accounts()
        meant = accounts if account is None else [find_account(accounts, account)]
        names = {each.id: each.data.get("name") for each in meant}
        return [
            {
                "token_id": each.id,
                "account_id": each.account_id,
                "account_name": names[each.account_id],
                "user_id": each.owner_id,
                "method": each.method,
                "expires_at": each.expires_at,
            }
            for each in await store.tokens.list()
            if each.account_id in names
        ]

    rows = in_store(config, work)
    if as_json:
        click.echo(json.dumps(rows))
        return
    echo_table(COLUMNS, [_cells(row) for row in rows])


@token.command(
    epilog=examples("roost token revoke 5f0c7a9e1b2d3c4f", "roost token revoke - < stolen-token"),
)
@click.argument("which", metavar="ID")
@config_option
@json_option
def revoke(which: str, config: Path | None, *, as_json: bool) -> None:
    """End a token, by the ID that `token list` shows; - reads the token itself from standard input.

    A daemon that has just seen the token believes it for a minute more at most.
    """
    text = sys.stdin.readline().strip() if which == "-" else ""

    async def work(store: Store) -> str:
        meant = token_id_of(text) if text else which
        if not await store.tokens.revoke_by_id(meant):
            raise click.ClickException(f"there is no such token: {meant}")
        return meant

    revoked = in_store(config, work)
    click.echo(json.dumps({"token_id": revoked}) if as_json else f"revoked: {revoked}")


def _cells(row: dict[str, object]) -> list[str]:
    expires_at = row["expires_at"]
    life = ago(expires_at - time.time()) if isinstance(expires_at, int) else "never"
    return [str(row["token_id"]), str(row["account_name"]), "user" if row["user_id"] else "account", life]
