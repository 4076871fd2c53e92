"""What the commands share: `--config`, and the settings or every reason why there are none."""

from __future__ import annotations

import os
from pathlib import Path

import click

from config.loader import ConfigError, Loaded, load

CONFIG_FAULT = 2
"""Exit status of a configuration that cannot be used."""

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Configuration file; otherwise $ROOST_CONFIG, else /etc/roost/roost.toml, else the defaults.",
)
account_option = click.option(
    "--account", metavar="ACCOUNT", help="Account that is meant: its id, realm or name; otherwise all accounts."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def examples(*commands: str) -> str:
    """Return the end of a command's help."""
    return "\b\n" + "\n".join(("Examples:", *(f"  {command}" for command in commands)))


def load_settings(config: Path | None) -> Loaded:
    """Return the settings, or print every fault and end with status 2."""
    try:
        loaded = load(config, os.environ)
        if loaded.settings.vendors.file:
            # Imported here, so that those without such a file do not pay for it.
            from daemon.vendorfile import load_vendors

            load_vendors(loaded.settings.vendors.file)
    except ConfigError as error:
        for fault in error.faults:
            click.echo(str(fault), err=True)
        raise SystemExit(CONFIG_FAULT) from None
    return loaded


def act_as_owner(path: Path) -> None:
    """Give up root for the owner of the file, or of the folder it will be in, so that the daemon can open it.

    Where that owner cannot even read this installation, the daemon does not run as them, and root is kept.
    """
    if os.geteuid() != 0:
        return
    owner = next(each for each in (path.absolute(), *path.absolute().parents) if each.exists()).stat()
    if owner.st_uid != 0 and _may_read_us(owner.st_uid, owner.st_gid):
        os.setgroups([])
        os.setgid(owner.st_gid)
        os.setuid(owner.st_uid)


def _may_read_us(user: int, group: int) -> bool:
    groups = os.getgroups()
    try:
        os.setgroups([])
        os.setegid(group)
        os.seteuid(user)
        return all(os.access(file, os.R_OK, effective_ids=True) for file in (os.__file__, __file__))
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
