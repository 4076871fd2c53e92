"""What commands print for people: tables that fit the terminal, facts line by line, and colours where they are wanted.

Rule: what came from a phone is shown without its control characters, so that it can do nothing to a terminal.
"""

from __future__ import annotations

import os
import shutil
import sys
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

GAP: Final = "  "
CUT: Final = "~"
"""The last character of what did not fit."""
WIDE: Final = frozenset("WF")
"""East Asian characters that take two columns."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    title: str
    least: int = 4
    """Columns of the terminal that it keeps where there is little room."""
    right: bool = False


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], *, width: int | None = None) -> list[str]:
    """Return a table's lines, the titles first; with `width` they are cut to it, the widest columns first."""
    shown = [[printable(cell) for cell in row] for row in rows]
    widths = [max([len(column.title), *(_width(row[index]) for row in shown)]) for index, column in enumerate(columns)]
    if width is not None:
        _shrink(widths, columns, width - len(GAP) * (len(columns) - 1))
    titles = [column.title for column in columns]
    return [
        GAP.join(
            _fitted(cell, wide, right=column.right) for cell, wide, column in zip(row, widths, columns, strict=True)
        ).rstrip()
        for row in [titles, *shown]
    ]


def terminal_width() -> int | None:
    """Return the columns of the terminal, or None where the output is no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def is_coloured() -> bool:
    """Return whether colours are wanted (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def heading(text: str) -> str:
    """Return a line as the head of a table."""
    return click.style(text, bold=True) if is_coloured() else text


def tinted(text: str, colour: str | None) -> str:
    """Return the line in a colour, where colours are wanted."""
    return click.style(text, fg=colour) if colour and is_coloured() else text


def echo_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print a table, as wide as the terminal at most."""
    head, *lines = table(columns, rows, width=terminal_width())
    click.echo("\n".join((heading(head), *lines)))


def echo_facts(facts: Mapping[str, object]) -> None:
    """Print a document's facts, a line each: `sip.username: 1001`."""
    for key, value in _flat(facts):
        click.echo(f"{key}: {printable(value)}")


def printable(text: str) -> str:
    """Return the text with a `?` for every character that is no letter, sign or space."""
    return "".join(character if character.isprintable() else "?" for character in text)


def ago(seconds: float) -> str:
    """Return a span of time in two of its units at most: `3d04h`, `2h05m`, `12m30s`, `7s`."""
    whole = max(0, int(seconds))
    days, hours, minutes = whole // 86_400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days}d{hours:02}h"
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{whole % 60:02}s" if minutes else f"{whole}s"


def _flat(value: object, prefix: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list) and value:
        yield prefix, ", ".join(text for each in value for _, text in _flat(each))
    elif isinstance(value, bool):
        yield prefix, str(value).lower()
    elif value not in ({}, [], None):
        yield prefix, str(value)


def _shrink(widths: list[int], columns: Sequence[Column], room: int) -> None:
    while sum(widths) > room:
        index = max(range(len(widths)), key=lambda each: widths[each] - columns[each].least)
        if widths[index] <= columns[index].least:
            return
        widths[index] -= 1


def _fitted(cell: str, width: int, *, right: bool) -> str:
    if _width(cell) > width:
        while _width(cell) > width - len(CUT):
            cell = cell[:-1]
        cell += CUT
    pad = " " * (width - _width(cell))
    return pad + cell if right else cell + pad


def _width(text: str) -> int:
    return len(text) if text.isascii() else sum(_columns_of(character) for character in text)


def _columns_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in WIDE else 1
