"""Builds Debian's package of Roost: `make deb`. The environment within is that of `roost install`, in Debian's folders.

It is made for the Debian that it is built on, for whose Python a REGISTER's way is compiled.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
from datetime import datetime, timezone
from email.utils import format_datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

ROOT: Final = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from manual import manual  # noqa: E402

from daemon.deployment.environment import DEBIAN_PYTHON, choose_python, replace_environment  # noqa: E402
from daemon.deployment.install import write_unit  # noqa: E402
from daemon.deployment.layout import CONFIGURATION_MODE, InstallRefused, Layout, shipped  # noqa: E402

DEBIAN: Final = Path(__file__).parent
SCRIPTS: Final = ("postinst", "prerm", "postrm")
MAINTAINER: Final = "Roost's maintainers <maintainers@roost.invalid>"
"""The project has no address of its own; who hands the package on gives theirs."""
DOCS: Final = Path("/usr/share/doc/roost")


def main() -> None:
    """Build the package and print its path."""
    parser = argparse.ArgumentParser(description="Builds Debian's package of Roost.")
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="folder that the package goes to")
    parser.add_argument("--revision", default="1", help="what follows the version of Roost")
    parser.add_argument("--maintainer", default=MAINTAINER, help="'NAME <ADDRESS>' of who hands the package on")
    parser.add_argument(
        "--pure-python", action="store_true", help="compile nothing: needs no gcc, and registrations are slower"
    )
    options = parser.parse_args()
    os.environ.setdefault("SOURCE_DATE_EPOCH", _source_date())
    with TemporaryDirectory(prefix="roost-deb-") as folder:
        stage = Path(folder) / "roost"
        stage.mkdir(mode=0o755)
        layout = Layout(
            root=stage, prefix=Path("/usr/lib/roost"), command=Path("/usr/bin/roost"),
            unit=Path("/lib/systemd/system/roost.service"), sysusers=Path("/usr/lib/sysusers.d/roost.conf"),
        )  # fmt: skip
        try:
            fill(layout, compiled=not options.pure_python)
        except InstallRefused as reason:
            sys.exit(f"{reason}\nwithout them:  {sys.executable} {sys.argv[0]} --pure-python")
        full = f"{version('roost')}-{options.revision}"
        describe(stage, full, options.maintainer)
        options.output.mkdir(parents=True, exist_ok=True)
        package = options.output / f"roost_{full}_{_architecture()}.deb"
        _run("dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(stage), str(package))
    sys.stdout.write(f"{package}\n")


def fill(layout: Layout, *, compiled: bool) -> None:
    """Put every file of the package below the layout's root. Raises InstallRefused."""
    python = choose_python(DEBIAN_PYTHON)
    replace_environment(layout.at(layout.prefix), layout.prefix, ROOT, python, compiled=compiled)
    _trim(layout.at(layout.prefix))
    write_unit(layout, layout.prefix)
    _copy(shipped("sysusers.d/roost.conf"), layout.at(layout.sysusers))
    _copy(shipped("roost.toml"), layout.at(layout.configuration), CONFIGURATION_MODE)
    command = layout.at(layout.command)
    command.parent.mkdir(parents=True)
    command.symlink_to("../lib/roost/bin/roost")
    docs = layout.at(DOCS)
    for name in ("README.md", "SECURITY.md"):
        _copy(ROOT / name, docs / name)
    for page in sorted((ROOT / "docs").glob("*.md")):
        _copy(page, docs / "docs" / page.name)
    for example in ("privileged-ports.conf", "fail2ban/roost.conf"):
        _copy(shipped(example), docs / "examples" / example)
    _copy(DEBIAN / "copyright", docs / "copyright")
    _pack(docs / "changelog.gz", (ROOT / "CHANGELOG.md").read_bytes())
    _pack(layout.root / "usr/share/man/man1/roost.1.gz", manual().encode())
    _copy(DEBIAN / "lintian-overrides", layout.root / "usr/share/lintian/overrides/roost")


def describe(stage: Path, full: str, maintainer: str) -> None:
    """Write what dpkg is told of the package: control file, scripts, conffiles, checksums, and the Debian changelog."""
    moment = datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), timezone.utc)
    changes = f"roost ({full}) stable; urgency=medium\n\n  * Release {full}; changelog.gz tells what changed.\n\n"
    entry = f"{changes} -- {maintainer}  {format_datetime(moment)}\n"
    _pack(stage / str(DOCS)[1:] / "changelog.Debian.gz", entry.encode())
    for place in (stage, *stage.rglob("*")):
        if place.is_dir() and not place.is_symlink():
            place.chmod(0o755)
    files = sorted(path for path in stage.rglob("*") if path.is_file() and not path.is_symlink())
    major, minor = _python()
    control = (DEBIAN / "control").read_text(encoding="utf-8").format(
        version=full, architecture=_architecture(), maintainer=maintainer,
        size=sum(path.stat().st_size for path in files) // 1024,
        libc=(os.confstr("CS_GNU_LIBC_VERSION") or "").split()[-1],
        python=f"{major}.{minor}", python_after=f"{major}.{minor + 1}",
    )  # fmt: skip
    sums = [f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(stage)}" for path in files]  # noqa: S324 - dpkg's form
    folder = stage / "DEBIAN"
    folder.mkdir(mode=0o755)
    (folder / "control").write_text(control, encoding="utf-8")
    (folder / "conffiles").write_text("/etc/roost/roost.toml\n", encoding="utf-8")
    (folder / "md5sums").write_text("\n".join(sums) + "\n", encoding="utf-8")
    for name in SCRIPTS:
        _copy(DEBIAN / name, folder / name, 0o755)


def _trim(environment: Path) -> None:
    """Drop what a package has no use for, and point to Debian's Python the way a package does."""
    shutil.rmtree(environment / "include", ignore_errors=True)
    for name in ("python", "python3", *(path.name for path in (environment / "bin").glob("python3.*"))):
        (environment / "bin" / name).unlink()
    (environment / "bin" / "python3").symlink_to("../../../bin/python3")
    for file in (environment / "lib").rglob("*"):
        if file.is_file() and not file.is_symlink():
            file.chmod(0o644)  # some wheels have scripts among their modules


def _source_date() -> str:
    done = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S607
    return done.stdout.strip() or str(int((ROOT / "CHANGELOG.md").stat().st_mtime))


def _python() -> tuple[int, int]:
    code = "import sys; print(*sys.version_info[:2])"
    major, minor = _run(str(DEBIAN_PYTHON), "-I", "-c", code).split()
    return int(major), int(minor)


def _architecture() -> str:
    return _run("dpkg", "--print-architecture").strip()


def _pack(target: Path, content: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(gzip.compress(content, 9, mtime=0))
    target.chmod(0o644)


def _copy(source: Path, target: Path, mode: int = 0o644) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603 - ours


if __name__ == "__main__":
    main()
