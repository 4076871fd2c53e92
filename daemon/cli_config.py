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
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def load_settings(config: Path | None) -> Loaded:
    """Return the settings, or print every fault and end with status 2."""
    try:
        return load(config, os.environ)
    except ConfigError as error:
        for fault in error.faults:
            click.echo(str(fault), err=True)
        raise SystemExit(CONFIG_FAULT) from None
