"""`roost device`: the devices of the accounts."""

from __future__ import annotations

from functools import partial
from typing import IO, TYPE_CHECKING, Any, Final

import click

from daemon.cli_client import with_daemon
from daemon.cli_config import account_option, config_option, examples, json_option
from daemon.cli_documents import (
    add_document,
    change_document,
    list_documents,
    remove_document,
    show_document,
    tell,
)
from daemon.cli_fields import (
    confirm_removal,
    fields_argument,
    parse_fields,
    password_options,
    put,
    put_password,
    read_changes,
    yes_option,
)
from daemon.cli_find import DEVICES, USERS, find_one
from daemon.cli_table import Column

if TYPE_CHECKING:
    from pathlib import Path

    from api.ports import Document
    from daemon.cli_client import Answer, Client
    from daemon.cli_fields import Fields

PASSWORD: Final = "sip.password"  # noqa: S105 - where a device has it
COLUMNS: Final = (
    Column("NAME", 8),
    Column("USERNAME", 8),
    Column("ENABLED", 7),
    Column("REALM", 10),
    Column("ID", 32),
)


@click.group()
def device() -> None:
    """Devices: what phones register as. DEVICE is an id, a SIP username or a name."""


@device.command("list", epilog=examples("roost device list", "roost device list --json | jq -r '.[].id'"))
@account_option
@config_option
@json_option
def list_devices(account: str | None, config: Path | None, *, as_json: bool) -> None:
    """List the devices."""
    with_daemon(
        config, lambda client: list_documents(client, DEVICES, COLUMNS, _cells, as_json=as_json), account=account
    )


@device.command(epilog=examples("roost device show 1001", 'roost device show "Front desk" --json'))
@click.argument("device")
@click.option("--show-password", is_flag=True, help="Show the SIP password too.")
@account_option
@config_option
@json_option
def show(device: str, account: str | None, config: Path | None, *, show_password: bool, as_json: bool) -> None:
    """Show all fields of a device."""
    with_daemon(
        config,
        lambda client: show_document(client, DEVICES, device, unmasked=show_password, as_json=as_json),
        account=account,
    )


@device.command(
    epilog=examples(
        "roost device add --name Desk --username 1001 --generate-password",
        "pass show phones/1002 | roost device add --name Hall --username 1002 --password-file -",
        "roost device add --name Gate sip.method=ip sip.ip=192.0.2.7 sip.username=gate",
    )
)
@click.option("--name", required=True, help="Name of the device.")
@click.option("--username", help="Its SIP username; the account's realm is what stands after the @.")
@click.option("--owner", metavar="USER", help="User whose device it is: an id, a username or a name.")
@password_options
@fields_argument
@account_option
@config_option
@json_option
def add(
    name: str,
    username: str | None,
    owner: str | None,
    password_file: IO[str] | None,
    fields: tuple[str, ...],
    account: str | None,
    config: Path | None,
    *,
    ask_password: bool,
    generate_password: bool,
    as_json: bool,
) -> None:
    """Add a device. Without an option that gives its password, the terminal asks for one.

    FIELD=VALUE sets any other field, FIELD:=JSON gives a list or an object: `caller_id.internal.number=10`,
    `media.audio.codecs:='["PCMU"]'`. GET /v2/openapi.json tells the fields.
    """
    document = {"name": name, **parse_fields(fields, secret=PASSWORD)}
    if username is not None:
        put(document, ("sip", "username"), username)
    sip = document.get("sip", {})
    needed = "username" in sip and sip.get("method", "password") == "password"
    unsaid = password_file is None and not generate_password
    ask = ask_password or (needed and unsaid)
    made = put_password(document, PASSWORD, password_file, generate=generate_password, ask=ask)

    async def work(client: Client) -> Answer:
        if owner is not None:
            document["owner_id"] = (await find_one(client, USERS, owner)).id
        return await add_document(client, DEVICES, document)

    added = with_daemon(config, work, account=account)
    tell(_facts(added), password=made, as_json=as_json)


@device.command(
    "set",
    epilog=examples(
        "roost device set 1001 name='Front desk' enabled=false",
        "roost device set 1001 --generate-password",
        "roost device set 1001 owner_id:=null",
    ),
)
@click.argument("device")
@password_options
@fields_argument
@account_option
@config_option
@json_option
def set_fields(
    device: str,
    password_file: IO[str] | None,
    fields: tuple[str, ...],
    account: str | None,
    config: Path | None,
    *,
    ask_password: bool,
    generate_password: bool,
    as_json: bool,
) -> None:
    """Change some fields of a device; FIELD:=null removes one."""
    document, made = read_changes(fields, PASSWORD, password_file, generate=generate_password, ask=ask_password)
    changed = with_daemon(config, lambda client: change_document(client, DEVICES, device, document), account=account)
    tell(_facts(changed), password=made, as_json=as_json)


@device.command(epilog=examples("roost device remove 1001", "roost device remove 1001 --yes --json"))
@click.argument("device")
@yes_option
@account_option
@config_option
@json_option
def remove(device: str, account: str | None, config: Path | None, *, yes: bool, as_json: bool) -> None:
    """Remove a device; its phone is un-registered."""
    confirm = partial(confirm_removal, yes=yes)
    removed = with_daemon(config, lambda client: remove_document(client, DEVICES, device, confirm), account=account)
    tell(removed, password=None, as_json=as_json)


def _cells(account: Document, row: Answer) -> list[str]:
    enabled = "yes" if row.get("enabled", True) else "no"
    words = row.get("name", ""), row.get("username", ""), enabled, account.data.get("realm", ""), row["id"]
    return [str(word) for word in words]


def _facts(document: Fields) -> dict[str, Any]:
    return {**document, "username": document.get("sip", {}).get("username")}
