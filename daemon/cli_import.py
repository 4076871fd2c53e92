"""`roost import` and `roost export`: devices and users from files, and into them.

With the daemon up an import goes through its API, so that phones can register at once; without, it opens the database.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from daemon.cli_config import account_option, config_option, examples, json_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.import_rules import ImportReport
    from daemon.importing import FileFault

HINT = "--update changes those that are there already"


@click.command(
    "import",
    epilog=examples(
        "roost import phones.csv --dry-run", "roost import devices.json --account sip.example.com --update"
    ),
)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False, readable=True))
@click.option("--dry-run", is_flag=True, help="Tell every fault, and write nothing.")
@click.option("--update", is_flag=True, help="Change what is there with the same id or SIP username.")
@click.option("--skip-faulty", is_flag=True, help="Write those without a fault.")
@click.option("--format", "form", type=click.Choice(["csv", "json"]), help="Otherwise what FILE looks like.")
@account_option
@config_option
@json_option
def import_file(
    file: Path,
    account: str | None,
    form: str | None,
    config: Path | None,
    *,
    dry_run: bool,
    update: bool,
    skip_faulty: bool,
    as_json: bool,
) -> None:
    """Create devices, and users, from a CSV file or from Kazoo's JSON.

    Everything is written or nothing: a single fault leaves all as it was, and every fault is listed with its line. The
    exit status is 1 where there are faults.
    """
    # Imported here, so that the other commands start without the schemas.
    from api.import_rules import ImportOptions
    from daemon.transfer import read_file, take_in, told

    found = read_file(file, form)
    for note in found.notes:
        click.echo(note, err=True)
    options = ImportOptions(
        update=update, dry_run=dry_run or (bool(found.faults) and not skip_faulty), skip_faulty=skip_faulty
    )
    report = take_in(found.rows, options, account, config)
    faults = [*found.faults, *told(report.faults, found.rows)]
    _show(report, faults, faulty=report.faulty + _places(found.faults), as_json=as_json)
    raise SystemExit(1 if faults else 0)


@click.command(
    "export", epilog=examples("roost export > devices.csv", "roost export --format json --with-passwords > all.json")
)
@click.option(
    "--format", "form", type=click.Choice(["csv", "json"]), default="csv", show_default=True, help="What to print."
)
@click.option("--with-passwords", is_flag=True, help="Put the SIP passwords, and the hashes of logins, into it.")
@account_option
@config_option
def export(form: str, account: str | None, config: Path | None, *, with_passwords: bool) -> None:
    """Print the devices as CSV, or devices and users as JSON, in the form that `roost import` reads."""
    from daemon.transfer import write_out

    click.echo(write_out(form, account, config, secrets=with_passwords), nl=False)


def _places(faults: Sequence[FileFault]) -> int:
    return len({fault.place for fault in faults})


def _show(report: ImportReport, faults: Sequence[FileFault], *, faulty: int, as_json: bool) -> None:
    if as_json:
        listed = [{"place": each.place, "field": each.field, "message": each.message} for each in faults]
        counts = {name: getattr(report, name) for name in ("written", "created", "updated", "unchanged")}
        click.echo(json.dumps({**counts, "faulty": faulty, "faults": listed}))
        return
    for fault in faults:
        click.echo(": ".join(part for part in (fault.place, fault.field, fault.message) if part))
    verb = "" if report.written else "nothing written; would be "
    click.echo(
        f"{verb}{report.created} created, {report.updated} updated, {report.unchanged} unchanged, {faulty} faulty"
    )
    if any("already" in fault.message for fault in faults):
        click.echo(HINT)
