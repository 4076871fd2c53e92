"""Who asks, and whether they may (contract 3).

A token is presented in `X-Auth-Token`, as the parameter `auth_token`, as `Authorization: Bearer`, or credentials as
`Authorization: Basic`; the first found counts, and an empty one is none. The path's account is looked up before
anything is said about credentials, as Kazoo does (contract 9, 4).
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final

from api.body import mend
from api.errors import BadAccountId, BadIdentifier, BadToken, Forbidden, InvalidCredentials, TooManyRequests
from api.ports import Kind, TokenIdentity
from api.routing import Access

if TYPE_CHECKING:
    from api.buckets import Buckets
    from api.call import Call
    from api.ports import Document, Json
    from api.routing import Route

ACCOUNT_ID_LENGTH: Final = 32
MAX_TOKEN: Final = 1024  # ours are far shorter
HASHES: Final = {32: "md5", 40: "sha"}
"""Which hash a Basic password is, by its length in hex."""


async def identify_token(call: Call) -> None:
    """Find whom the request's token speaks for. Raises BadToken for one that is no good."""
    token = _presented_token(call)
    if token is None:
        return
    call.token = token
    call.identity = await call.ports.tokens.identify(token) if len(token) <= MAX_TOKEN else None
    if call.identity is None:
        raise BadToken


async def identify_basic(call: Call) -> None:
    """Check `Authorization: Basic` of ACCOUNT_ID:HASH, where the hash is of `user:password`."""
    if call.identity is not None:
        return
    scheme, _, encoded = _authorization(call).partition(" ")
    if scheme.lower() != "basic":
        return
    account_id, _, credentials = _decode(encoded).partition(":")
    method = HASHES.get(len(credentials))
    if method is None or len(account_id) != ACCOUNT_ID_LENGTH:
        raise InvalidCredentials
    user = await call.ports.tokens.user_by_credentials(account_id, method, credentials)
    if user is None:
        raise InvalidCredentials
    call.identity = TokenIdentity(account_id=account_id, owner_id=user.id, method="cb_user_auth")


async def find_account(call: Call) -> None:
    """Look up the path's account. Raises BadAccountId or BadIdentifier, with or without credentials."""
    account_id = call.params["account_id"]
    if len(account_id) != ACCOUNT_ID_LENGTH:
        raise BadAccountId(account_id)
    account = await call.ports.documents.get(Kind.ACCOUNT, account_id, account_id)
    if account is None:
        raise BadIdentifier(account_id)
    call.documents[Kind.ACCOUNT] = account


def charge(call: Call, route: Route, buckets: Buckets, client: str) -> None:
    """Take from the client's bucket what costs. Raises TooManyRequests."""
    if not route.costs and (call.identity is not None or not _authorization(call)):
        return
    wait = buckets.take(f"{client}/{call.params.get('account_id', '')}")
    if wait:
        raise TooManyRequests(wait)


async def authorise(call: Call, route: Route) -> None:
    """Let the request pass, or raise InvalidCredentials or Forbidden."""
    if route.access is Access.OPEN:
        return
    if call.identity is None:
        if route.access is Access.QUICKCALL and call.policy.anonymous_quickcall:
            return
        raise InvalidCredentials
    _check_claimed_account(call, call.identity)
    if Kind.ACCOUNT in call.documents:
        if not may_touch(call.identity, call.account) and not await call.is_superduper():
            raise Forbidden
    elif await call.own_account() is None:
        raise InvalidCredentials
    if route.access is Access.SUPERDUPER and not await call.is_superduper():
        raise Forbidden


def may_touch(identity: TokenIdentity, account: Document) -> bool:
    """Return whether the account is the token's own or below it."""
    return identity.account_id == account.id or is_below(account, identity.account_id)


def is_below(account: Document, ancestor_id: str) -> bool:
    """Return whether the account descends from the other."""
    return ancestor_id in ancestors(account)


def ancestors(account: Document) -> list[str]:
    """Return the ids of the accounts above, the topmost first."""
    tree = account.private.get("pvt_tree")
    return [item for item in tree if isinstance(item, str)] if isinstance(tree, list) else []


def _check_claimed_account(call: Call, identity: TokenIdentity) -> None:
    claimed = call.headers.get("X-Auth-Account-ID")
    if claimed is not None and claimed != identity.account_id:
        raise InvalidCredentials


def _presented_token(call: Call) -> str | None:
    header = call.headers.get("X-Auth-Token")
    if header:
        return mend(header)
    parameter: Json = call.value("auth_token")
    if isinstance(parameter, str) and parameter:
        return parameter
    scheme, _, token = _authorization(call).partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _authorization(call: Call) -> str:
    header = call.headers.get("Authorization")
    if header:
        return mend(header).strip()
    parameter = call.value("authorization")
    return parameter.strip() if isinstance(parameter, str) else ""


def _decode(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
