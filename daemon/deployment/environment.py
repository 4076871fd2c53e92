"""The environment of an installed service: made from the locks, so that every file in it is one that was meant."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from daemon.deployment.layout import InstallRefused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEBIAN_PYTHON: Final = Path("/usr/bin/python3")
"""Preferred, for the service's user can read it and the distribution mends it."""
OLDEST: Final = (3, 10)
LIMIT: Final = 600.0  # seconds that pip may take over a slow line
LOCK: Final = "systemd/requirements.lock"
BUILD_LOCK: Final = "systemd/requirements-build.lock"
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
        if candidate.exists() and _run([str(candidate), "-I", "-c", code]).returncode == 0:
            return candidate
    raise InstallRefused(f"no Python {OLDEST[0]}.{OLDEST[1]} or newer with the module venv; try {candidates[-1]}")


def replace_environment(place: Path, prefix: Path, checkout: Path, python: Path) -> None:
    """Make the environment anew at `place` and let it take that place in one step; it will be `prefix` to who runs it.

    Where something fails the environment that was there stays. Raises InstallRefused, OSError.
    """
    fresh, old = place.with_name(f"{place.name}.new"), place.with_name(f"{place.name}.old")
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    fresh.parent.mkdir(parents=True, exist_ok=True)
    try:
        _make_environment(fresh, prefix, checkout, python)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    if place.exists():
        place.rename(old)
    fresh.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def _make_environment(place: Path, prefix: Path, checkout: Path, python: Path) -> None:
    _must([str(python), "-I", "-m", "venv", "--without-pip", str(place)])
    _pip(place, "--require-hashes", "--requirement", str(checkout / LOCK))
    with TemporaryDirectory(prefix="roost-wheel-") as folder:
        _build_wheel(checkout, Path(folder))
        _pip(place, "--no-deps", "--no-index", "--find-links", folder, "roost")
    _settle(place, prefix)
    _compile(place, prefix)


def _build_wheel(checkout: Path, folder: Path) -> None:
    """Build Roost's wheel with the locked build tools; pip alone would fetch whichever are newest."""
    tools = folder / "tools"
    lock = ("--require-hashes", "--requirement", str(checkout / BUILD_LOCK))
    _must([*_PIP, "install", *_PIP_OPTIONS, "--target", str(tools), *lock])
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    _must(build, cwd=checkout, environ={"PYTHONPATH": str(tools)})


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


def _compile(place: Path, prefix: Path) -> None:
    """Compile all modules now: the service may not write here, and would do it again at each start."""
    paths = ("-s", str(place), "-p", str(prefix), "--invalidation-mode", "checked-hash")
    _must([str(place / "bin" / "python3"), "-I", "-m", "compileall", "-q", *paths, str(place / "lib")])


_PIP: Final = (sys.executable, "-m", "pip")
# Wheels alone: no code of a dependency runs while it is installed.
_PIP_OPTIONS: Final = ("--quiet", "--no-input", "--disable-pip-version-check", "--only-binary", ":all:", "--no-compile")


def _pip(place: Path, *arguments: str) -> None:
    """Install into the environment with our own pip, so that it needs none."""
    _must([*_PIP, "--python", str(place / "bin" / "python3"), "install", *_PIP_OPTIONS, *arguments])


def _must(command: Sequence[str], *, cwd: Path | None = None, environ: Mapping[str, str] | None = None) -> None:
    done = _run(command, cwd=cwd, environ=environ)
    if done.returncode != 0:
        raise InstallRefused(f"{' '.join(command)} failed:\n{(done.stderr or done.stdout).strip()[-2000:]}")


def _run(
    command: Sequence[str], *, cwd: Path | None = None, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - our own arguments, and no shell
            command, cwd=cwd, env={**os.environ, **(environ or {})}, capture_output=True, text=True,
            timeout=LIMIT, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise InstallRefused(f"{command[0]} took more than {LIMIT:g} seconds") from None
