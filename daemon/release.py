"""Which Roost this is: its version, and whether a REGISTER's way is compiled in it."""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import version
from importlib.util import find_spec
from typing import Final

COMPILED: Final = "daemon.registration"
"""One of the modules that are compiled all together or not at all; pyproject.toml names them."""


def release() -> str:
    """Return the version, and a word on what is compiled, for people."""
    return f"{version('roost')}, compiled" if is_compiled() else version("roost")


def is_compiled(module: str = COMPILED) -> bool:
    """Return whether a module is machine code: by where it was loaded from, or would be."""
    spec = find_spec(module)
    return spec is not None and (spec.origin or "").endswith(tuple(EXTENSION_SUFFIXES))
