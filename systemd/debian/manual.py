"""roost(1), written from the help of the commands."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

import click

from daemon.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator


def manual() -> str:
    """Return the page in man(7)'s form."""
    lines = [
        f'.TH ROOST 1 "" "Roost {version("roost")}" "User Commands"',
        ".SH NAME",
        "roost \\- SIP registrar with a control API",
        ".SH SYNOPSIS",
        ".B roost",
        "COMMAND [OPTION]...",
        ".SH DESCRIPTION",
        _text(main.help or ""),
        ".SH COMMANDS",
        *_commands(main, click.Context(main, info_name="roost")),
        ".SH EXIT STATUS",
        "0 is success, 1 a failure that was told, 2 a wrong command line or configuration.",
        ".SH FILES",
        ".TP\n.I /etc/roost/roost.toml\nThe configuration; `roost check\\-config` reads it.",
        ".TP\n.I /var/lib/roost/roost.db\nThe database.",
        ".SH SEE ALSO",
        "/usr/share/doc/roost/README.md",
    ]
    return "\n".join(lines) + "\n"


def _commands(group: click.Group, context: click.Context) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        own = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from _commands(command, own)
            continue
        usage = " ".join(command.collect_usage_pieces(own))
        yield f".SS {_text(f'{own.command_path} {usage}')}"
        yield _text(command.help or "")
        for parameter in command.get_params(own):
            record = parameter.get_help_record(own)
            if record is not None and "--help" not in record[0]:
                yield f".TP\n.B {_text(record[0])}\n{_text(record[1]) or '.'}"


def _text(text: str) -> str:
    """Escape what roff would take for its own; paragraphs stay paragraphs."""
    paragraphs = (" ".join(part.replace("\b", "").split()) for part in text.strip().split("\n\n"))
    escaped = "\n.PP\n".join(part.replace("\\", "\\e").replace("-", "\\-") for part in paragraphs)
    return "\n".join(
        f"\\&{line}" if line.startswith(("'", ".")) and line != ".PP" else line for line in escaped.split("\n")
    )
