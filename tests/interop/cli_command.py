"""Commands run beside a daemon, to their end or while they go on."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from roost_process import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from roost_process import Roost

LIMIT = 30.0


def run(daemon: Roost, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        daemon._command(*words), cwd=REPOSITORY, input=stdin, capture_output=True, text=True, timeout=LIMIT, check=False
    )


def facts(daemon: Roost, *words: str, stdin: str = "") -> Any:
    """Return what a command says with --json, once it has succeeded."""
    done = run(daemon, *words, "--json", stdin=stdin)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@contextmanager
def lines_of(daemon: Roost, *words: str, **variables: str) -> Iterator[tuple[subprocess.Popen[bytes], list[str]]]:
    """Run a command that goes on, and collect the lines that it prints while the event loop runs."""
    loop = asyncio.get_running_loop()
    lines: list[str] = []
    rest = [b""]
    environ = {**os.environ, "PYTHONUNBUFFERED": "1", **variables}
    with subprocess.Popen(
        daemon._command(*words), cwd=REPOSITORY, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        descriptor = process.stdout.fileno()

        def read() -> None:
            data = os.read(descriptor, 65536)
            if not data:
                loop.remove_reader(descriptor)
            *whole, rest[0] = (rest[0] + data).split(b"\n")
            lines.extend(line.decode() for line in whole)

        loop.add_reader(descriptor, read)
        try:
            yield process, lines
        finally:
            loop.remove_reader(descriptor)
            process.kill()
