"""`roost tls self-signed`: a certificate for trials, where there is none yet."""

from __future__ import annotations

import json
import os
import re
import socket
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from daemon.cli_config import act_as_owner, config_option, examples, json_option, load_settings

if TYPE_CHECKING:
    from collections.abc import Iterable

CERTIFICATE: Final = "certificate.pem"
KEY: Final = "key.pem"
KEY_MODE: Final = 0o600
CERTIFICATE_MODE: Final = 0o644

_HOST = re.compile(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]{0,250}[A-Za-z0-9])?", re.ASCII)


def _check_names(_context: click.Context, _parameter: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if _HOST.fullmatch(name) is None and not _is_address(name):
            raise click.BadParameter(f"{name!r} is neither a host name nor an address")
    return names


@click.group()
def tls() -> None:
    """Certificates."""


@tls.command("self-signed", epilog=examples("roost tls self-signed --name sip.example.com"))
@click.option(
    "--name",
    "names",
    multiple=True,
    callback=_check_names,
    metavar="HOST",
    help="Host name or address that phones reach this host by, besides its own; may be given several times.",
)
@click.option("--days", default=365, show_default=True, type=click.IntRange(1, 3650), help="How long it is valid.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where both files go; otherwise the folder `tls` beside the database.",
)
@click.option("--force", is_flag=True, help="Replace files that are there.")
@config_option
@json_option
def self_signed(
    names: tuple[str, ...], days: int, directory: Path | None, config: Path | None, *, force: bool, as_json: bool
) -> None:
    """Make a certificate and key for trials, which no phone trusts of itself."""
    # Imported here, so that the other commands start without them.
    from daemon.selfsigned import make_pair

    folder = (directory or Path(load_settings(config).settings.store.path).parent / "tls").absolute()
    files = {"certificate": folder / CERTIFICATE, "key": folder / KEY}
    for file in files.values():
        if file.exists() and not force:
            raise click.ClickException(f"{file} is there already; --force replaces it")
    valid_for = list(dict.fromkeys((*names, *_own_names())))
    pair = make_pair(valid_for, days=days)
    act_as_owner(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(files["key"], pair.key, KEY_MODE)
        _write(files["certificate"], pair.certificate, CERTIFICATE_MODE)
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from error
    if as_json:
        click.echo(json.dumps({name: str(file) for name, file in files.items()} | {"names": valid_for}))
        return
    click.echo(f"# for {', '.join(valid_for)}, {days} days\n[tls]")
    for name, file in files.items():
        click.echo(f"{name} = {json.dumps(str(file))}")


def _write(file: Path, content: bytes, mode: int) -> None:
    """Put the content in place at once, readable to whom it may concern from its first byte on."""
    fresh = file.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
    fresh.replace(file)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _own_names() -> Iterable[str]:
    from sip.io.host import local_host_towards

    yield socket.gethostname()
    yield "localhost"
    # Documentation addresses (RFC 5737, 3849): no packet goes there, the host only tells what it would send from.
    for towards in ("192.0.2.1", "2001:db8::1"):
        yield local_host_towards(towards)
    yield "127.0.0.1"
    yield "::1"
