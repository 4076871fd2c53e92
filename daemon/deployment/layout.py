"""Where everything of an installed service is.

Rule: a path here is one of the host that Roost will run on; `Layout.at` gives its place while it is being installed,
which is below another root in tests and where a package is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

USER: Final = "roost"
SERVICE: Final = "roost.service"
UNIT_COMMAND: Final = "/opt/roost/bin/roost"
"""The command as the shipped unit has it."""
CONFIGURATION_MODE: Final = 0o640  # it may hold the password of quickcall.route
STATE_MODE: Final = 0o700


class InstallRefused(Exception):
    """It cannot be done, and why."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The defaults are those of `roost install`; Debian's package keeps to Debian's folders."""

    root: Path = Path("/")
    """What is the host's `/`."""
    prefix: Path = Path("/opt/roost")
    """The environment: a Python with Roost and all that it needs, and nothing else."""
    command: Path = Path("/usr/local/bin/roost")
    unit: Path = Path("/etc/systemd/system") / SERVICE
    sysusers: Path = Path("/etc/sysusers.d/roost.conf")
    configuration: Path = Path("/etc/roost/roost.toml")
    state: Path = Path("/var/lib/roost")

    def at(self, path: Path) -> Path:
        """Return where a path of the host is now."""
        return self.root / path.relative_to("/")

    @property
    def is_host(self) -> bool:
        """Whether this is the host that runs, so that its service manager is told."""
        return self.root == Path("/")


def shipped(name: str) -> Path:
    """Return a file of `systemd/`: a wheel has the folder within this package's parent, a working copy beside it."""
    daemon = Path(__file__).parents[1]
    for folder in (daemon / "systemd", daemon.parent / "systemd"):
        if (folder / name).is_file():
            return folder / name
    raise InstallRefused(f"{name} is missing from this installation of Roost")


def checkout() -> Path | None:
    """Return the working copy that this Roost runs from, or None where it was installed from a wheel."""
    folder = Path(__file__).parents[2]
    return folder if (folder / "pyproject.toml").is_file() else None
