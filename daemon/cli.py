"""The command `roost`: its group, and the commands that run the daemon."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from api.ports import PortError
from config.loader import known_keys, load
from config.values import to_toml
from daemon.cli_accounts import account, init
from daemon.cli_calls import calls
from daemon.cli_completion import completion
from daemon.cli_config import config_option, examples, load_settings
from daemon.cli_data import backup, restore
from daemon.cli_devices import device
from daemon.cli_doctor import doctor
from daemon.cli_import import export, import_file
from daemon.cli_install import install, uninstall
from daemon.cli_logs import logs
from daemon.cli_quickcall import quickcall
from daemon.cli_status import status
from daemon.cli_sync import sync
from daemon.cli_tls import tls
from daemon.cli_tokens import token
from daemon.cli_trace import trace
from daemon.cli_users import user
from daemon.garbage import hold
from daemon.lifecycle import Notifier, serve
from daemon.log import MASK, configure_logging
from daemon.release import release
from daemon.store import InUse, MigrationRefused

try:
    from uvloop import run as run_loop
except ImportError:  # no wheel for this platform: asyncio's own loop does the same, slower
    from asyncio import run as run_loop  # type: ignore[assignment]  # what we use of both is the same

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from config.settings import Settings


STATUSES = """\b
Exit status:
    0  success; also Ctrl-C in what goes on until then (status --watch, logs)
    1  a failure, which was told; also Ctrl-C elsewhere
    2  a wrong command line or configuration
    3  the daemon does not answer
  143  ended by SIGTERM or SIGHUP

Most commands talk to the daemon that runs on this host. They make themselves a token in its database, as root or the
database's owner may, and end it when they are done."""


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=STATUSES,
)
@click.version_option(release(), prog_name="roost")
def main() -> None:
    """Roost: a SIP registrar with a control API, compatible with Kazoo's devices API."""


main.add_command(init)
main.add_command(account)
main.add_command(device)
main.add_command(user)
main.add_command(token)
main.add_command(tls)
main.add_command(status)
main.add_command(sync)
main.add_command(quickcall)
main.add_command(calls)
main.add_command(logs)
main.add_command(completion)
main.add_command(doctor)
main.add_command(install)
main.add_command(uninstall)
main.add_command(backup)
main.add_command(restore)
main.add_command(import_file)
main.add_command(export)
main.add_command(trace)


@main.command(epilog=examples("roost run", "roost run --config /etc/roost/roost.toml"))
@config_option
def run(config: Path | None) -> None:
    """Run the daemon until SIGTERM or Ctrl-C.

    Without a configuration it serves SIP on port 5060 and the API on 127.0.0.1:8000, and keeps its database below the
    working directory. On an empty database it makes the master account and prints how to reach it.
    """
    loaded = load_settings(config)
    configure_logging(loaded.settings.log)
    try:
        run_loop(_serve(loaded.settings, lambda: load(config, os.environ).settings))
    except (OSError, PortError, MigrationRefused, InUse) as error:
        raise click.ClickException(f"cannot start: {error}") from error


@main.command(
    "check-config",
    epilog=examples("roost check-config", "roost check-config --config new.toml && systemctl reload roost"),
)
@config_option
def check_config(config: Path | None) -> None:
    """Say what is wrong with the configuration, or what will be used."""
    loaded = load_settings(config)
    click.echo(f"file: {loaded.file or 'none, so the defaults'}")
    click.echo(f"from the environment: {', '.join(loaded.overrides) or 'nothing'}")
    for key in known_keys():
        value = getattr(getattr(loaded.settings, key.section), key.name)
        click.echo(f"{key.path} = {MASK if key.rule.secret and value else to_toml(value)}")


@main.command()
def demo() -> None:
    """Show the product in a minute: two phones, status, a sync and a call, all on loopback."""
    # Imported here, as the daemon below, so that the other commands start at once.
    from daemon.demo import run_demo

    raise SystemExit(0 if run_demo() else 1)


async def _serve(settings: Settings, reread: Callable[[], Settings]) -> None:
    # Imported here, so that the other commands start without the SIP stack and the HTTP server.
    hold()
    from daemon.app import Roost

    await serve(Roost(settings, reread), Notifier.from_environ(os.environ))
