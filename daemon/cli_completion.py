"""`roost completion`: what a shell needs to complete the commands and options with Tab."""

from __future__ import annotations

from typing import Final

import click
from click.shell_completion import get_completion_class

from daemon.cli_config import examples

SHELLS: Final = ("bash", "zsh", "fish")
VARIABLE: Final = "_ROOST_COMPLETE"
"""By which click is asked; made from the command's name."""


@click.command(
    epilog=examples(
        "roost completion bash > /etc/bash_completion.d/roost",
        'roost completion zsh > "${fpath[1]}/_roost"',
        "roost completion fish > ~/.config/fish/completions/roost.fish",
    )
)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script for a shell."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.ClickException(f"click knows no completion for {shell}")
    source = kind(context.find_root().command, {}, "roost", VARIABLE)
    click.echo(source.source_template % source.source_vars())
