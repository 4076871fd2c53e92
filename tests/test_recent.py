"""Documents that were read lately."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.ports import Document, Draft, Kind
from daemon.provisioning import Provisioning
from daemon.recent import FRESH_FOR, MAX_DOCUMENTS, RecentDocuments

if TYPE_CHECKING:
    from daemon.store import Store


def _document(document_id: str) -> Document:
    return Document(Kind.DEVICE, "acme", document_id, "1-a", 0, 0, {}, {})


def _key(document_id: str) -> tuple[Kind, str, str]:
    return Kind.DEVICE, "acme", document_id


def test_what_was_read_before_a_commit_is_not_remembered_after_it() -> None:
    """A slow reader must not bring an old revision back."""
    recent = RecentDocuments(lambda: 0.0)
    moment = recent.moment
    recent.committed(_document("d1"))
    recent.remember(_key("d1"), _document("d1"), moment)

    assert recent.find(_key("d1")) is None


def test_the_least_recently_used_goes_first() -> None:
    recent = RecentDocuments(lambda: 0.0)
    for number in range(MAX_DOCUMENTS):
        recent.remember(_key(str(number)), _document(str(number)), 0)
    recent.find(_key("0"))
    recent.remember(_key("new"), _document("new"), 0)

    assert recent.find(_key("0")) is not None
    assert recent.find(_key("1")) is None


def test_what_is_remembered_is_read_anew_after_a_moment() -> None:
    """Another process may have written it."""
    now = 0.0
    recent = RecentDocuments(lambda: now)
    recent.remember(_key("d1"), _document("d1"), 0)
    assert recent.find(_key("d1")) is not None

    now = FRESH_FOR
    assert recent.find(_key("d1")) is None


class Nobody:
    """Flushes nothing."""

    async def flush_device(self, account_id: str, device_id: str) -> None:
        """There are no phones here."""


async def test_every_read_after_a_write_sees_it(store: Store) -> None:
    """Through create, replace and delete."""
    account_id = (await store.create_master("acme", "acme.test")).account_id
    documents = Provisioning(store.documents, listeners=[], flusher=Nobody())
    first = await documents.create(Draft(Kind.DEVICE, account_id, "d1", {"name": "one"}))
    assert await documents.get(Kind.DEVICE, account_id, "d1") == first
    second = await documents.replace(Draft(Kind.DEVICE, account_id, "d1", {"name": "two"}), revision=first.revision)
    assert await documents.get(Kind.DEVICE, account_id, "d1") == second
    assert await documents.get(Kind.DEVICE, account_id, "d1") is await documents.get(Kind.DEVICE, account_id, "d1")

    await documents.delete(Kind.DEVICE, account_id, "d1", revision=second.revision)
    assert await documents.get(Kind.DEVICE, account_id, "d1") is None
