"""The media worker: whether pjsua2 is there, and a worker makes its two offers."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from typing import TYPE_CHECKING

from daemon.doctor.finding import Finding, fault, good, warning
from sip.media.supervisor import MISSING, MediaPolicy, MediaSupervisor, NoMedia

if TYPE_CHECKING:
    from collections.abc import Iterator


def check_worker(ports: tuple[int, int]) -> Iterator[Finding]:
    """Start a worker as a call does, on ports of the range, and let it end."""
    if find_spec("pjsua2") is None:
        yield warning("worker", "pjsua2-pybind11 is not installed", MISSING)
        return
    try:
        asyncio.run(_try_worker(ports))
    except (NoMedia, OSError) as error:
        yield fault("worker", f"no media worker answers: {error}", "calls with media=process fail; media=bypass works")
    else:
        yield good("worker", "pjsua2 loads, and a media worker answers")


async def _try_worker(ports: tuple[int, int]) -> None:
    supervisor = MediaSupervisor(MediaPolicy(workers=0, ports=ports))
    await supervisor.start()
    try:
        (await supervisor.open()).close()
    finally:
        await supervisor.close()
