"""`roost install` below another root: what is put where, with which owner and mode, and what is never touched."""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from click.testing import CliRunner

from daemon.cli import main
from daemon.deployment import install as steps
from daemon.deployment.environment import choose_python
from daemon.deployment.layout import InstallRefused, Layout, shipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PREFIX: Final = Path("/opt/roost")

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
systemd_only = pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="systemd is not installed")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(root=tmp_path / "host")


@pytest.fixture
def host(layout: Layout) -> Layout:
    """Put everything in place but the environment, which takes a package index."""
    layout.root.mkdir()
    steps.link_command(layout, PREFIX)
    list(steps.make_user(layout))
    steps.write_configuration(layout)
    steps.make_state(layout)
    steps.write_unit(layout, PREFIX)
    list(steps.enable(layout))
    (layout.at(PREFIX) / "bin").mkdir(parents=True)
    for name in ("pyvenv.cfg", "bin/roost"):
        (layout.at(PREFIX) / name).touch()
    return layout


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@root_only
@systemd_only
def test_secrets_are_readable_to_the_service_alone(host: Layout) -> None:
    """Root writes the configuration and the service reads it; the data is the service's own."""
    users = host.at(Path("/etc/passwd")).read_text()
    _, _, user, group, *_ = next(line for line in users.splitlines() if line.startswith("roost:")).split(":")
    configuration, state = host.at(host.configuration).stat(), host.at(host.state).stat()

    assert (0, int(group)) == (configuration.st_uid, configuration.st_gid)
    assert (int(user), int(group)) == (state.st_uid, state.st_gid)
    assert (0o640, 0o700) == (mode_of(host.at(host.configuration)), mode_of(host.at(host.state)))
    assert "nologin" in users


@root_only
@systemd_only
def test_second_install_keeps_configuration_and_data(host: Layout) -> None:
    """What the operator wrote is never written over, nor its mode."""
    configuration = host.at(host.configuration)
    configuration.write_text("[sip]\n")
    configuration.chmod(0o600)
    (host.at(host.state) / "roost.db").write_text("data")
    said = [steps.write_configuration(host), steps.make_state(host), *steps.make_user(host)]

    assert "[sip]\n" == configuration.read_text()
    assert 0o600 == mode_of(configuration)
    assert "data" == (host.at(host.state) / "roost.db").read_text()
    assert ["kept as it is", "kept as it is", "there already"] == [
        line[-len("kept as it is") :].strip() for line in said
    ]


@root_only
@systemd_only
def test_unit_starts_with_the_host_and_runs_the_environment(host: Layout) -> None:
    """The unit is the shipped one, but for where the command is."""
    other = Path("/srv/roost")
    wanted = host.at(Path("/etc/systemd/system/multi-user.target.wants/roost.service"))
    steps.write_unit(host, other)

    assert wanted.is_symlink()
    unit = shipped("roost.service").read_text()
    assert unit.replace("/opt/roost/", "/srv/roost/") == host.at(host.unit).read_text()


@root_only
@systemd_only
def test_uninstall_leaves_configuration_and_data(host: Layout) -> None:
    """All that was installed goes, and it is said where the rest is."""
    said = "\n".join(steps.uninstall(host))

    assert [] == [path for path in (host.unit, host.command, host.sysusers, PREFIX) if os.path.lexists(host.at(path))]
    assert not os.path.lexists(host.at(Path("/etc/systemd/system/multi-user.target.wants/roost.service")))
    assert host.at(host.configuration).exists()
    assert host.at(host.state).is_dir()
    assert "/etc/roost/roost.toml, /var/lib/roost: the configuration and the data are kept" in said


@root_only
@systemd_only
def test_uninstall_removes_no_folder_that_is_not_an_environment(host: Layout) -> None:
    """A unit that was edited to run something else does not cost that something else."""
    (host.at(PREFIX) / "pyvenv.cfg").unlink()
    list(steps.uninstall(host))

    assert (host.at(PREFIX) / "bin" / "roost").exists()


@root_only
def test_uninstall_of_nothing_is_refused(layout: Layout) -> None:
    """Where no unit is, the package may be; nothing is guessed."""
    layout.root.mkdir()
    done = CliRunner().invoke(main, ["uninstall", "--root", str(layout.root)])

    assert 1 == done.exit_code
    assert "apt-get remove roost" in done.output


@pytest.mark.parametrize("link", [False, True], ids=["file", "link-elsewhere"])
def test_command_of_somebody_else_is_left_alone(layout: Layout, *, link: bool) -> None:
    """A `roost` that is not ours stays, and it is said where ours is."""
    command = layout.at(layout.command)
    command.parent.mkdir(parents=True)
    if link:
        command.symlink_to("/usr/games/roost")
    else:
        command.write_text("other")
    said = steps.link_command(layout, PREFIX)

    assert "left alone" in said
    assert "/opt/roost/bin/roost" in said
    assert link == command.is_symlink()


def test_command_is_linked_again(layout: Layout) -> None:
    """An own link is replaced, so that a second install is like the first."""
    for _ in range(2):
        steps.link_command(layout, PREFIX)

    assert PREFIX / "bin" / "roost" == layout.at(layout.command).readlink()


def test_interpreter_must_be_there(tmp_path: Path) -> None:
    """A Python that is named must work; none is taken in its place."""
    with pytest.raises(InstallRefused, match=r"no Python 3\.10 or newer"):
        choose_python(tmp_path / "python3")

    assert Path(sys.executable) == choose_python(Path(sys.executable))


@root_only
@pytest.mark.parametrize(
    ("compiler", "why"),
    [
        pytest.param("/nowhere/gcc", "there is no /nowhere/gcc", id="no-compiler"),
        pytest.param("ls", "unrecognized option|invalid option", id="no-headers"),
    ],
)
def test_nothing_is_begun_where_nothing_can_be_compiled(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, compiler: str, why: str
) -> None:
    """`--compiled` tries the compiler on Python's headers before all else, and says what to install."""
    monkeypatch.setenv("CC", compiler)
    monkeypatch.setenv("LC_ALL", "C")
    old = layout.at(PREFIX) / "bin" / "roost"
    old.parent.mkdir(parents=True)
    old.write_text("the one that runs")
    before = sorted(layout.root.rglob("*"))
    done = CliRunner().invoke(main, ["install", "--systemd", "--compiled", "--root", str(layout.root)])

    assert 1 == done.exit_code
    assert "apt-get install gcc python3-dev" in done.output
    assert re.search(why, done.output)
    assert before == sorted(layout.root.rglob("*"))
    assert "the one that runs" == old.read_text()


@pytest.mark.parametrize("step", [steps.install, steps.uninstall])
def test_only_root_may(
    step: Callable[[Layout], Iterator[str]], layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is somebody else is told so before anything is done."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    layout.root.mkdir()
    with pytest.raises(InstallRefused, match="only root"):
        list(step(layout))

    assert [] == list(layout.root.iterdir())
