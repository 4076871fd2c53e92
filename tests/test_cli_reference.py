"""The commands' help, and the pages that are made of it."""

from __future__ import annotations

import re
import shlex

import click
import pytest

from daemon.cli import main
from daemon.cli_reference import PAGE, commands, examples_of, render

README = PAGE.parent.parent / "README.md"
COMMANDS = dict(commands())
EXAMPLES = [(path, example) for path, command in COMMANDS.items() for example in examples_of(command)]


def test_page_is_what_the_commands_say() -> None:
    """`python -m daemon.cli_reference` brings it up to date."""
    assert render() == PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted(COMMANDS))
def test_every_command_and_option_is_explained(path: str) -> None:
    command = COMMANDS[path]
    options = [each for each in command.params if isinstance(each, click.Option)]

    assert command.help
    assert [option.name for option in options if not option.help] == []


@pytest.mark.parametrize("name", sorted(main.commands))
def test_readme_has_every_command(name: str) -> None:
    section = README.read_text(encoding="utf-8").partition("## The command")[2].partition("## Configuration")[0]

    assert re.search(rf"`roost {name}\b", section)


@pytest.mark.parametrize(("path", "example"), EXAMPLES)
def test_examples_are_of_the_command_and_its_options(path: str, example: str) -> None:
    """Whoever copies one gets no error of the command line."""
    words = next(part for part in _parts(example) if part[:1] == ["roost"])
    command: click.Command = main
    rest = words[1:]
    while isinstance(command, click.Group) and rest and rest[0] in command.commands:
        command = command.commands[rest.pop(0)]
    known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}

    assert command is COMMANDS[path] or isinstance(COMMANDS[path], click.Group)
    assert {word.partition("=")[0] for word in rest if re.match(r"--?\w", word)} <= known


def _parts(line: str) -> list[list[str]]:
    """Return the words of each command of a pipeline, without redirections."""
    parts: list[list[str]] = [[]]
    for word in shlex.split(line):
        if word in ("|", "&&"):
            parts.append([])
        elif word not in "<>":
            parts[-1].append(word)
    return parts


@pytest.mark.parametrize("path", sorted(COMMANDS))
def test_help_fits_80_columns(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for examples and addresses, which are not to be broken."""
    monkeypatch.setenv("COLUMNS", "80")
    command = COMMANDS[path]
    text = command.get_help(click.Context(command, info_name=path, terminal_width=80))
    prose = text.partition("Examples:")[0]

    assert [line for line in prose.splitlines() if len(line) > 80] == []
