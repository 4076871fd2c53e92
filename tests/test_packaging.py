"""What is in the distribution, and that its four import names are its own."""

from __future__ import annotations

import importlib
import subprocess
import sys
import zipfile
from collections import defaultdict
from importlib.metadata import distributions, metadata, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
NAMES = ("daemon", "sip", "api", "config")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build the wheel, as a release does."""
    folder = tmp_path_factory.mktemp("wheel")
    hatchling = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(hatchling, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (built,) = folder.glob("*.whl")
    return zipfile.ZipFile(built)


@pytest.mark.parametrize("name", NAMES)
def test_no_other_distribution_owns_the_name(name: str) -> None:
    """The import names are plain words, so another distribution could bring a package of the same name along."""
    owners: dict[str, set[str]] = defaultdict(set)
    for distribution in distributions():
        top = (distribution.read_text("top_level.txt") or "").split()
        files = {path.parts[0].removesuffix(".py") for path in distribution.files or () if path.parts}
        for each in {*top, *files}:
            owners[each].add(distribution.metadata["Name"])

    assert set() == owners[name] - {"roost"}


@pytest.mark.parametrize("name", NAMES)
def test_the_name_is_imported_from_here(name: str) -> None:
    """What is tested is this tree, not something of the same name that stands before it on the path."""
    file = importlib.import_module(name).__file__

    assert file is not None
    assert ROOT / name == Path(file).parent


def test_wheel_has_all_data_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    """The wheel holds every file of the four packages that git knows, and its own metadata."""
    listed = subprocess.run(["git", "ls-files", *NAMES], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git working copy")
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}

    assert "config/default.toml" in packed
    assert set(listed.stdout.split()) <= packed
    assert {name.split("/")[0] for name in packed} == set(NAMES)


def test_wheel_has_the_command_and_the_licence(wheel: zipfile.ZipFile) -> None:
    """An installed wheel gives the command `roost` and brings its licence."""
    text = {
        name.split(".dist-info/")[-1]: wheel.read(name).decode() for name in wheel.namelist() if ".dist-info/" in name
    }

    assert "roost = daemon.cli:main" in text["entry_points.txt"]
    assert "GNU GENERAL PUBLIC LICENSE" in text["licenses/LICENSE"]
    assert "License-Expression: GPL-3.0-or-later" in text["METADATA"]


def test_pjsua2_is_pinned_and_asked_for_only_where_it_has_wheels() -> None:
    """The one pre-release is pinned exactly, and its absence elsewhere does not stop an installation."""
    (line,) = (line for line in requires("roost") or () if line.startswith("pjsua2"))
    requirement = Requirement(line)

    assert "==0.1a3" == str(requirement.specifier)
    assert requirement.marker is not None
    for python, machine, wanted in (("3.11", "x86_64", True), ("3.13", "x86_64", False), ("3.11", "aarch64", False)):
        environment = {"python_version": python, "platform_machine": machine, "sys_platform": "linux"}
        assert wanted == requirement.marker.evaluate(environment)


def test_licence_is_what_the_readme_says() -> None:
    """The licence of the metadata stands in the README, with its reason."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    assert "GPL-3.0-or-later" == metadata("roost")["License-Expression"]
    assert "GPL-3.0-or-later" in readme
    assert "pjsua2-pybind11" in readme


def test_make_knows_each_target_once() -> None:
    """A rule that is given twice would do what the last one says, with a warning that nobody reads."""
    done = subprocess.run(
        ["make", "--dry-run", "help"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=20
    )
    rules = [
        line.split(":")[0] for line in (ROOT / "Makefile").read_text(encoding="utf-8").splitlines() if ": " in line
    ]
    targets = [rule for rule in rules if rule.isalpha()]

    assert "" == done.stderr
    assert {"install", "uninstall", "deb", "package"} <= set(targets)
    assert len(targets) == len(set(targets))
