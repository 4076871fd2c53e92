"""`roost user`: the users of the accounts, whose devices are rung together and who may log in at the API."""

from __future__ import annotations

from functools import partial
from typing import IO, TYPE_CHECKING, Final

import click

from daemon.cli_client import with_daemon
from daemon.cli_config import account_option, config_option, examples, json_option
from daemon.cli_documents import add_document, change_document, list_documents, remove_document, show_document, tell
from daemon.cli_fields import (
    confirm_removal,
    fields_argument,
    parse_fields,
    password_options,
    put_password,
    read_changes,
    yes_option,
)
from daemon.cli_find import USERS, full_name
from daemon.cli_table import Column

if TYPE_CHECKING:
    from pathlib import Path

    from api.ports import Document
    from daemon.cli_client import Answer

PASSWORD: Final = "password"  # noqa: S105 - where a user has it
COLUMNS: Final = (
    Column("NAME", 8),
    Column("USERNAME", 8),
    Column("EMAIL", 8),
    Column("REALM", 8),
    Column("ID", 32),
)


@click.group()
def user() -> None:
    """Users: who has devices. USER is an id, a username or a name."""


@user.command("list", epilog=examples("roost user list", "roost user list --account sip.example.com --json"))
@account_option
@config_option
@json_option
def list_users(account: str | None, config: Path | None, *, as_json: bool) -> None:
    """List the users."""
    with_daemon(config, lambda client: list_documents(client, USERS, COLUMNS, _cells, as_json=as_json), account=account)


@user.command(epilog=examples('roost user show "Ann Lee"', "roost user show ann --json"))
@click.argument("user")
@account_option
@config_option
@json_option
def show(user: str, account: str | None, config: Path | None, *, as_json: bool) -> None:
    """Show all fields of a user; a user's password is not kept, so it cannot be shown."""
    with_daemon(
        config, lambda client: show_document(client, USERS, user, unmasked=False, as_json=as_json), account=account
    )


@user.command(
    epilog=examples(
        "roost user add --first-name Ann --last-name Lee",
        "roost user add --first-name Ann --last-name Lee --username ann --generate-password",
    )
)
@click.option("--first-name", required=True, help="First name.")
@click.option("--last-name", required=True, help="Last name.")
@click.option("--username", help="Name that the user logs in with at the API.")
@password_options
@fields_argument
@account_option
@config_option
@json_option
def add(
    first_name: str,
    last_name: str,
    username: str | None,
    password_file: IO[str] | None,
    fields: tuple[str, ...],
    account: str | None,
    config: Path | None,
    *,
    ask_password: bool,
    generate_password: bool,
    as_json: bool,
) -> None:
    """Add a user. FIELD=VALUE sets any other field, FIELD:=JSON gives a list or an object."""
    document = {"first_name": first_name, "last_name": last_name, **parse_fields(fields, secret=PASSWORD)}
    if username is not None:
        document["username"] = username
    made = put_password(document, PASSWORD, password_file, generate=generate_password, ask=ask_password)
    added = with_daemon(config, lambda client: add_document(client, USERS, document), account=account)
    tell(added, password=made, as_json=as_json)


@user.command("set", epilog=examples("roost user set ann email=ann@example.com", "roost user set ann --ask-password"))
@click.argument("user")
@password_options
@fields_argument
@account_option
@config_option
@json_option
def set_fields(
    user: str,
    password_file: IO[str] | None,
    fields: tuple[str, ...],
    account: str | None,
    config: Path | None,
    *,
    ask_password: bool,
    generate_password: bool,
    as_json: bool,
) -> None:
    """Change some fields of a user; FIELD:=null removes one."""
    document, made = read_changes(fields, PASSWORD, password_file, generate=generate_password, ask=ask_password)
    changed = with_daemon(config, lambda client: change_document(client, USERS, user, document), account=account)
    tell(changed, password=made, as_json=as_json)


@user.command(epilog=examples("roost user remove ann"))
@click.argument("user")
@yes_option
@account_option
@config_option
@json_option
def remove(user: str, account: str | None, config: Path | None, *, yes: bool, as_json: bool) -> None:
    """Remove a user; the devices stay."""
    confirm = partial(confirm_removal, yes=yes)
    removed = with_daemon(config, lambda client: remove_document(client, USERS, user, confirm), account=account)
    tell(removed, password=None, as_json=as_json)


def _cells(account: Document, row: Answer) -> list[str]:
    words = full_name(row), row.get("username", ""), row.get("email", ""), account.data.get("realm", ""), row["id"]
    return [str(word) for word in words]
