"""Accounts: the tree of tenants (contract 4.6)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from api.auth import ancestors, is_below, may_touch
from api.call import Answer, is_true
from api.documents import (
    chosen_id,
    combine,
    create,
    created,
    delete,
    find_conflicts,
    refuse_if,
    save,
    strip_private,
)
from api.errors import AccountHasDescendants, Forbidden, InvalidCredentials, MethodNotAllowed
from api.filters import parse_filters
from api.listing import passes
from api.ports import Draft, Kind
from api.routing import Access, Route
from api.schemas import Schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.call import Call
    from api.ports import Document, JsonObject

ACCOUNT: Final = Schema("accounts")
ID_LENGTH: Final = 32

COMPUTED: Final = frozenset(
    {
        "api_key",
        "billing_mode",
        "created",
        "enabled",
        "is_reseller",
        "notification_preference",
        "reseller_id",
        "superduper_admin",
        "trial_time_left",
        "wnm_allow_additions",
    }
)
"""Keys of an answer that are no part of what is stored; in a body they are dropped."""


async def create_account(call: Call) -> Answer:
    """PUT /accounts: an account below the token's own."""
    parent = await call.own_account()
    if parent is None:
        raise InvalidCredentials
    return await _create_below(call, parent)


async def create_child(call: Call) -> Answer:
    """PUT /accounts/{A}: an account below this one."""
    return await _create_below(call, call.account)


async def read_account(call: Call) -> Answer:
    """GET /accounts/{A}."""
    data = _shown(call.account)
    if is_true(call.value("include_api_key")):
        data["api_key"] = await call.ports.tokens.api_key(call.account.id)
    return Answer(data, revision=call.account.revision)


async def replace_account(call: Call) -> Answer:
    """POST /accounts/{A}."""
    return await _change(call, merge=False)


async def patch_account(call: Call) -> Answer:
    """PATCH /accounts/{A}."""
    return await _change(call, merge=True)


async def delete_account(call: Call) -> Answer:
    """DELETE /accounts/{A}: not the master account, and none that has accounts below it."""
    if not ancestors(call.account):
        raise MethodNotAllowed
    if await call.ports.documents.children(call.account.id):
        raise AccountHasDescendants
    account = await delete(call, call.account)
    return Answer(_shown(account), revision=account.revision)


async def list_children(call: Call) -> Answer:
    """GET /accounts/{A}/children."""
    return _listed(call, await call.ports.documents.children(call.account.id))


async def list_descendants(call: Call) -> Answer:
    """GET /accounts/{A}/descendants."""
    return _listed(call, await call.ports.documents.descendants(call.account.id))


async def list_siblings(call: Call) -> Answer:
    """GET /accounts/{A}/siblings: for whoever may see the account above."""
    above = ancestors(call.account)
    if not above:
        return _listed(call, (call.account,))
    parent = await call.ports.documents.get(Kind.ACCOUNT, above[-1], above[-1])
    if parent is None or not (may_touch(call.caller, parent) or await call.is_superduper()):
        raise Forbidden
    return _listed(call, await call.ports.documents.children(parent.id))


async def list_parents(call: Call) -> Answer:
    """GET /accounts/{A}/parents and /tree: the accounts above, as far up as the token may see, the topmost first."""
    superduper = await call.is_superduper()
    found = [await call.ports.documents.get(Kind.ACCOUNT, each, each) for each in ancestors(call.account)]
    rows = [
        {"id": account.id, "name": account.data.get("name")}
        for account in found
        if account is not None and (superduper or may_touch(call.caller, account))
    ]
    return Answer(list(rows), etag=bool(rows), extra={"page_size": len(rows)})


async def read_api_key(call: Call) -> Answer:
    """GET /accounts/{A}/api_key."""
    return Answer({"api_key": await call.ports.tokens.api_key(call.account.id)})


async def renew_api_key(call: Call) -> Answer:
    """PUT /accounts/{A}/api_key: the old key stops working."""
    return Answer({"api_key": await call.ports.tokens.renew_api_key(call.account.id)}, status=201)


async def _create_below(call: Call, parent: Document) -> Answer:
    wanted = chosen_id(call.body())
    account_id = wanted if wanted is not None and len(wanted) == ID_LENGTH else os.urandom(16).hex()
    private: JsonObject = {"pvt_tree": [*ancestors(parent), parent.id], "pvt_enabled": True}

    async def prepare(call: Call, data: JsonObject, _: Document | None) -> Draft:
        return await _prepare(call, data, Draft(Kind.ACCOUNT, account_id, account_id, {}, private), None)

    account = await create(call, prepare, strip_private(call.body()))
    answer = created(account)
    return Answer(_shown(account), status=201, revision=answer.revision, location=answer.location)


async def _change(call: Call, *, merge: bool) -> Answer:
    private = await _enabling(call)

    async def prepare(call: Call, data: JsonObject, stored: Document | None) -> Draft:
        return await _prepare(call, data, Draft(Kind.ACCOUNT, call.account.id, call.account.id, {}, private), stored)

    account = await save(call, call.account, prepare, merge=merge)
    return Answer(_shown(account), revision=account.revision)


async def _enabling(call: Call) -> JsonObject:
    """Return what `enabled` in the body changes: an account is switched by those above it, never by itself."""
    enabled = call.body().get("enabled")
    if not isinstance(enabled, bool):
        return {}
    if is_below(call.account, call.caller.account_id) or await call.is_superduper():
        return {"pvt_enabled": enabled}
    return {}


async def _prepare(call: Call, data: JsonObject, draft: Draft, stored: Document | None) -> Draft:
    kept = {key: value for key, value in data.items() if key not in COMPUTED}
    if "realm" not in kept:
        kept["realm"] = stored.data["realm"] if stored is not None else _random_realm(call)
    account, faults = ACCOUNT.check(kept)
    draft = Draft(draft.kind, draft.account_id, draft.id, account, draft.private)
    refuse_if(combine(faults, await find_conflicts(call, draft, faults)))
    return draft


def _random_realm(call: Call) -> str:
    return f"{os.urandom(3).hex()}.{call.policy.account_realm_suffix}"


def _shown(account: Document) -> JsonObject:
    above = ancestors(account)
    return {
        **account.data,
        "id": account.id,
        "billing_mode": "manual",
        "created": account.created,
        "enabled": account.private.get("pvt_enabled") is not False,
        "is_reseller": account.private.get("pvt_reseller") is True,
        "reseller_id": above[0] if above else account.id,
        "superduper_admin": account.private.get("pvt_superduper_admin") is True,
        "wnm_allow_additions": False,
    }


def _listed(call: Call, accounts: Sequence[Document]) -> Answer:
    filters = parse_filters(call.query)
    rows = [_row(account) for account in accounts if passes(account, filters)]
    return Answer(list(rows), etag=bool(rows), extra={"page_size": len(rows)})


def _row(account: Document) -> JsonObject:
    return {
        "id": account.id,
        "name": account.data.get("name"),
        "realm": account.data.get("realm"),
        "tree": list(ancestors(account)),
    }


_ONE: Final = "/accounts/{account_id}"
_ROWS: Final = "account_rows"

ROUTES: Final[tuple[Route, ...]] = (
    Route("PUT", "/accounts", create_account, "Create an account", Access.TOKEN, "accounts", "account"),
    Route("GET", _ONE, read_account, "Read an account", answer="account", query=("include_api_key",)),
    Route("PUT", _ONE, create_child, "Create an account below", body="accounts", answer="account"),
    Route("POST", _ONE, replace_account, "Replace an account", body="accounts", answer="account"),
    Route("PATCH", _ONE, patch_account, "Change an account", body="patch", answer="account"),
    Route("DELETE", _ONE, delete_account, "Delete an account", answer="account"),
    Route("GET", f"{_ONE}/children", list_children, "List the accounts right below", answer=_ROWS),
    Route("GET", f"{_ONE}/descendants", list_descendants, "List all accounts below", answer=_ROWS),
    Route("GET", f"{_ONE}/siblings", list_siblings, "List the accounts beside", answer=_ROWS),
    Route("GET", f"{_ONE}/parents", list_parents, "List the accounts above", answer=_ROWS),
    Route("GET", f"{_ONE}/tree", list_parents, "List the accounts above", answer=_ROWS),
    Route("GET", f"{_ONE}/api_key", read_api_key, "Read the API key", answer="api_key"),
    Route("PUT", f"{_ONE}/api_key", renew_api_key, "Make a new API key", answer="api_key"),
)
