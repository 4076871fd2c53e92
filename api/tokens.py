"""Getting, reading and ending tokens (contract 3.2, 3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api.auth import ancestors, identify_token, is_below
from api.call import Answer
from api.documents import refuse_if
from api.errors import BadToken, InvalidCredentials, UnknownKey, ValidationFailed
from api.ports import Kind, TokenIdentity
from api.routing import Access, Route
from api.schemas import Schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.call import Call
    from api.ports import Document, Json, JsonObject

API_AUTH: Final = Schema("api_auth")
USER_AUTH: Final = Schema("user_auth")
TOKENINFO: Final = Schema("tokeninfo")
DEFAULT_LANGUAGE: Final = "en-us"


async def login_by_key(call: Call) -> Answer:
    """PUT /api_auth: an API key for a token."""
    login, faults = API_AUTH.check(call.body())
    refuse_if(faults)
    api_key = str(login["api_key"])
    account = await call.ports.tokens.account_by_api_key(api_key)
    if account is None:
        raise UnknownKey(api_key)
    _check_enabled(account)
    return await _issue(call, account, TokenIdentity(account.id, None, "cb_api_auth"))


async def login_by_user(call: Call) -> Answer:
    """PUT /user_auth: a hash of username:password for a token; every miss looks alike."""
    login, faults = USER_AUTH.check(call.body())
    refuse_if(faults)
    method, credentials = str(login["method"]), str(login["credentials"])
    for account in await _accounts_of(call, login):
        user = await call.ports.tokens.user_by_credentials(account.id, method, credentials)
        if user is not None:
            _check_enabled(account)
            identity = TokenIdentity(account.id, user.id, "cb_user_auth")
            return await _issue(call, *await _masquerade(call, account, identity, login.get("as")))
    raise InvalidCredentials


async def read_token(call: Call) -> Answer:
    """GET /token_auth: what the request's token stands for."""
    return await _describe(call, call.caller)


async def read_own_token(call: Call) -> Answer:
    """GET /user_auth/{token}: the same, for one's own token alone."""
    if call.params["token"] != call.token:
        raise InvalidCredentials
    return await _describe(call, call.caller)


async def end_token(call: Call) -> Answer:
    """DELETE /token_auth."""
    if call.token is not None:
        await call.ports.tokens.revoke(call.token)
    return Answer()


async def tell_token(call: Call) -> Answer:
    """GET or POST /auth/tokeninfo: what a token stands for; whoever has the token may ask."""
    _, faults = TOKENINFO.check(call.body())
    refuse_if(faults)
    token = call.value("token")
    if not isinstance(token, str) or not token:
        if call.identity is None:
            await identify_token(call)
        return await _describe(call, call.caller)
    identity = await call.ports.tokens.identify(token)
    if identity is None:
        raise BadToken
    return await _describe(call, identity)


async def _accounts_of(call: Call, login: JsonObject) -> Sequence[Document]:
    """Return the accounts that a login may mean: by realm, else by name, of which there may be several."""
    realm = login.get("account_realm") or login.get("realm")
    if isinstance(realm, str):
        account = await call.ports.documents.account_by_realm(realm)
        return () if account is None else (account,)
    name = login.get("account_name")
    return await call.ports.documents.accounts_by_name(name) if isinstance(name, str) else ()


async def _masquerade(
    call: Call, account: Document, identity: TokenIdentity, wanted: Json
) -> tuple[Document, TokenIdentity]:
    """Speak for the account that `as` names, where it is below the user's own; else for the user's own."""
    account_id = wanted.get("account_id") if isinstance(wanted, dict) else None
    if not isinstance(wanted, dict) or not isinstance(account_id, str):
        return account, identity
    target = await call.ports.documents.get(Kind.ACCOUNT, account_id, account_id)
    if target is None or not is_below(target, account.id):
        return account, identity
    owner_id = wanted.get("owner_id")
    return target, TokenIdentity(target.id, owner_id if isinstance(owner_id, str) else None, identity.method)


def _check_enabled(account: Document) -> None:
    if account.private.get("pvt_enabled") is False:
        raise ValidationFailed({"account": {"disabled": {"message": "account disabled"}}})


async def _issue(call: Call, account: Document, identity: TokenIdentity) -> Answer:
    token = await call.ports.tokens.issue(identity)
    return Answer(_auth_data(account, identity), status=201, extra={"auth_token": token})


async def _describe(call: Call, identity: TokenIdentity) -> Answer:
    account = await call.ports.documents.get(Kind.ACCOUNT, identity.account_id, identity.account_id)
    if account is None:
        raise InvalidCredentials
    return Answer(_auth_data(account, identity))


def _auth_data(account: Document, identity: TokenIdentity) -> JsonObject:
    above = ancestors(account)
    data: JsonObject = {
        "account_id": account.id,
        "account_name": account.data.get("name"),
        "apps": [],
        "is_master_account": account.private.get("pvt_superduper_admin") is True,
        "is_reseller": account.private.get("pvt_reseller") is True,
        "language": account.data.get("language") or DEFAULT_LANGUAGE,
        "reseller_id": above[0] if above else account.id,
    }
    if identity.owner_id is not None:
        data["owner_id"] = identity.owner_id
    return data


_LOGIN: Final = "auth_data"

ROUTES: Final[tuple[Route, ...]] = (
    Route("PUT", "/api_auth", login_by_key, "Get a token by API key", Access.OPEN, "api_auth", _LOGIN, costs=True),
    Route("PUT", "/user_auth", login_by_user, "Get a token by login", Access.OPEN, "user_auth", _LOGIN, costs=True),
    Route("GET", "/user_auth/{token}", read_own_token, "Read one's own token", Access.TOKEN, answer=_LOGIN),
    Route("GET", "/token_auth", read_token, "Read the request's token", Access.TOKEN, answer=_LOGIN),
    Route("DELETE", "/token_auth", end_token, "End the request's token", Access.TOKEN, answer="nothing"),
    Route(
        "GET",
        "/auth/tokeninfo",
        tell_token,
        "Read what a token stands for",
        Access.OPEN,
        answer=_LOGIN,
        query=("token",),
        costs=True,
    ),
    Route(
        "POST",
        "/auth/tokeninfo",
        tell_token,
        "Read what a token stands for",
        Access.OPEN,
        "tokeninfo",
        _LOGIN,
        costs=True,
    ),
)
