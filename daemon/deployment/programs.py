"""The programs that make an installation: each has to succeed, in time, or the installation is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from daemon.deployment.layout import InstallRefused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

LIMIT: Final = 600.0  # seconds that pip may take over a slow line, or a slow machine to compile


def pip(python: Path, *arguments: str) -> None:
    """Install for an interpreter with our own pip, so that it needs none. Raises InstallRefused.

    Wheels alone: no code of a dependency runs while it is installed.
    """
    options = ("--quiet", "--no-input", "--disable-pip-version-check", "--only-binary", ":all:", "--no-compile")
    must([sys.executable, "-m", "pip", "--python", str(python), "install", *options, *arguments])


def must(command: Sequence[str], *, cwd: Path | None = None, environ: Mapping[str, str] | None = None) -> None:
    """Run a program that has to succeed. Raises InstallRefused with what it said."""
    done = run(command, cwd=cwd, environ=environ)
    if done.returncode != 0:
        raise InstallRefused(f"{' '.join(command)} failed:\n{(done.stderr or done.stdout).strip()[-2000:]}")


def run(
    command: Sequence[str], *, cwd: Path | None = None, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program and return what became of it. Raises InstallRefused, FileNotFoundError."""
    try:
        return subprocess.run(  # noqa: S603 - our own arguments, and no shell
            command, cwd=cwd, env={**os.environ, **(environ or {})}, capture_output=True, text=True,
            timeout=LIMIT, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise InstallRefused(f"{command[0]} took more than {LIMIT:g} seconds") from None
