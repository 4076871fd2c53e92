"""The README's `curl` lines, run as they stand there against a daemon."""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from roost_process import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable

    from roost_process import Roost

pytestmark = pytest.mark.interop

BLOCK = re.compile(r"<!-- api -->\n```sh\n(.*?)```", re.DOTALL)


def test_the_api_lines_of_the_readme_work(roost: Roost, peer: Callable[[str], None]) -> None:
    """Each line does what it says; the quickcall is answered at once, whatever becomes of it (contract 5.10)."""
    peer("curl")
    peer("jq")
    match = BLOCK.search((REPOSITORY / "README.md").read_text(encoding="utf-8"))
    assert match is not None
    script = match[1].replace("127.0.0.1:8000", f"{roost.host}:{roost.api_port}")
    done = subprocess.run(
        ["bash", "-euo", "pipefail"],
        input=script.replace('-H "$TOKEN"', '-H "$TOKEN" -w "\\n"'),
        env=os.environ | {"KEY": roost.api_key},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    listed, status, patched, synced, _called, _deleted = answers

    assert done.returncode == 0, done.stderr
    assert {answer["status"] for answer in answers} == {"success"}
    assert any(row["name"] == "Desk" for row in listed["data"])
    assert isinstance(status["data"], list)
    assert patched["data"]["name"] == "Front desk"
    assert synced["data"] == "sync request sent"
