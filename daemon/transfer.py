"""Devices and users from files into the database, and out of it: what `roost import` and `roost export` do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from api.import_rules import ImportOptions, ImportReport, ImportRow, import_documents
from api.ports import Kind, PageQuery
from daemon.cli_client import Refused, find_account, with_daemon
from daemon.cli_config import act_as_owner, load_settings
from daemon.cli_store import in_store
from daemon.csv_devices import read_csv, write_csv
from daemon.importing import MAX_FILE, FileFault, Found, Unreadable
from daemon.json_documents import read_json, write_json
from daemon.store import InUse
from daemon.store.occupancy import alone

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from api.errors import Faults
    from api.ports import Document, Json, JsonObject
    from daemon.cli_client import Client
    from daemon.store import Store

API_LIMIT = 7_900_000
"""Bytes of an import that goes through the API in one piece, which takes 8,000,000."""
SECRETS = frozenset({"password", "credentials", "secret"})
"""Keys that an export leaves out, wherever they stand."""
COLLECTIONS = {Kind.USER: "users", Kind.DEVICE: "devices"}


def read_file(file: Path, form: str | None) -> Found:
    """Return the rows of a file, CSV or JSON. Raises ClickException where it cannot be read at all."""
    if file.stat().st_size > MAX_FILE:
        raise click.ClickException(f"{file} is larger than {MAX_FILE} bytes")
    content = file.read_bytes()
    if form is None:
        form = "json" if content.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[") else "csv"
    try:
        return read_json(content) if form == "json" else read_csv(content)
    except Unreadable as error:
        raise click.ClickException(f"{file}: {error}") from None


def take_in(
    rows: Sequence[ImportRow], options: ImportOptions, account: str | None, config: Path | None
) -> ImportReport:
    """Import the rows into the account that is meant, by the daemon where one runs. Raises ClickException."""
    path = Path(load_settings(config).settings.store.path)
    if not path.exists():
        raise click.ClickException(f"there is no database at {path}: `roost init` makes one")
    act_as_owner(path)
    try:
        with alone(path):
            return in_store(config, lambda store: _by_store(store, rows, options, account))
    except InUse:
        return with_daemon(config, lambda client: _by_api(client, rows, options), account=account)


async def _by_store(
    store: Store, rows: Sequence[ImportRow], options: ImportOptions, account: str | None
) -> ImportReport:
    chosen = _one(await store.list_accounts(), account)
    return await import_documents(store.documents, chosen, _numbered(rows), options, superduper=True)


async def _by_api(client: Client, rows: Sequence[ImportRow], options: ImportOptions) -> ImportReport:
    account = _one(client.accounts, None)
    body: dict[str, object] = {
        plural: [row.data for row in rows if row.kind is kind] for kind, plural in COLLECTIONS.items()
    }
    body.update(update=options.update, dry_run=options.dry_run, skip_faulty=options.skip_faulty)
    if len(json.dumps(body)) > API_LIMIT:
        raise click.ClickException(
            f"that is more than the {API_LIMIT} bytes that the daemon takes in one piece: stop it, or split the file"
        )
    path = f"/accounts/{account.id}/import"
    try:
        answer = await client.ask("POST", path, body)
    except Refused as refused:
        if refused.status != 400:
            raise
        # The refusal is one sentence; the report of a dry run has every fault by itself.
        answer = await client.ask("POST", path, {**body, "dry_run": True})
    return ImportReport(**answer["data"])


def _numbered(rows: Sequence[ImportRow]) -> list[ImportRow]:
    """Return the rows with the places that the API would give them."""
    counts = dict.fromkeys(Kind, 0)
    numbered: list[ImportRow] = []
    for row in rows:
        numbered.append(replace(row, place=f"{COLLECTIONS[row.kind]}.{counts[row.kind]}"))
        counts[row.kind] += 1
    return numbered


def told(faults: Faults, rows: Sequence[ImportRow]) -> Iterable[FileFault]:
    """Return the faults with the places that the file has."""
    places = {numbered.place: row.place for numbered, row in zip(_numbered(rows), rows, strict=True)}
    order = {row.place: index for index, row in enumerate(rows)}
    told = []
    for key, rules in faults.items():
        plural, index, field = key.split(".", 2)
        place = places[f"{plural}.{index}"]
        told += [FileFault(place, field, str(rule.get("message", name))) for name, rule in rules.items()]
    return sorted(told, key=lambda fault: order[fault.place])


def write_out(form: str, account: str | None, config: Path | None, *, secrets: bool) -> str:
    """Return the devices of the account that is meant as CSV, or devices and users as JSON. Raises ClickException."""

    async def work(store: Store) -> dict[Kind, list[JsonObject]]:
        chosen = _one(await store.list_accounts(), account)
        return {
            kind: [_public(each, secrets=secrets) for each in await store.documents.page(PageQuery(kind, chosen.id))]
            for kind in COLLECTIONS
        }

    found = in_store(config, work)
    return write_csv(found[Kind.DEVICE]) if form == "csv" else write_json(found[Kind.DEVICE], found[Kind.USER])


def _one(accounts: Sequence[Document], text: str | None) -> Document:
    """Return the account that is meant. Raises ClickException where there are several and none was named."""
    if text is not None:
        return find_account(accounts, text)
    if len(accounts) != 1:
        names = ", ".join(str(each.data.get("realm")) for each in accounts)
        raise click.ClickException(f"there are {len(accounts)} accounts, say which by --account: {names}")
    return accounts[0]


def _public(document: Document, *, secrets: bool) -> JsonObject:
    data: JsonObject = {"id": document.id, **document.data}
    if secrets:
        hashed = document.private.get("pvt_md5_auth")
        return {**data, "credentials": hashed} if document.kind is Kind.USER and hashed else data
    shown = _without_secrets(data)
    assert isinstance(shown, dict)
    return shown


def _without_secrets(value: Json) -> Json:
    if isinstance(value, dict):
        return {key: _without_secrets(item) for key, item in value.items() if key not in SECRETS}
    return [_without_secrets(item) for item in value] if isinstance(value, list) else value
