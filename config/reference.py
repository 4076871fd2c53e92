"""Writes `default.toml` and `docs/configure.md` from the settings themselves.

`python -m config.reference` rewrites them in a working copy; a test fails while they differ.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, get_args, get_origin, get_type_hints

from config import settings as source
from config.listen import HostPort, Listener
from config.loader import Key, known_keys
from config.settings import Settings
from config.values import to_toml

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_TOML = Path(__file__).parent / "default.toml"
PAGE = Path(__file__).parent.parent / "docs" / "configure.md"
TYPES = {
    str: "text",
    bool: "true or false",
    int: "whole number",
    float: "number",
    Listener: "listener",
    HostPort: "address",
}
WIDTH = 110

HEADER = """\
# Roost's configuration. Every key stands here with its default; a file needs only the keys it changes.
# Read from --config FILE, else $ROOST_CONFIG, else /etc/roost/roost.toml.
# Any key can be set from the environment instead, as ROOST_<SECTION>_<KEY>: ROOST_SIP_MAX_EXPIRES=600.
# `roost check-config` says what is wrong with a file, and what will be used.
"""

PAGE_HEADER = """\
<!-- Written by `python -m config.reference`; change the docstrings in config/settings.py instead. -->
# Configuration

Roost needs none: `roost run` in an empty directory serves SIP on port 5060 and the API on 127.0.0.1:8000. A file is
TOML and needs only the keys that it changes. It is read from `--config FILE`, else `$ROOST_CONFIG`, else
`/etc/roost/roost.toml`.

- Any key can be set from the environment instead, by the name that stands with it. The environment goes over the file.
- `roost check-config` says all that is wrong with a file at once, and what will be used.
- `systemctl reload roost` (SIGHUP) takes what can change while phones are on, TLS's files and the log's level among it;
  keys that wait for a restart are named in the log.
- The shipped defaults as a file are [config/default.toml](../config/default.toml).
"""


class Entry(NamedTuple):
    """A key as documentation tells it."""

    key: Key
    text: str
    kind: str
    default: str
    """As TOML writes it."""
    limits: str


def entries() -> list[Entry]:
    """Return every key with its documentation, in the order of the settings."""
    sections = get_type_hints(Settings)
    texts = {section: _texts(kind)[1] for section, kind in sections.items()}
    return [
        Entry(key, texts[key.section][key.name], _kind(key.hint), _default(key, sections[key.section]), _limits(key))
        for key in known_keys()
    ]


def render_toml() -> str:
    """Return the text of `default.toml`."""
    parts = [HEADER]
    for section, kind in get_type_hints(Settings).items():
        parts.append(f"\n# {_texts(kind)[0]}\n[{section}]\n")
        for entry in entries():
            if entry.key.section == section:
                note = f"{entry.text} {entry.limits}".strip()
                comment = textwrap.fill(
                    note, WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
                )
                parts.append(f"{comment}\n{entry.key.name} = {entry.default}\n")
    return "".join(parts)


def render_page() -> str:
    """Return the text of `docs/configure.md`."""
    parts = [PAGE_HEADER]
    for section, kind in get_type_hints(Settings).items():
        parts.append(f"\n## [{section}]\n\n{_texts(kind)[0]}\n")
        for entry in entries():
            if entry.key.section == section:
                limits = f" {entry.limits}" if entry.limits else ""
                parts.append(f"\n### {entry.key.path}\n\n{entry.text}{limits}\n\n")
                parts.append(f"{entry.kind.capitalize()}; default `{entry.default}`; `{entry.key.variable}`\n")
    return "".join(parts)


def write() -> None:
    """Bring both up to date."""
    PAGE.write_text(render_page(), encoding="utf-8")
    DEFAULT_TOML.write_text(render_toml(), encoding="utf-8")


def _texts(kind: type) -> tuple[str, Mapping[str, str]]:
    """Return the docstring of a section, and the strings under its fields by their names."""
    tree = ast.parse(inspect.getsource(source))
    body = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == kind.__name__).body
    fields = {
        field.target.id: " ".join(text.value.value.split())
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }
    return inspect.cleandoc(kind.__doc__ or ""), fields


def _kind(hint: object) -> str:
    if get_origin(hint) is tuple:
        return f"list of {_kind(get_args(hint)[0])}"
    return next(text for kind, text in TYPES.items() if kind is hint)


def _default(key: Key, kind: type) -> str:
    return to_toml(getattr(kind(), key.name))


def _limits(key: Key) -> str:
    rule = key.rule
    unit = f" {rule.unit}" if rule.unit else ""
    if rule.choices:
        return f"One of {', '.join(rule.choices)}."
    if rule.least is not None and rule.most is not None:
        return f"{rule.least} to {rule.most}{unit}."
    return f"In {rule.unit}." if rule.unit else ""


if __name__ == "__main__":
    write()
