"""`roost backup` and `roost restore`: the database as one file, taken out while the daemon runs and put back while not.

They work on the files themselves and need no daemon.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from config.settings import LogSettings
from daemon.cli_config import act_as_owner, config_option, examples, json_option, load_settings
from daemon.log import configure_logging
from daemon.store import InUse, MigrationRefused
from daemon.store.backup import BackupFailed, back_up
from daemon.store.restore import restore as put_back

if TYPE_CHECKING:
    from daemon.store.backup import Contents

STAMP = "%Y%m%dT%H%M%SZ"

_HOW_TO_STOP = "stop the daemon first (systemctl stop roost), and start it afterwards"


@click.command(epilog=examples("roost backup /var/backups/roost-$(date +%F).db", "roost backup latest.db --force"))
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@config_option
@json_option
def backup(file: Path, config: Path | None, *, force: bool, as_json: bool) -> None:
    """Copy the database to FILE, while the daemon runs or not.

    The copy holds all that was answered before it began, is verified, and is readable by you alone: it holds the
    phones' passwords.
    """
    database = _database(config)
    if not database.exists():
        raise click.ClickException(f"there is no database at {database}")
    try:
        contents = back_up(database, file, replace=force)
    except FileExistsError:
        raise click.ClickException(f"{file} is there already: say --force to write over it") from None
    except BackupFailed as error:
        raise click.ClickException(str(error)) from None
    _tell(file, contents, {}, as_json=as_json)


@click.command(epilog=examples("roost restore /var/backups/roost-2026-11-23.db"))
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path, exists=True, dir_okay=False, readable=True))
@config_option
@json_option
def restore(source: Path, config: Path | None, *, as_json: bool) -> None:
    """Put the backup FILE in the place of the database, which is kept beside it.

    The daemon must not run. A backup of an older Roost is brought up to date; one of a newer Roost is refused.
    """
    database = _database(config)
    log = Path(f"{source}-wal")
    if log.exists() and log.stat().st_size:
        raise click.ClickException(f"{source} is a database in use, not a backup of one: {log} is a part of it")
    opened = source.open("rb")  # as whoever asks; the rest is done as the daemon's user
    act_as_owner(database)
    try:
        with opened:
            contents, aside = put_back(opened, database, time.strftime(STAMP, time.gmtime()))
    except InUse as error:
        raise click.ClickException(f"{error}: {_HOW_TO_STOP}") from None
    except (BackupFailed, MigrationRefused) as error:
        raise click.ClickException(str(error)) from None
    _tell(database, contents, {"replaced": str(aside)} if aside else {}, as_json=as_json)


def _database(config: Path | None) -> Path:
    settings = load_settings(config).settings
    configure_logging(LogSettings(level="warning", format=settings.log.format))
    return Path(settings.store.path)


def _tell(file: Path, contents: Contents, more: dict[str, str], *, as_json: bool) -> None:
    counts = {name: getattr(contents, name) for name in ("version", "accounts", "users", "devices", "bindings")}
    if as_json:
        click.echo(json.dumps({"file": str(file), "bytes": file.stat().st_size, **counts, **more}))
        return
    listed = ", ".join(f"{count} {name}" for name, count in counts.items() if name != "version")
    click.echo(f"{file}: {listed}; version {contents.version}, {file.stat().st_size} bytes, verified")
    if aside := more.get("replaced"):
        click.echo(f"the database that was there is now {aside}")
