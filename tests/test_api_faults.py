"""What the API answers when something behind it fails (contract 2.3)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from api_client import Api, ApiServer, LoggedControl, LoggedQuickcalls, TablePresence, TableStatuses, TableTraces
from structlog.testing import capture_logs

from api.documents import MAX_TRIES
from api.errors import CATALOGUE, ApiError, refuse
from api.ports import Document, Kind, PortError, Ports, RevisionMoved, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from pytest_aiohttp.plugin import AiohttpClient

    from api.ports import Documents, Draft, PageQuery, Violation
    from daemon.store import Store


class FailingDocuments:
    """Documents behind a switch: implements `api.ports.Documents` over another one."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self.failure: Exception | None = None
        self.moves = 0
        """How many writes still find that another process was faster."""

    def _check(self) -> None:
        if self.failure is not None:
            raise self.failure

    def _move(self) -> None:
        if self.moves:
            self.moves -= 1
            raise RevisionMoved

    async def get(self, kind: Kind, account_id: str, document_id: str) -> Document | None:
        return await self._documents.get(kind, account_id, document_id)

    def edition(self) -> Hashable:
        return self._documents.edition()

    async def page(self, query: PageQuery) -> Sequence[Document]:
        self._check()
        return await self._documents.page(query)

    async def children(self, account_id: str) -> Sequence[Document]:
        return await self._documents.children(account_id)

    async def descendants(self, account_id: str) -> Sequence[Document]:
        return await self._documents.descendants(account_id)

    async def account_by_realm(self, realm: str) -> Document | None:
        return await self._documents.account_by_realm(realm)

    async def accounts_by_name(self, name: str) -> Sequence[Document]:
        return await self._documents.accounts_by_name(name)

    async def conflicts(self, draft: Draft) -> Sequence[Violation]:
        return await self._documents.conflicts(draft)

    async def create(self, draft: Draft) -> Document:
        self._check()
        return await self._documents.create(draft)

    async def replace(self, draft: Draft, *, revision: str) -> Document:
        self._check()
        self._move()
        return await self._documents.replace(draft, revision=revision)

    async def delete(self, kind: Kind, account_id: str, document_id: str, *, revision: str) -> Document:
        self._check()
        self._move()
        return await self._documents.delete(kind, account_id, document_id, revision=revision)


@pytest.fixture
async def failing(aiohttp_client: AiohttpClient, store: Store) -> tuple[Api, FailingDocuments]:
    api = await Api.start(aiohttp_client, store)
    documents = FailingDocuments(store.documents)
    presence = TablePresence()
    ports = Ports(
        documents,
        store.tokens,
        presence,
        LoggedControl(store),
        LoggedQuickcalls(),
        api.jobs,
        statuses=TableStatuses(presence),
        events=api.events,
        webhooks=api.webhooks,
        channels=api.channels,
        cdrs=store.cdrs,
        traces=TableTraces(),
    )
    api.client, api.presence = await aiohttp_client(ApiServer(ports)), presence
    return api, documents


async def test_unavailable_store(failing: tuple[Api, FailingDocuments]) -> None:
    """Reads and writes that need the database are 503, its reason goes to the log, and memory is still served."""
    api, documents = failing
    device = await api.put_device()
    api.presence.register(api.master.account_id, device["id"])
    documents.failure = StoreUnavailable("disk full")
    path = f"/devices/{device['id']}"
    with capture_logs() as logs:
        for method, where in (
            ("GET", "/devices"),
            ("PUT", "/devices"),
            ("PATCH", path),
            ("POST", path),
            ("DELETE", path),
        ):
            envelope = await api.ask(method, where, data={"name": "n"}, status=503)

            assert envelope["message"] == "datastore_fault"
            assert envelope["data"] == {"message": "datastore fatal error"}

    assert {entry["reason"] for entry in logs if entry["event"] == "api.refused"} == {"disk full"}
    assert (await api.ask("GET", "/devices/status"))["data"] == [{"device_id": device["id"], "registered": True}]

    documents.failure = None

    assert [row["id"] for row in (await api.ask("GET", "/devices"))["data"]] == [device["id"]]


async def test_a_bug_is_logged_and_answered(failing: tuple[Api, FailingDocuments]) -> None:
    """What nobody foresaw is 500 with an envelope and a request id, and its traceback goes to the log."""
    api, documents = failing
    documents.failure = ZeroDivisionError("a bug")
    with capture_logs() as logs:
        envelope = await api.ask("GET", "/devices", status=500)

    assert (envelope["message"], envelope["data"]) == ("unspecified_fault", {"message": "unspecified fault"})
    assert [entry["event"] for entry in logs] == ["api.failed", "api.answered"]
    assert logs[0]["request_id"] == envelope["request_id"]
    assert logs[0]["exc_info"] is documents.failure


async def test_deleted_in_between(failing: tuple[Api, FailingDocuments]) -> None:
    """A write to what somebody else just deleted is 404."""
    api, _ = failing
    device = await api.put_device()
    path = f"/devices/{device['id']}"
    answers = await asyncio.gather(*(api.send("DELETE", path) for _ in range(4)))

    assert sorted(answer.status for answer in answers) == [200, 404, 404, 404]


@pytest.mark.parametrize("method", ["PATCH", "POST", "DELETE"])
async def test_another_writer_was_faster(failing: tuple[Api, FailingDocuments], method: str) -> None:
    """The write is redone on what is there now; with If-Match the client decides, and in the end it is 409."""
    api, documents = failing
    path = f"/devices/{(await api.put_device())['id']}"
    revision = (await api.ask("GET", path))["revision"]
    documents.moves = 1
    conditional = await api.send(method, path, data={"name": "m"}, headers={"If-Match": revision})
    documents.moves = MAX_TRIES
    envelope = await api.ask(method, path, data={"name": "m"}, status=409)
    documents.moves = MAX_TRIES - 1
    await api.ask(method, path, data={"name": "m"})

    assert conditional.status == 412
    assert envelope["message"] == "datastore_conflict"


def test_every_refusal_has_its_row() -> None:
    """The catalogue knows each exception of the API, and each that the ports may raise."""
    known = {*ApiError.__subclasses__(), *PortError.__subclasses__()}
    foreign = {each for each in known if not each.__module__.startswith("api.")}
    handled = {each for each in known if each.__name__ == "QuickcallFailed"}

    assert known - foreign - handled == set(CATALOGUE)
    assert refuse(ValueError()) is None


async def test_cancelled_clients_leave_whole_documents(api: Api) -> None:
    """Clients that go away in the middle leave each device either made or not."""

    async def put(number: int) -> None:
        await api.send("PUT", "/devices", data={"name": f"d{number}"})

    tasks = [asyncio.ensure_future(put(number)) for number in range(30)]
    await asyncio.sleep(0.01)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    rows = (await api.ask("GET", "/devices", params={"paginate": "false"}))["data"]

    assert {f"d{number}" for number in range(1, 30, 2)} <= {row["name"] for row in rows}
    for row in rows:
        assert (await api.ask("GET", f"/devices/{row['id']}"))["data"]["sip"]["method"] == "password"
