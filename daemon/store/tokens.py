"""Auth tokens and API keys in the database: `api.ports.Tokens`.

A token is looked up by its SHA-256, which is all that is kept of it; the time of a look-up says nothing of it.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from api.ports import Document, DocumentMissing, TokenIdentity
from daemon.store import queries
from daemon.store.records import digest_of, document_of, text_at

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence
    from types import EllipsisType

    from daemon.store.change import Change
    from daemon.store.database import Database

ID_LENGTH = 16  # hex digits of a token's digest that name it: enough for no two to be the same
DIGEST_SIZE = 32  # bytes of a SHA-256
MAX_TOKEN = 256  # characters; ours have 43
CACHE_SIZE = 10_000  # tokens in use at a time
CACHE_AGE = 60.0  # seconds after which a revocation by another process is seen
PURGE_INTERVAL = 600.0  # seconds between removals of the tokens that are over

_ID = re.compile(rf"[0-9a-f]{{{ID_LENGTH}}}", re.ASCII)
_ADD = "INSERT INTO tokens (digest, account_id, owner_id, method, expires_at) VALUES (?, ?, ?, ?, ?)"
_FIND = "SELECT account_id, owner_id, method, expires_at FROM tokens WHERE digest = ?"
_REVOKE = "DELETE FROM tokens WHERE digest = ?"
_LIST = """
SELECT lower(hex(digest)), account_id, owner_id, method, expires_at FROM tokens
WHERE expires_at IS NULL OR expires_at > ? ORDER BY account_id, expires_at
"""
_REVOKE_BY_ID = "DELETE FROM tokens WHERE digest BETWEEN ? AND ?"
_PURGE = "DELETE FROM tokens WHERE expires_at <= ?"
_API_KEY = """
SELECT k.api_key FROM api_keys k JOIN documents d ON d.account_id = k.account_id AND d.id = k.account_id
WHERE k.account_id = ? AND d.deleted = 0
"""
_RENEW_KEY = "UPDATE api_keys SET api_key = ?, digest = ? WHERE account_id = ?"
_BY_HASH = {
    "md5": (queries.BY_MD5, "pvt_md5_auth"),
    "sha": (queries.BY_SHA1, "pvt_sha1_auth"),
}


class _Known(NamedTuple):
    """A token that was looked up."""

    identity: TokenIdentity
    expires_at: float
    read_at: float


@dataclass(frozen=True, slots=True)
class ListedToken:
    """What is known of a token; from its id the token cannot be found out."""

    id: str
    account_id: str
    owner_id: str | None
    method: str
    expires_at: int | None
    """Unix seconds; None is never."""


@dataclass(slots=True)
class _Cache:
    """The tokens looked up lately, the stalest dropped first."""

    entries: OrderedDict[bytes, _Known]
    generation: int = 0
    """Grows with every removal: what was read before one must not be put in after it."""

    def put(self, digest: bytes, known: _Known, generation: int) -> None:
        if generation == self.generation:
            self.entries[digest] = known
            self.entries.move_to_end(digest)
            if len(self.entries) > CACHE_SIZE:
                self.entries.popitem(last=False)

    def drop(self, digest: bytes | None) -> None:
        self.generation += 1
        if digest is None:
            self.entries.clear()
        else:
            self.entries.pop(digest, None)


class StoredTokens:
    """Implements `api.ports.Tokens`."""

    def __init__(self, database: Database, clock: Callable[[], float], ttl: int) -> None:
        self._database = database
        self._clock = clock
        self._ttl = ttl
        self._cache = _Cache(OrderedDict())
        self._purge_at = 0.0

    async def issue(self, identity: TokenIdentity, *, ttl: int | EllipsisType | None = ...) -> str:
        """Make a token that lives for `ttl` seconds and return it; it cannot be read again.

        Without `ttl` it lives as long as the settings say, with None for ever.
        """
        token = secrets.token_urlsafe(32)
        life = self._ttl if ttl is ... else ttl
        expires_at = None if life is None else int(self._clock()) + life
        row = (digest_of(token), identity.account_id, identity.owner_id, identity.method, expires_at)
        await self._database.write(partial(self._issue, row))
        return token

    def edition(self) -> int:
        """Return another value after every end of a token and every change of a user or an account in this process."""
        return self._cache.generation

    async def identify(self, token: str) -> TokenIdentity | None:
        """Return whom the token speaks for, or None where it is unknown, revoked or over."""
        if len(token) > MAX_TOKEN:
            return None
        digest, now = digest_of(token), self._clock()
        known = self._cache.entries.get(digest)
        if known is None or now >= known.read_at + CACHE_AGE:
            known = await self._look_up(digest, now)
        return known.identity if known is not None and now < known.expires_at else None

    async def revoke(self, token: str) -> None:
        """End the token; an unknown one is no fault."""
        digest = digest_of(token)

        def job(connection: sqlite3.Connection) -> bytes:
            connection.execute(_REVOKE, (digest,))
            return digest

        await self._database.write(job, self._cache.drop)

    async def list(self) -> Sequence[ListedToken]:
        """Return the tokens that are good now, by account."""
        rows = await self._database.read(_LIST, (int(self._clock()),))
        return [ListedToken(digest[:ID_LENGTH], *rest) for digest, *rest in rows]

    async def revoke_by_id(self, token_id: str) -> bool:
        """End the token of that id, and return whether there was one."""
        if _ID.fullmatch(token_id) is None:
            return False
        first = bytes.fromhex(token_id)
        last = first.ljust(DIGEST_SIZE, b"\xff")

        def job(connection: sqlite3.Connection) -> bool:
            cursor = connection.execute(_REVOKE_BY_ID, (first, last))
            return cursor.rowcount > 0

        return await self._database.write(job, lambda _found: self._cache.drop(None))

    async def account_by_api_key(self, api_key: str) -> Document | None:
        """Return the account that has this API key, compared in constant time."""
        for *row, stored in await self._database.read(queries.BY_API_KEY, {"digest": digest_of(api_key)}):
            if _equal(stored, api_key):
                return document_of(row)
        return None

    async def api_key(self, account_id: str) -> str:
        """Return the account's API key (64 hex). Raises DocumentMissing."""
        for (api_key,) in await self._database.read(_API_KEY, (account_id,)):
            return str(api_key)
        raise DocumentMissing(account_id)

    async def renew_api_key(self, account_id: str) -> str:
        """Replace the account's API key and return the new one. Raises DocumentMissing."""
        api_key = secrets.token_hex(32)

        def job(connection: sqlite3.Connection) -> None:
            cursor = connection.execute(_RENEW_KEY, (api_key, digest_of(api_key), account_id))
            if cursor.rowcount == 0:
                raise DocumentMissing(account_id)

        await self._database.write(job)
        return api_key

    async def user_by_credentials(self, account_id: str, method: str, credentials: str) -> Document | None:
        """Return the enabled user whose md5 or sha1 login hash this is (contract 3.3), compared in constant time."""
        if method not in _BY_HASH:
            return None
        sql, key = _BY_HASH[method]
        for row in await self._database.read(sql, {"account_id": account_id, "digest": digest_of(credentials)}):
            user = document_of(row)
            if _equal(text_at(user.private, key) or "", credentials) and user.data.get("enabled", True) is True:
                return user
        return None

    def forget(self, changes: Sequence[Change]) -> None:
        """Look every token up anew where a user or an account changed: its tokens may have ended with that."""
        if any(change.old is not None and change.old.kind.value != "device" for change in changes):
            self._cache.drop(None)

    def _issue(self, row: tuple[object, ...], connection: sqlite3.Connection) -> None:
        connection.execute(_ADD, row)
        now = self._clock()
        if now >= self._purge_at:
            connection.execute(_PURGE, (int(now),))
            self._purge_at = now + PURGE_INTERVAL

    async def _look_up(self, digest: bytes, now: float) -> _Known | None:
        generation = self._cache.generation
        for account_id, owner_id, method, expires_at in await self._database.read(_FIND, (digest,)):
            end = float("inf") if expires_at is None else expires_at
            known = _Known(TokenIdentity(account_id, owner_id, method), end, now)
            self._cache.put(digest, known, generation)
            return known
        return None


def token_id_of(token: str) -> str:
    """Return the id by which a token is listed."""
    return digest_of(token).hex()[:ID_LENGTH]


def _equal(stored: str, given: str) -> bool:
    return hmac.compare_digest(stored.encode("utf-8", "surrogatepass"), given.encode("utf-8", "surrogatepass"))
