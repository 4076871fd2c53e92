"""The server follows its own OpenAPI document: schemathesis, which is not ours, asks it thousands of odd things."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

import pytest
from api_client import Api
from structlog.testing import capture_logs

from api.policy import Policy
from api.ports import Kind, PageQuery

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_aiohttp.plugin import AiohttpClient

    from daemon.store import Store

CHECKS = "status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance"
LIMIT = 600  # seconds
MADE = 10  # devices at least, or the requests never got far


async def run(api: Api, directory: Path, *options: str) -> str:
    """Let schemathesis loose on the API; returns what it printed where it found something."""
    device, user = await api.put_device(sip={"username": "bob", "password": "secret"}), await api.put_user()
    hook = {"name": "w", "uri": "http://192.0.2.1/", "hook": "all"}
    webhook = (await api.ask("PUT", "/webhooks", data=hook, status=201))["data"]
    (directory / "schemathesis.toml").write_text(
        "[parameters]\n"
        f'"path.account_id" = "{api.master.account_id}"\n'
        f'"path.device_id" = "{device["id"]}"\n'
        f'"path.user_id" = "{user["id"]}"\n'
        f'"path.webhook_id" = "{webhook["id"]}"\n'
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "run", str(api.client.make_url("/v2/openapi.json"))),
        *("--exclude-path-regex", "/events$"),  # its answer does not end
        *("--checks", CHECKS, "--header", f"X-Auth-Token: {api.token}", "--workers", "1", "--seed", "1", "--no-color"),
        *("--warnings", "off", "--continue-on-failure", "--generation-database", "none", *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=directory,
        env={**os.environ, "HOME": str(directory)},
    )
    try:
        printed, _ = await asyncio.wait_for(process.communicate(), LIMIT)
    finally:
        if process.returncode is None:
            process.kill()
    return "" if process.returncode == 0 else printed.decode()


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        pytest.param(("--exclude-method", "DELETE", "--max-examples", "15"), id="reads-and-writes"),
        pytest.param(("--include-method", "DELETE", "--max-examples", "10"), id="deletions"),
    ],
)
async def test_server_follows_its_document(
    aiohttp_client: AiohttpClient, store: Store, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """No answer outside the document, and no fault of ours behind one."""
    policy = Policy(rate_capacity=1_000_000, rate_per_second=1_000.0)
    api = await Api.start(aiohttp_client, store, policy)
    with capture_logs() as logs:
        printed = await run(api, tmp_path, *options)

    assert printed == ""
    # The one fault that Kazoo answers with 500 where nothing broke: a quickcall with no device to ring.
    faults = [entry for entry in logs if entry["log_level"] in ("warning", "error")]
    assert [entry for entry in faults if "/quickcall/" not in entry["route"]] == []
    if options[0] == "--exclude-method":
        assert len(await store.documents.page(PageQuery(Kind.DEVICE, api.master.account_id))) > MADE
