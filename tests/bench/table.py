"""Medians of alternating rounds, and the tables they are shown in."""

from __future__ import annotations

import sys
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class Samples:
    """What was measured, by row and by column."""

    def __init__(self) -> None:
        self._values: dict[str, dict[str, list[float]]] = {}

    def add(self, row: str, column: str, value: float) -> None:
        """Note one round's value."""
        self._values.setdefault(row, {}).setdefault(column, []).append(value)

    def median(self, row: str, column: str) -> float:
        """Return the median of the rounds."""
        return median(self._values[row][column])

    def ratio(self, row: str, other: str, column: str) -> float:
        """Return the median of the rounds' ratios of one row to another, measured in turns."""
        pairs = zip(self._values[row][column], self._values[other][column], strict=True)
        return median(mine / theirs for mine, theirs in pairs)

    def latest(self, row: str, column: str) -> float:
        """Return the value of the latest round."""
        return self._values[row][column][-1]

    def range(self, row: str, column: str) -> str:
        """Return the lowest and the highest of the rounds."""
        values = self._values[row][column]
        return f"{min(values):.2f}-{max(values):.2f}"

    def spread(self, row: str, column: str) -> float:
        """Return how far the rounds lie apart, as a part of their median."""
        values = self._values[row][column]
        return (max(values) - min(values)) / (median(values) or 1)

    @property
    def rows(self) -> list[str]:
        """The rows, in the order in which they were first measured."""
        return list(self._values)


def show(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table in Markdown."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = [f"\n### {title}\n", _line(header, widths), "|" + "|".join("-" * (width + 2) for width in widths) + "|"]
    say("\n".join([*lines, *(_line(row, widths) for row in rows)]))


def say(text: str) -> None:
    """Print at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"
