"""Who may speak for an account."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Hashable

    from api.ports.documents import Document


@dataclass(frozen=True, slots=True)
class TokenIdentity:
    """Whom a token speaks for."""

    account_id: str
    owner_id: str | None
    """The user, when the token came from user_auth."""
    method: str
    """`cb_api_auth` or `cb_user_auth`, Kazoo's names."""


class Tokens(Protocol):
    """Auth tokens: opaque, random, stored hashed, with an end (contract 3.2, and its list at the top)."""

    async def issue(self, identity: TokenIdentity) -> str:
        """Make a token that lives for `api.token_ttl` seconds and return it; it cannot be read again."""
        ...

    def edition(self) -> Hashable:
        """Return another value after every end of a token and every change of a user or an account in this process."""
        ...

    async def identify(self, token: str) -> TokenIdentity | None:
        """Return whom the token speaks for, or None where it is unknown, revoked or over."""
        ...

    async def revoke(self, token: str) -> None:
        """End the token; an unknown one is no fault."""
        ...

    async def account_by_api_key(self, api_key: str) -> Document | None:
        """Return the account that has this API key, compared in constant time."""
        ...

    async def api_key(self, account_id: str) -> str:
        """Return the account's API key (64 hex)."""
        ...

    async def renew_api_key(self, account_id: str) -> str:
        """Replace the account's API key and return the new one."""
        ...

    async def user_by_credentials(self, account_id: str, method: str, credentials: str) -> Document | None:
        """Return the enabled user whose md5 or sha1 login hash this is (contract 3.3), compared in constant time.

        The hashes are the user's private keys `pvt_md5_auth` and `pvt_sha1_auth`.
        """
        ...
