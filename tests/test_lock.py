"""The locks of a release: every dependency by version and hash, for every interpreter that Roost runs on."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT: Final = Path(__file__).parent.parent
LOCK: Final = ROOT / "systemd/requirements.lock"
BUILD_LOCK: Final = ROOT / "systemd/requirements-build.lock"
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MACHINES: Final = ("x86_64", "aarch64")
PYTHONS: Final = ("3.10", "3.11", "3.12", "3.13")


class Row(NamedTuple):
    """A distribution of a lock."""

    requirement: Requirement
    hashes: tuple[str, ...]


def rows_of(lock: Path) -> list[Row]:
    """Read a lock: a requirement, then its hashes on continued lines."""
    text = re.sub(r"^\s*#.*\n", "", lock.read_text(encoding="utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip()]
    return [
        Row(Requirement(line.split(" --hash=")[0].strip()), tuple(re.findall(r"--hash=(\S+)", line))) for line in lines
    ]


def chosen(rows: Iterable[Row], python: str, machine: str) -> dict[str, str]:
    """Return the versions that are installed for an interpreter and machine, by name."""
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.5",
        "platform_machine": machine,
        "sys_platform": "linux",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
    }
    return {
        canonicalize_name(row.requirement.name): next(iter(row.requirement.specifier)).version
        for row in rows
        if row.requirement.marker is None or row.requirement.marker.evaluate(environment)
    }


@pytest.mark.parametrize("lock", [LOCK, BUILD_LOCK], ids=lambda lock: lock.stem)
def test_everything_is_pinned_and_hashed(lock: Path) -> None:
    """A line without one exact version and a SHA-256 would let something else in."""
    rows = rows_of(lock)

    assert rows
    for row in rows:
        assert [spec.operator for spec in row.requirement.specifier] == ["=="], row.requirement
        assert row.hashes, row.requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in row.hashes)


@pytest.mark.parametrize("lock", [LOCK, BUILD_LOCK], ids=lambda lock: lock.stem)
def test_no_index_is_named(lock: Path) -> None:
    """Where the files come from is the matter of who installs; the hashes say that they are the right ones."""
    text = lock.read_text(encoding="utf-8")

    assert re.findall(r"^\s*-+(?:extra-)?index|find-links|://", text, re.MULTILINE) == []


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("python", PYTHONS)
def test_lock_satisfies_the_project(python: str, machine: str) -> None:
    """What pyproject.toml asks for is in the lock, in a version that it admits: `make lock` brings it up to date."""
    versions = chosen(rows_of(LOCK), python, machine)
    environment = {"python_version": python, "platform_machine": machine, "sys_platform": "linux"}
    for line in PROJECT["project"]["dependencies"]:
        wanted = Requirement(line)
        if wanted.marker is None or wanted.marker.evaluate(environment):
            assert wanted.specifier.contains(versions[canonicalize_name(wanted.name)], prereleases=True), line


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("python", PYTHONS)
def test_build_lock_satisfies_the_build_system(python: str, machine: str) -> None:
    """The wheel of a release is made, and compiled, by what pyproject.toml names, and by nothing that is not locked."""
    hook = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["mypyc"]
    tools = chosen(rows_of(BUILD_LOCK), python, machine)
    for line in (*PROJECT["build-system"]["requires"], *PROJECT["dependency-groups"]["build"]):
        wanted = Requirement(line)

        assert wanted.specifier.contains(tools[canonicalize_name(wanted.name)])
    # What is compiled is checked against the dependencies that it is compiled for.
    versions = chosen(rows_of(LOCK), python, machine) | tools
    for line in hook["dependencies"]:
        wanted = Requirement(line)

        assert wanted.specifier.contains(versions[canonicalize_name(wanted.name)])
    assert set(PROJECT["build-system"]["requires"]) <= set(PROJECT["dependency-groups"]["build"])
