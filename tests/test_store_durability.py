"""What was answered is there after SIGKILL, and two processes share the file."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING

import pytest
from owners import load

from api.ports import Draft, Kind, PageQuery

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from daemon.store import Store

WRITE_FOR_EVER = """
import asyncio, sys
from pathlib import Path

from api.ports import Draft, Kind
from daemon.store import Store
from sip.flow import Address, Flow, Transport
from sip.location import Binding, BindingChanges
from sip.aor import aor_of


async def main():
    path, account_id, name = sys.argv[1:]
    store = await Store.open(Path(path))

    async def create(worker):
        number = 0
        while True:
            document_id = f"{name}-{worker}-{number}"
            await store.documents.create(Draft(Kind.DEVICE, account_id, document_id, {"name": document_id}))
            print("device", document_id, flush=True)
            number += 1

    def register(number):
        user = f"{name}-{number}"
        flow = Flow.between(Transport.UDP, Address("10.0.0.1", 5060), Address("10.0.0.9", 5062))
        binding = Binding(
            aor=aor_of(user, "example.org"), account_id=account_id, device_id=user, contact=f"sip:{user}@10.0.0.9",
            flow=flow, call_id="1", cseq=1, expires_at=1e12, granted=60, first_registered=0.0, registered_at=0.0,
        )

        def done(error):
            print("binding" if error is None else "failed", binding.aor, flush=True)
            register(number + 8)

        store.bindings.save(BindingChanges(put=(binding,)), done)

    for number in range(8):
        register(number)
    await asyncio.gather(*map(create, range(8)))


asyncio.run(main())
"""


@pytest.fixture
async def account_id(store: Store) -> str:
    return (await store.create_master("Master", "master.example")).account_id


async def start_writer(path: Path, account_id: str, name: str) -> asyncio.subprocess.Process:
    arguments = (sys.executable, "-c", WRITE_FOR_EVER, str(path), account_id, name)
    return await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE)


async def answers(writer: asyncio.subprocess.Process) -> AsyncIterator[tuple[str, str]]:
    assert writer.stdout is not None
    async for line in writer.stdout:
        kind, _, name = line.decode().rstrip().partition(" ")
        if line.endswith(b"\n") and kind in ("device", "binding", "failed"):
            yield kind, name


async def kill_after(writer: asyncio.subprocess.Process, count: int) -> list[tuple[str, str]]:
    """Kill the writer once it has answered so often, and return all that it answered."""
    seen: list[tuple[str, str]] = []
    async for answer in answers(writer):
        seen.append(answer)
        if len(seen) == count:
            writer.send_signal(signal.SIGKILL)
    await writer.wait()
    return seen


@pytest.mark.parametrize("count", [1, 50, 333])
async def test_what_was_answered_survives_a_kill(store: Store, store_path: Path, account_id: str, count: int) -> None:
    """Every device and every binding that a process told of before SIGKILL is read by the next one."""
    writer = await start_writer(store_path, account_id, "w")
    answered = await asyncio.wait_for(kill_after(writer, count), 60)

    devices = {found.id for found in await store.documents.page(PageQuery(Kind.DEVICE, account_id))}
    bindings = {loaded.aor for loaded in await load(store.bindings)}
    assert len(answered) >= count
    assert {name for kind, name in answered if kind == "device"} <= devices
    assert {name for kind, name in answered if kind == "binding"} <= bindings
    assert [name for kind, name in answered if kind == "failed"] == []


async def test_two_processes_write_at_once(store: Store, store_path: Path, account_id: str) -> None:
    """Neither is refused by the other's lock, and both see all of it."""
    writer = await start_writer(store_path, account_id, "theirs")
    killing = asyncio.create_task(kill_after(writer, 200))
    ours = 0
    while not killing.done():
        await store.documents.create(Draft(Kind.DEVICE, account_id, f"ours-{ours}", {}))
        ours += 1
    answered = await killing

    found = {found.id for found in await store.documents.page(PageQuery(Kind.DEVICE, account_id))}
    assert [name for kind, name in answered if kind == "failed"] == []
    assert {f"ours-{number}" for number in range(ours)} <= found
    assert {name for kind, name in answered if kind == "device"} <= found
