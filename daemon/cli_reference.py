"""Writes `docs/cli.md` from the commands' own help.

`python -m daemon.cli_reference` rewrites it in a working copy; a test fails while it differs.
"""

from __future__ import annotations

import inspect
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from daemon.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE: Final = Path(__file__).parent.parent / "docs" / "cli.md"
COMMON: Final = ("account", "config", "as_json")
"""Parameters that mostly mean the same, and are told once."""
EXAMPLES: Final = "Examples:"

HEADER = """\
# The command `roost`

Written by `python -m daemon.cli_reference` from the commands' own help, which `roost COMMAND --help` shows.

| where it is offered | meaning |
| --- | --- |
"""


def render() -> str:
    """Return the text of `docs/cli.md`."""
    texts = [HEADER, *_rows(_common()), "\n", *_paragraphs(main.epilog or "")]
    for path, command in commands():
        texts += _section(path, command)
    return "".join(texts).rstrip("\n") + "\n"


def commands() -> Iterator[tuple[str, click.Command]]:
    """Return every command with the words that call it, each group before what is in it."""
    yield from _within("roost", main)


def write() -> None:
    """Bring the page up to date."""
    PAGE.write_text(render(), encoding="utf-8")


def examples_of(command: click.Command) -> list[str]:
    """Return the command lines at the end of a command's help."""
    _, found, lines = (command.epilog or "").partition(EXAMPLES)
    return [line.strip() for line in lines.splitlines() if line.strip()] if found else []


def _within(path: str, group: click.Group) -> Iterator[tuple[str, click.Command]]:
    for name in sorted(group.commands):
        command = group.commands[name]
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from _within(f"{path} {name}", command)


def _section(path: str, command: click.Command) -> Iterator[str]:
    yield f"## {path}\n\n"
    yield from _paragraphs(command.help or "")
    if isinstance(command, click.Group) and not command.invoke_without_command:
        return
    words = [path, *(["[OPTIONS]"] if _options(command) else []), *map(_argument, _arguments(command))]
    yield f"```text\n{' '.join(words)}\n```\n\n"
    common = {option.help for option in _common()}
    own = [option for option in _options(command) if option.help not in common]
    if own:
        yield "| option | meaning |\n| --- | --- |\n"
        yield from _rows(own)
        yield "\n"
    shared = [f"`{option.opts[0]}`" for option in _options(command) if option.help in common]
    if shared:
        yield f"Also {', '.join(shared)}.\n\n"
    if examples_of(command):
        yield "```sh\n" + "\n".join(examples_of(command)) + "\n```\n\n"


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith("\b\n"):
            yield "```text\n" + paragraph.removeprefix("\b\n") + "\n```\n\n"
        elif paragraph.strip():
            yield f"{paragraph.strip()}\n\n"


def _rows(options: list[click.Option]) -> Iterator[str]:
    for option in options:
        names = ", ".join(option.opts) + "".join(f", {name}" for name in option.secondary_opts)
        value = _value(option)
        meaning = f"{option.help or ''}{_limits(option)}".replace("|", "\\|")
        shown = f"{names} {value}".strip().replace("|", "\\|")
        yield f"| `{shown}` | {meaning} |\n"


def _value(option: click.Option) -> str:
    if option.is_flag:
        return ""
    if option.metavar:
        return option.metavar
    if isinstance(option.type, click.Choice):
        return "|".join(map(str, option.type.choices))
    return option.type.name.upper().partition(" ")[0]


def _limits(option: click.Option) -> str:
    kind = option.type
    facts = ["needed"] if option.required else []
    if isinstance(kind, (click.IntRange, click.FloatRange)):
        facts.append(f"{kind.min:g} to {kind.max:g}" if kind.max is not None else f"at least {kind.min:g}")
    if option.show_default and not option.is_flag:
        facts.append(f"default {option.default}")
    return f" ({', '.join(facts)})" if facts else ""


def _common() -> list[click.Option]:
    """Return the options that mean the same wherever they are."""
    offered = [option for _, command in commands() for option in _options(command) if option.name in COMMON]
    often = Counter((option.name, option.help) for option in offered)
    usual = [max((each for each in often if each[0] == name), key=lambda each: often[each]) for name in COMMON]
    return [next(option for option in offered if (option.name, option.help) == each) for each in usual]


def _options(command: click.Command) -> list[click.Option]:
    return [each for each in command.params if isinstance(each, click.Option)]


def _arguments(command: click.Command) -> list[click.Argument]:
    return [each for each in command.params if isinstance(each, click.Argument)]


def _argument(argument: click.Argument) -> str:
    name = argument.metavar or (argument.name or "").upper()
    return name if argument.required or name.startswith("[") else f"[{name}]"


if __name__ == "__main__":
    write()
