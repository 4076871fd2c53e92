"""`roost install` and `roost uninstall`: the service on this host, and off it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

root_option = click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False, exists=True, resolve_path=True),
    default="/",
    metavar="DIR",
    help="Folder that is another host's /, such as an image that is being made.",
)

NEXT = """
Next:
  edit /etc/roost/roost.toml, then  roost check-config
  roost init --name NAME --realm REALM     makes the first account and prints its API key
  systemctl start roost, and  roost doctor says whether phones can reach it"""


@click.command()
@click.option("--systemd", is_flag=True, required=True, help="As a service of systemd, which is the one that is known.")
@click.option(
    "--prefix",
    type=click.Path(path_type=Path),
    default="/opt/roost",
    show_default=True,
    help="Where the environment is made.",
)
@click.option(
    "--python",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Its Python; otherwise Debian's, /usr/bin/python3.",
)
@click.option(
    "--compiled",
    is_flag=True,
    help="With a REGISTER's way compiled, which takes gcc and Python's headers (python3-dev).",
)
@root_option
def install(
    prefix: Path,
    python: Path | None,
    root: Path,
    *,
    compiled: bool,
    systemd: bool,  # noqa: ARG001 - the one there is
) -> None:
    """Install Roost as a service: environment, command, user, configuration, unit.

    Run from a working copy it makes the environment from the locked dependencies; doing it again upgrades. A
    configuration and data that are there stay as they are.
    """
    # Imported here, so that the other commands start without it.
    from daemon.deployment import install as steps
    from daemon.deployment.layout import Layout

    _tell(steps.install(Layout(root=root, prefix=prefix), python, compiled=compiled))
    click.echo(NEXT)


@click.command()
@root_option
def uninstall(root: Path) -> None:
    """Take the service away and leave configuration and data."""
    from daemon.deployment import install as steps
    from daemon.deployment.layout import Layout

    _tell(steps.uninstall(Layout(root=root)))


def _tell(steps: Iterator[str]) -> None:
    from daemon.deployment.layout import InstallRefused

    try:
        for line in steps:
            click.echo(line)
    except (InstallRefused, OSError) as error:
        raise click.ClickException(str(error)) from error
