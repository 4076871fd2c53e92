"""Roost's own wheel, made from a working copy with the locked build tools and no others.

Plain, or with a REGISTER's way compiled: pyproject.toml names the modules, whose Python stays beside what is compiled.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from daemon.deployment.layout import InstallRefused, checkout
from daemon.deployment.programs import must, pip, run

BUILD_LOCK: Final = "systemd/requirements-build.lock"
HARDENED: Final = "-fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2"
LINKED: Final = "-Wl,-z,relro -Wl,-z,now -Wl,--strip-all"
"""Both as Debian has its own packages built."""
COMPILER: Final = "import sysconfig as s; print(s.get_config_var('CC') or 'cc', s.get_path('include'), sep='\\n')"


def check_compiler(python: Path) -> None:
    """Try the compiler on the headers of an interpreter. Raises InstallRefused."""
    compiler, include = run([str(python), "-I", "-c", COMPILER]).stdout.splitlines()
    command = shlex.split(os.environ.get("CC") or compiler)
    trial = ["-fsyntax-only", "-I", include, "-include", "Python.h", "-x", "c", os.devnull]
    try:
        done = run([*command, *trial])
    except FileNotFoundError:
        why = f"there is no {command[0]}"
    else:
        if done.returncode == 0:
            return
        why = done.stderr.strip()[-500:]
    raise InstallRefused(
        f"compiling takes a C compiler and the headers of {python}:  apt-get install gcc python3-dev\n{why}"
    )


def build_wheel(source: Path, output: Path, python: Path, *, compiled: bool) -> None:
    """Build the wheel into `output`, for the interpreter of an environment that has the dependencies.

    It is built from its sources unpacked elsewhere: in the working copy what is compiled would be taken for the
    sources. Raises InstallRefused.
    """
    with TemporaryDirectory(prefix="roost-wheel-") as name:
        folder = Path(name)
        tools, sources = folder / "tools", folder / "sources"
        pip(python, "--target", str(tools), "--require-hashes", "--requirement", str(source / BUILD_LOCK))
        build = [str(python), "-m", "hatchling", "build", "--target"]
        environ = {"PYTHONPATH": str(tools)}
        must([*build, "sdist", "--directory", str(folder)], cwd=source, environ=environ)
        (packed,) = folder.glob("*.tar.gz")
        sources.mkdir()
        must(["tar", "--extract", "--file", str(packed), "--directory", str(sources), "--strip-components", "1"])
        variables = environ | (_to_compile(folder) if compiled else {})
        must([*build, "wheel", "--directory", str(output.resolve())], cwd=sources, environ=variables)


def _to_compile(folder: Path) -> dict[str, str]:
    """Return the variables of a build that compiles; where it was done does not show in what comes out."""
    generated = folder / "generated"
    generated.mkdir()
    return {
        "HATCH_BUILD_HOOK_ENABLE_MYPYC": "1",
        "HATCH_MYPYC_BUILD_DIR": str(generated),
        "CFLAGS": f"{HARDENED} -ffile-prefix-map={folder}=.",
        "LDFLAGS": LINKED,
        "PYTHONHASHSEED": "0",
    }


def main() -> None:
    """Build the compiled wheel for the interpreter that runs this, into the folder that is named: `make compiled`."""
    source, python = checkout(), Path(sys.executable)
    if source is None:
        sys.exit("!! it is compiled from a copy of the repository")
    try:
        check_compiler(python)
        build_wheel(source, Path(sys.argv[1]), python, compiled=True)
    except InstallRefused as reason:
        sys.exit(f"!! {reason}")


if __name__ == "__main__":
    main()
