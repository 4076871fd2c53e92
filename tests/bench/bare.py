"""The least that aiohttp can do: one handler that returns bytes ready made. `python bare.py PORT FILE`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import uvloop
from aiohttp import web
from processes import ServerProcess, free_port, listens


async def serve(port: int, body: bytes) -> None:
    """Serve the body at /."""

    async def handle(_request: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    app = web.Application()
    app.router.add_get("/", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


class Bare(ServerProcess):
    """The server as a process of its own."""

    def __init__(self, directory: Path, body: bytes) -> None:
        directory.mkdir()
        self.port = free_port()
        (directory / "body").write_bytes(body)
        super().__init__([sys.executable, __file__, str(self.port), str(directory / "body")], directory)
        self.wait_until(lambda: listens(self.port))


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), Path(sys.argv[2]).read_bytes()))
