"""Accounts: the tree, and what each may do in it (contract 4.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from api.ports import Kind

if TYPE_CHECKING:
    from api_client import Api


async def test_child_of_the_tokens_account(api: Api) -> None:
    """PUT /accounts makes an account below one's own, with a random realm unless one is given (4.6)."""
    child, token = await api.child()
    envelope = await api.ask("PUT", "/v2/accounts", data={"name": "new"}, token=token, status=201)
    account = envelope["data"]
    stored = await api.store.documents.get(Kind.ACCOUNT, account["id"], account["id"])

    assert stored is not None
    assert stored.private["pvt_tree"] == [api.master.account_id, child.account_id]
    assert account["realm"].endswith(".sip.roost.local")
    assert account["enabled"] is True
    assert account["superduper_admin"] is False
    assert account["billing_mode"] == "manual"
    assert account["created"] == stored.created
    assert account["reseller_id"] == api.master.account_id


async def test_child_of_an_account(api: Api) -> None:
    """PUT /accounts/{A} makes an account below A."""
    child, _ = await api.child()
    data = {"name": "new", "realm": "new.example"}
    response = await api.send("PUT", f"/v2/accounts/{child.account_id}", data=data)
    children = (await api.ask("GET", f"/v2/accounts/{child.account_id}/children"))["data"]

    assert response.status == 201
    assert [row["realm"] for row in children] == ["new.example"]


async def test_realm_is_unique(api: Api) -> None:
    """One realm is one account's, without case (4.6)."""
    envelope = await api.ask("PUT", "/v2/accounts", data={"name": "n", "realm": "MASTER.example"}, status=400)

    assert "unique" in envelope["data"]["realm"]


async def test_change_keeps_what_must_not_be_lost(api: Api) -> None:
    """A POST without a realm keeps the old one, and what is computed cannot be set."""
    data = {"name": "New", "superduper_admin": False, "created": 1, "api_key": "x", "pvt_tree": ["x"]}
    account = (await api.ask("POST", "", data=data))["data"]

    assert account["name"] == "New"
    assert account["realm"] == "master.example"
    assert account["superduper_admin"] is True
    assert (await api.ask("PATCH", "", data={"language": "de-de"}))["data"]["language"] == "de-de"
    assert (await api.ask("GET", ""))["data"]["name"] == "New"


async def test_account_is_switched_from_above_alone(api: Api) -> None:
    """An account cannot enable itself again."""
    child, token = await api.child()
    path = f"/v2/accounts/{child.account_id}"

    assert (await api.ask("PATCH", path, data={"enabled": False}))["data"]["enabled"] is False
    assert (await api.ask("PATCH", path, data={"enabled": True}, token=token))["data"]["enabled"] is False
    assert (await api.ask("PATCH", path, data={"enabled": True}))["data"]["enabled"] is True


async def test_deletion(api: Api) -> None:
    """Not the master, and not with accounts below; with an account goes what it holds."""
    child, token = await api.child()
    grandchild, _ = await api.child("grandchild", child.account_id)
    path = f"/v2/accounts/{child.account_id}"
    await api.ask("DELETE", "", status=405)
    envelope = await api.ask("DELETE", path, status=500)

    assert envelope["message"] == "account_has_descendants"

    await api.ask("DELETE", f"/v2/accounts/{grandchild.account_id}")
    await api.ask("DELETE", path, token=token)
    await api.ask("GET", path, status=404)
    await api.ask("GET", f"{path}/devices", status=404)


async def test_family(api: Api) -> None:
    """Children, descendants, siblings, parents and tree, each seen as far as the token reaches."""
    one, one_token = await api.child("one")
    two, _ = await api.child("two")
    below, _ = await api.child("below", one.account_id)
    base, lower = f"/v2/accounts/{one.account_id}", f"/v2/accounts/{below.account_id}"

    async def ids(path: str, token: str = api.token) -> set[str]:
        return {row["id"] for row in (await api.ask("GET", path, token=token))["data"]}

    assert await ids("/children") == {one.account_id, two.account_id}
    assert await ids("/descendants") == {one.account_id, two.account_id, below.account_id}
    assert await ids(f"{base}/siblings") == {one.account_id, two.account_id}
    assert await ids(f"{lower}/siblings", one_token) == {below.account_id}
    assert await ids(f"{lower}/tree") == {api.master.account_id, one.account_id}
    assert await ids(f"{lower}/parents", one_token) == {one.account_id}
    assert await ids(f"{base}/tree", one_token) == set()
    await api.ask("GET", f"{base}/siblings", token=one_token, status=403)
    assert await ids("/children?filter_name=one") == {one.account_id}


async def test_api_key(api: Api) -> None:
    """It is shown where it is asked for; a new one ends the old."""
    old = (await api.ask("GET", "/api_key"))["data"]["api_key"]

    assert old == api.master.api_key
    assert "api_key" not in (await api.ask("GET", ""))["data"]
    assert (await api.ask("GET", "", params={"include_api_key": "true"}))["data"]["api_key"] == old

    new = (await api.ask("PUT", "/api_key", status=201))["data"]["api_key"]

    await api.ask("PUT", "/v2/api_auth", data={"api_key": old}, status=404)
    await api.ask("PUT", "/v2/api_auth", data={"api_key": new}, status=201)


@pytest.mark.parametrize("realm", ["a", "not a realm", "x" * 254, "a.b\n"])
async def test_bad_realms(api: Api, realm: str) -> None:
    """A realm is a domain name (4.6)."""
    await api.ask("PUT", "/v2/accounts", data={"name": "n", "realm": realm}, status=400)
