"""What commands print for people."""

from __future__ import annotations

import pytest

from daemon.cli_table import Column, ago, echo_facts, printable, table

COLUMNS = (Column("NAME", 4), Column("N", 1, right=True), Column("PHONE", 5))


def test_table_is_as_wide_as_its_cells() -> None:
    assert ["NAME   N  PHONE", "Desk  10  Snom"] == table(COLUMNS, [["Desk", "10", "Snom"]])


@pytest.mark.parametrize("width", range(14, 60))
def test_table_fits_the_terminal(width: int) -> None:
    """The widest cells are cut, and say so; short ones are whole."""
    lines = table(COLUMNS, [["A very long name of a desk", "7", "Yealink SIP-T46S 66.85.0.5"]], width=width)

    assert max(map(len, lines)) <= width
    assert "7" in lines[1]
    assert (width < 57) == ("~" in lines[1])


def test_wide_characters_take_two_columns() -> None:
    lines = table((Column("A"), Column("B")), [["電話", "x"], ["abcd", "y"]])

    assert ["A     B", "電話  x", "abcd  y"] == lines


def test_phones_say_nothing_to_the_terminal() -> None:
    """Escape sequences in a User-Agent are no more than question marks."""
    assert "?[2J?]0;x?" == printable("\x1b[2J\x1b]0;x\x07")
    assert "\x1b" not in "".join(table((Column("A"),), [["\x1b[31m"]]))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0s"), (7.9, "7s"), (60, "1m00s"), (3725, "1h02m"), (90_000, "1d01h"), (864_000, "10d00h")],
)
def test_spans_have_two_units_at_most(seconds: float, text: str) -> None:
    assert text == ago(seconds)


def test_facts_are_lines_with_paths(capsys: pytest.CaptureFixture[str]) -> None:
    echo_facts({"name": "Desk", "sip": {"username": "1001"}, "on": True, "list": ["a", "b"], "none": None, "empty": {}})

    assert ["name: Desk", "sip.username: 1001", "on: true", "list: a, b"] == capsys.readouterr().out.splitlines()
