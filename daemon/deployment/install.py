"""Puts the service in place, step by step; each says what it did. Doing it again changes nothing but what is newer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from daemon.deployment.environment import choose_python, replace_environment
from daemon.deployment.layout import (
    CONFIGURATION_MODE,
    SERVICE,
    STATE_MODE,
    UNIT_COMMAND,
    USER,
    InstallRefused,
    checkout,
    shipped,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daemon.deployment.layout import Layout

BOOTED: Final = Path("/run/systemd/system")
"""There where systemd runs the host (sd_booted(3))."""
HIDDEN: Final = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 - not to write there
"""What the unit's ProtectHome and PrivateTmp keep from the service."""
LIMIT: Final = 90.0  # seconds; a restart waits for the stop of the old service and the readiness of the new one


def install(layout: Layout, python: Path | None = None, *, compiled: bool = False) -> Iterator[str]:
    """Do every step and yield a line for each. Raises InstallRefused, OSError; what was done until then stays."""
    if os.geteuid() != 0:
        raise InstallRefused("only root can do this; try it with sudo")
    prefix = layout.prefix
    if (source := checkout()) is not None:
        interpreter = choose_python(python)
        replace_environment(layout.at(prefix), prefix, source, interpreter, compiled=compiled)
        way = ", compiled," if compiled else ""
        yield f"{prefix}: Roost {version('roost')}{way} with its locked dependencies, run by {interpreter}"
    elif compiled:
        raise InstallRefused("it is compiled from a copy of the repository; this Roost was installed from a wheel")
    else:
        prefix = Path(sys.prefix)
        if str(prefix).startswith(HIDDEN):
            raise InstallRefused(f"the service cannot see {prefix}: install Roost's wheel below /opt")
        yield f"{prefix}: this environment stays where it is"
    yield link_command(layout, prefix)
    yield from make_user(layout)
    yield write_configuration(layout)
    yield make_state(layout)
    yield write_unit(layout, prefix)
    yield from enable(layout)


def link_command(layout: Layout, prefix: Path) -> str:
    """Let everybody's PATH have the command; what is there and not ours stays."""
    link, target = layout.at(layout.command), prefix / "bin" / "roost"
    if link.is_symlink() and link.readlink().parts[-3:] == target.parts[-3:]:
        link.unlink()
    elif link.exists() or link.is_symlink():
        return f"{layout.command}: left alone, it is not ours; the command is {target}"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target)
    return f"{layout.command}: the command, which is {target}"


def make_user(layout: Layout) -> Iterator[str]:
    """Make the service's user and group, which nobody can log in as."""
    _put(layout.at(layout.sysusers), shipped("sysusers.d/roost.conf").read_text(encoding="utf-8"))
    known = _identity(layout) is not None
    if not known:
        _must("systemd-sysusers", f"--root={layout.root}", layout.sysusers.name)
    yield f"{layout.sysusers}: the user {USER}, {'there already' if known else 'made now'}"


def write_configuration(layout: Layout) -> str:
    """Write the first configuration; one that is there is never touched."""
    file = layout.at(layout.configuration)
    if file.exists():
        return f"{layout.configuration}: kept as it is"
    file.parent.mkdir(parents=True, exist_ok=True)
    _put(file, shipped("roost.toml").read_text(encoding="utf-8"), CONFIGURATION_MODE)
    os.chown(file, 0, _owner(layout)[1])
    return f"{layout.configuration}: the configuration, to be edited"


def make_state(layout: Layout) -> str:
    """Make the folder of the database, as systemd would, so that `roost init` works before the first start."""
    folder = layout.at(layout.state)
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    if new:
        folder.chmod(STATE_MODE)
        os.chown(folder, *_owner(layout))
    return f"{layout.state}: the data, {'nothing yet' if new else 'kept as it is'}"


def write_unit(layout: Layout, prefix: Path) -> str:
    """Write the unit, for the environment that was installed."""
    text = shipped(SERVICE).read_text(encoding="utf-8")
    _put(layout.at(layout.unit), text.replace(UNIT_COMMAND, str(prefix / "bin" / "roost")))
    return f"{layout.unit}: the unit"


def enable(layout: Layout) -> Iterator[str]:
    """Let the service start with the host; one that runs is restarted, one that does not is not started."""
    if not layout.is_host or not BOOTED.exists():
        _must("systemctl", f"--root={layout.root}", "enable", SERVICE)
        yield f"{SERVICE}: starts with the host"
        return
    _must("systemctl", "daemon-reload")
    _must("systemctl", "enable", SERVICE)
    if _run("systemctl", "is-active", SERVICE).returncode == 0:
        _must("systemctl", "restart", SERVICE)
        yield f"{SERVICE}: starts with the host, and was restarted"
    else:
        yield f"{SERVICE}: starts with the host; now, by  systemctl start roost"


def uninstall(layout: Layout) -> Iterator[str]:
    """Take away what `install` put there, and yield a line for each; configuration, data and user stay.

    Raises InstallRefused, OSError.
    """
    if os.geteuid() != 0:
        raise InstallRefused("only root can do this; try it with sudo")
    unit = layout.at(layout.unit)
    if not unit.exists():
        raise InstallRefused(f"{layout.unit} is not there; Debian's package goes by  apt-get remove roost")
    prefix = _prefix_of(unit)
    yield from _disable(layout)
    unit.unlink()
    yield f"{layout.unit}: removed"
    link = layout.at(layout.command)
    if link.is_symlink() and link.readlink() == prefix / "bin" / "roost":
        link.unlink()
        yield f"{layout.command}: removed"
    layout.at(layout.sysusers).unlink(missing_ok=True)
    yield f"{layout.sysusers}: removed; the user {USER} stays, for the data is theirs"
    yield _remove_environment(layout, prefix)
    yield f"{layout.configuration}, {layout.state}: the configuration and the data are kept; delete them by hand"


def _prefix_of(unit: Path) -> Path:
    for line in unit.read_text(encoding="utf-8").splitlines():
        if line.startswith("ExecStart="):
            return Path(line.partition("=")[2].split()[0]).parents[1]
    raise InstallRefused(f"{unit} has no ExecStart, so what it ran is not known")


def _disable(layout: Layout) -> Iterator[str]:
    if not layout.is_host or not BOOTED.exists():
        _must("systemctl", f"--root={layout.root}", "disable", SERVICE)
    else:
        _must("systemctl", "disable", "--now", SERVICE)
        yield f"{SERVICE}: stopped"


def _remove_environment(layout: Layout, prefix: Path) -> str:
    place = layout.at(prefix)
    if not (place / "pyvenv.cfg").is_file() or not (place / "bin" / "roost").is_file():
        return f"{prefix}: left alone, it is not an environment of Roost's"
    shutil.rmtree(place)
    return f"{prefix}: removed"


def _put(file: Path, text: str, mode: int = 0o644) -> None:
    """Put a file in place at once, never readable to more than it will be."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text)
    fresh.chmod(mode)
    fresh.replace(file)


def _owner(layout: Layout) -> tuple[int, int]:
    identity = _identity(layout)
    if identity is None:
        raise InstallRefused(f"there is no user {USER}, though systemd-sysusers made one")
    return identity


def _identity(layout: Layout) -> tuple[int, int] | None:
    """Return the service's user and group, by the files of the root that is installed to."""
    users = layout.at(Path("/etc/passwd"))
    for line in users.read_text(encoding="utf-8").splitlines() if users.exists() else ():
        name, _, user, group, *_ = line.split(":")
        if name == USER:
            return int(user), int(group)
    return None


def _must(*command: str) -> None:
    done = _run(*command)
    if done.returncode != 0:
        raise InstallRefused(f"{' '.join(command)} failed: {(done.stderr or done.stdout).strip()}")


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)  # noqa: S603 - ours
    except FileNotFoundError:
        raise InstallRefused(f"{command[0]} is missing: this needs Debian with systemd") from None
    except subprocess.TimeoutExpired:
        raise InstallRefused(f"{' '.join(command)} took more than {LIMIT:g} seconds") from None
