"""What Roost says of itself: its version, and whether it is compiled."""

from __future__ import annotations

from importlib.metadata import version

import orjson
import pytest

from daemon.release import COMPILED, is_compiled, release


@pytest.mark.parametrize(
    ("module", "compiled"),
    [
        pytest.param("daemon.release", False, id="python"),
        pytest.param(f"{orjson.__name__}.orjson", True, id="machine-code"),
        pytest.param("daemon.not_there", False, id="nothing"),
    ],
)
def test_module_tells_whether_it_is_compiled(module: str, compiled: bool) -> None:
    """It is found out from where the module is loaded from, so that no flag can be wrong."""

    assert compiled == is_compiled(module)


def test_version_comes_first() -> None:
    """Scripts that take the first word have the version, in either case."""
    said = release()

    assert version("roost") == said.split(",")[0]
    assert is_compiled(COMPILED) == said.endswith(", compiled")
