"""The environment of an installed service: made from the locks, so that every file in it is one that was meant."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from daemon.deployment.layout import InstallRefused
from daemon.deployment.programs import must, pip, run
from daemon.deployment.wheel import build_wheel, check_compiler

DEBIAN_PYTHON: Final = Path("/usr/bin/python3")
"""Preferred, for the service's user can read it and the distribution mends it."""
OLDEST: Final = (3, 10)
LOCK: Final = "systemd/requirements.lock"
COMMAND: Final = """\
#!{python} -I
import sys
from daemon.cli import main
sys.exit(main())
"""
"""Isolated: neither the working directory nor variables of the caller's Python decide what `daemon` is."""


def choose_python(wanted: Path | None = None) -> Path:
    """Return the interpreter that a new environment is made with. Raises InstallRefused."""
    candidates = [wanted] if wanted else [DEBIAN_PYTHON, Path(os.path.realpath(sys.executable))]
    for candidate in candidates:
        code = f"import sys, venv; sys.exit(sys.version_info < {OLDEST})"
        if candidate.exists() and run([str(candidate), "-I", "-c", code]).returncode == 0:
            return candidate
    raise InstallRefused(f"no Python {OLDEST[0]}.{OLDEST[1]} or newer with the module venv; try {candidates[-1]}")


def replace_environment(place: Path, prefix: Path, checkout: Path, python: Path, *, compiled: bool) -> None:
    """Make the environment anew at `place` and let it take that place in one step; it will be `prefix` to who runs it.

    Where something fails the environment that was there stays; where there is nothing to compile with, nothing is
    begun. Raises InstallRefused, OSError.
    """
    if compiled:
        check_compiler(python)
    fresh, old = place.with_name(f"{place.name}.new"), place.with_name(f"{place.name}.old")
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    fresh.parent.mkdir(parents=True, exist_ok=True)
    try:
        _make_environment(fresh, prefix, checkout, python, compiled=compiled)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    if place.exists():
        place.rename(old)
    fresh.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def _make_environment(place: Path, prefix: Path, checkout: Path, python: Path, *, compiled: bool) -> None:
    must([str(python), "-I", "-m", "venv", "--without-pip", str(place)])
    own = place / "bin" / "python3"
    pip(own, "--require-hashes", "--requirement", str(checkout / LOCK))
    with TemporaryDirectory(prefix="roost-wheel-") as folder:
        build_wheel(checkout, Path(folder), own, compiled=compiled)
        pip(own, "--no-deps", "--no-index", "--find-links", folder, "roost")
    _settle(place, prefix)
    _write_byte_code(place, prefix)


def _settle(place: Path, prefix: Path) -> None:
    """Leave in `bin` the interpreter and our command, and no path that is only true while it is made."""
    for script in (place / "bin").iterdir():
        if not script.name.startswith("python"):
            script.unlink()
    command = place / "bin" / "roost"
    command.write_text(COMMAND.format(python=prefix / "bin" / "python3"), encoding="utf-8")
    command.chmod(0o755)
    for record in place.glob("lib/python*/site-packages/*.dist-info/RECORD"):
        rows = record.read_text(encoding="utf-8").splitlines(keepends=True)
        record.write_text("".join(row for row in rows if not row.startswith("../")), encoding="utf-8")
    told = place / "pyvenv.cfg"
    lines = [line for line in told.read_text(encoding="utf-8").splitlines() if not line.startswith("command")]
    told.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_byte_code(place: Path, prefix: Path) -> None:
    """Write all byte code now: the service may not write here, and would do it again at each start."""
    paths = ("-s", str(place), "-p", str(prefix), "--invalidation-mode", "checked-hash")
    must([str(place / "bin" / "python3"), "-I", "-m", "compileall", "-q", *paths, str(place / "lib")])
