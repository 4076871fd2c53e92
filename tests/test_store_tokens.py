"""Auth tokens and API keys in the database."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from typing import TYPE_CHECKING

import pytest

from api.ports import DocumentMissing, Draft, Kind, TokenIdentity
from daemon.store import NewAccount, Store
from daemon.store import tokens as tokens_module
from daemon.store.tokens import CACHE_AGE, PURGE_INTERVAL

if TYPE_CHECKING:
    from pathlib import Path

    from api.ports import Document
    from tests.conftest import HandClock


@pytest.fixture
async def master(store: Store) -> NewAccount:
    return await store.create_master("Master", "master.example")


@pytest.fixture
def identity(master: NewAccount) -> TokenIdentity:
    return TokenIdentity(master.account_id, None, "cb_api_auth")


async def add_user(store: Store, account_id: str, user_id: str, md5: str, *, enabled: bool = True) -> Document:
    private = {"pvt_md5_auth": md5, "pvt_sha1_auth": md5 + "0" * 8}
    return await store.documents.create(Draft(Kind.USER, account_id, user_id, {"enabled": enabled}, private))


async def test_token_speaks_for_its_identity(store: Store, identity: TokenIdentity) -> None:
    """Each token is another one, and 256 bits long."""
    user = TokenIdentity(identity.account_id, "u1", "cb_user_auth")
    first, second = await store.tokens.issue(identity), await store.tokens.issue(user)

    assert first != second
    assert re.fullmatch("[A-Za-z0-9_-]{43}", first)
    assert await store.tokens.identify(first) == identity
    assert await store.tokens.identify(second) == user


@pytest.mark.parametrize("unknown", ["", "x", "\udcff", "a" * 10_000_000], ids=["empty", "x", "surrogate", "long"])
async def test_unknown_token_is_nobody(store: Store, unknown: str) -> None:
    """Whatever a client sends as a token."""
    assert await store.tokens.identify(unknown) is None
    assert await store.tokens.account_by_api_key(unknown[:100]) is None


@pytest.mark.parametrize(("ttl", "life"), [(..., 3600), (5, 5)], ids=["settings", "given"])
async def test_token_ends_on_the_second(
    store: Store, identity: TokenIdentity, clock: HandClock, ttl: int, life: int
) -> None:
    """Also where it is used all the time and so is in memory."""
    token = await store.tokens.issue(identity, ttl=ttl)
    clock.now += life - 1
    assert await store.tokens.identify(token) == identity
    clock.now += 1
    assert await store.tokens.identify(token) is None


async def test_token_without_end_lives_on(store: Store, identity: TokenIdentity, clock: HandClock) -> None:
    """`roost token create --ttl never`."""
    token = await store.tokens.issue(identity, ttl=None)
    clock.now += 100 * 366 * 86400
    await store.tokens.issue(identity)
    assert await store.tokens.identify(token) == identity


async def test_revoked_token_is_nobody_at_once(store: Store, identity: TokenIdentity) -> None:
    """Whether it was in memory or not; revoking an unknown one is no fault."""
    used, unused = await store.tokens.issue(identity), await store.tokens.issue(identity)
    await store.tokens.identify(used)
    for token in (used, unused, "unknown"):
        await store.tokens.revoke(token)
        assert await store.tokens.identify(token) is None


async def test_token_looked_up_while_it_is_revoked_is_not_remembered(store: Store, identity: TokenIdentity) -> None:
    """A look-up that began before the revocation and ends after it must not keep the token alive."""
    tokens = [await store.tokens.issue(identity) for _ in range(20)]
    for token in tokens:
        await asyncio.gather(store.tokens.identify(token), store.tokens.revoke(token), store.tokens.identify(token))
        assert await store.tokens.identify(token) is None


async def test_token_of_another_process_is_known_at_once(
    store: Store, store_path: Path, identity: TokenIdentity, clock: HandClock
) -> None:
    """`roost token create` beside the daemon; its revocation is seen within CACHE_AGE."""
    other = await Store.open(store_path, clock=clock)
    token = await other.tokens.issue(identity)
    assert await store.tokens.identify(token) == identity
    await other.tokens.revoke(token)
    await other.close()

    clock.now += CACHE_AGE
    assert await store.tokens.identify(token) is None


async def test_tokens_in_memory_are_bounded(
    store: Store, identity: TokenIdentity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest is looked up again."""
    monkeypatch.setattr(tokens_module, "CACHE_SIZE", 3)
    tokens = [await store.tokens.issue(identity) for _ in range(5)]
    for token in tokens * 2:
        assert await store.tokens.identify(token) == identity
    assert len(store.tokens._cache.entries) == 3


async def test_file_holds_no_token_and_loses_those_that_are_over(
    store: Store, store_path: Path, identity: TokenIdentity, clock: HandClock
) -> None:
    """What is stored of a token does not let anyone in."""
    old = [await store.tokens.issue(identity) for _ in range(3)]
    clock.now += PURGE_INTERVAL + 3600
    new = await store.tokens.issue(identity)

    other = sqlite3.connect(store_path)
    assert other.execute("SELECT count(*) FROM tokens").fetchone() == (1,)
    other.close()
    content = b"".join(path.read_bytes() for path in store_path.parent.iterdir())
    assert not any(token.encode() in content for token in (*old, new))


async def test_api_key_can_be_read_used_and_renewed(store: Store, master: NewAccount) -> None:
    """64 hex; the old one is worth nothing after it was replaced (contract 4.6)."""
    assert re.fullmatch("[0-9a-f]{64}", master.api_key)
    assert await store.tokens.api_key(master.account_id) == master.api_key
    found = await store.tokens.account_by_api_key(master.api_key)
    assert found is not None
    assert found.id == master.account_id

    renewed = await store.tokens.renew_api_key(master.account_id)
    assert renewed != master.api_key
    assert await store.tokens.api_key(master.account_id) == renewed
    assert await store.tokens.account_by_api_key(master.api_key) is None
    assert await store.tokens.account_by_api_key(renewed) == found
    with pytest.raises(DocumentMissing):
        await store.tokens.api_key("nowhere")
    with pytest.raises(DocumentMissing):
        await store.tokens.renew_api_key("nowhere")


async def test_user_is_found_by_login_hash(store: Store, master: NewAccount) -> None:
    """By md5 or sha1, exactly, in its account, and only while enabled (contract 3.3)."""
    user = await add_user(store, master.account_id, "u1", "a" * 32)
    await add_user(store, master.account_id, "u2", "b" * 32, enabled=False)
    find = store.tokens.user_by_credentials

    assert await find(master.account_id, "md5", "a" * 32) == user
    assert await find(master.account_id, "sha", "a" * 32 + "0" * 8) == user
    assert await find(master.account_id, "sha", "a" * 32) is None
    assert await find(master.account_id, "md5", "A" * 32) is None
    assert await find(master.account_id, "md5", "b" * 32) is None
    assert await find(master.account_id, "other", "a" * 32) is None
    assert await find("nowhere", "md5", "a" * 32) is None


@pytest.mark.parametrize("change", ["password", "disabled", "deleted", "name"])
async def test_what_ends_the_tokens_of_a_user(store: Store, master: NewAccount, change: str) -> None:
    """A new password, being disabled and being deleted do (contract 3.2); another change does not."""
    user = await add_user(store, master.account_id, "u1", "a" * 32)
    identity = TokenIdentity(master.account_id, "u1", "cb_user_auth")
    token = await store.tokens.issue(identity)
    assert await store.tokens.identify(token) == identity

    if change == "deleted":
        await store.documents.delete(Kind.USER, master.account_id, "u1", revision=user.revision)
    else:
        data = {**user.data, "enabled": change != "disabled", "first_name": "new"}
        private = {"pvt_md5_auth": ("c" if change == "password" else "a") * 32}
        draft = Draft(Kind.USER, master.account_id, "u1", data, private)
        await store.documents.replace(draft, revision=user.revision)

    assert await store.tokens.identify(token) == (identity if change == "name" else None)
