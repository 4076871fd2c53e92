"""The fuzzer's target over the corpus, and a short run of the fuzzer itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from judged_input import Judge

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).parent
SEEDS = sorted((TESTS / "data" / "sip").glob("*.sip"))
CORPUS = TESTS.parents[1] / "shared" / "corpus"
OTHERS = sorted((*CORPUS.glob("rfc4475/*.dat"), *CORPUS.glob("phones/*.sip")))
RUNS = 3000


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    judge = Judge()
    yield judge
    judge.close()


@pytest.mark.parametrize("file", [*SEEDS, *OTHERS], ids=lambda file: file.stem)
def test_message_and_each_beginning_of_it_hold(judge: Judge, file: Path) -> None:
    """Whole, cut at every offset, and with each line taken out."""
    wire = file.read_bytes()
    lines = wire.split(b"\r\n")
    judge(wire)
    for offset in range(0, len(wire), 1 + len(wire) // 200):
        judge(wire[:offset])
    for number in range(len(lines)):
        judge(b"\r\n".join(lines[:number] + lines[number + 1 :]))


def test_fuzzer_finds_nothing_in_a_short_run(tmp_path: Path) -> None:
    """The same run each time: `make fuzz` goes on from there."""
    if find_spec("atheris") is None:
        reason = "atheris is not installed: pip install -e '.[fuzz]'"
        if os.environ.get("ROOST_REQUIRE_PEERS") == "1" and sys.version_info < (3, 14):
            pytest.fail(reason)
        pytest.skip(reason)
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for seed in SEEDS:
        shutil.copy(seed, corpus)
    done = subprocess.run(
        [
            sys.executable, str(TESTS / "fuzz" / "fuzz.py"), f"-runs={RUNS}", "-seed=4475", "-max_len=4096",
            f"-dict={TESTS / 'fuzz' / 'sip.dict'}", f"-artifact_prefix={tmp_path}/", str(corpus),
        ],
        capture_output=True, text=True, timeout=300, check=False, cwd=TESTS.parent,
    )  # fmt: skip

    assert 0 == done.returncode, done.stderr[-4000:]
    assert f"Done {RUNS} runs" in done.stderr
