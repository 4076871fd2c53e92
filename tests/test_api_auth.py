"""Credentials, tokens and who may do what (contract 3, 7.3)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from api_client import Api

from api.app import ROUTES
from api.buckets import MAX_BUCKETS, Buckets
from api.policy import Policy
from api.ports import Kind
from api.routing import Access

if TYPE_CHECKING:
    from pytest_aiohttp.plugin import AiohttpClient

    from api.routing import Route
    from daemon.store import Store

LOGIN = {"username": "Ann@example.com", "password": "secret"}
MD5 = hashlib.md5(b"ann@example.com:secret").hexdigest()
SHA1 = hashlib.sha1(b"ann@example.com:secret").hexdigest()


def basic(account_id: str, credentials: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{account_id}:{credentials}".encode()).decode()}


async def test_api_key_gives_a_token(api: Api) -> None:
    """PUT api_auth is 201, with the new token in the envelope (3.3)."""
    envelope = await api.ask("PUT", "/v2/api_auth", data={"api_key": api.master.api_key}, token="", status=201)
    data = envelope["data"]

    assert data["account_id"] == api.master.account_id
    assert data["account_name"] == "Master"
    assert data["apps"] == []
    assert data["language"] == "en-us"
    assert "owner_id" not in data
    assert "revision" not in envelope
    await api.ask("GET", "/devices", token=envelope["auth_token"])


async def test_api_auth_is_told_by_an_old_token_nothing(api: Api) -> None:
    """Whose token is over gets a new one though the old is still sent."""
    await api.ask("PUT", "/v2/api_auth", data={"api_key": api.master.api_key}, token="over", status=201)


async def test_unknown_api_key(api: Api) -> None:
    """404, and `data` is a list (9, 3)."""
    envelope = await api.ask("PUT", "/v2/api_auth", data={"api_key": "0" * 64}, token=None, status=404)

    assert (envelope["message"], envelope["data"]) == ("bad identifier", ["0" * 64])


@pytest.mark.parametrize(
    ("login", "status"),
    [
        pytest.param({"credentials": MD5, "account_name": "M-a ster!"}, 201, id="by-name"),
        pytest.param({"credentials": MD5, "account_realm": "MASTER.example"}, 201, id="by-realm"),
        pytest.param({"credentials": MD5, "realm": "master.example", "method": "md5"}, 201, id="by-realm-alias"),
        pytest.param({"credentials": SHA1, "method": "sha", "realm": "master.example"}, 201, id="sha"),
        pytest.param({"credentials": MD5.upper(), "realm": "master.example"}, 401, id="upper-case"),
        pytest.param({"credentials": SHA1, "realm": "master.example"}, 401, id="wrong-method"),
        pytest.param({"credentials": MD5}, 401, id="no-account"),
        pytest.param({"credentials": MD5, "account_name": "none"}, 401, id="unknown-name"),
        pytest.param({"credentials": MD5, "account_realm": "none.example"}, 401, id="unknown-realm"),
        pytest.param({"credentials": "0" * 32, "account_name": "master"}, 401, id="wrong-credentials"),
        pytest.param({"credentials": MD5, "method": "sha1", "account_name": "master"}, 400, id="unknown-method"),
        pytest.param({"account_name": "master"}, 400, id="no-credentials"),
        pytest.param({"credentials": "x" * 65, "account_name": "master"}, 400, id="long-credentials"),
    ],
)
async def test_user_auth(api: Api, login: Any, status: int) -> None:
    """A hash of the lower-case name and the password gives a token; every miss looks alike (3.3)."""
    user_id = (await api.put_user(**LOGIN))["id"]
    envelope = await api.ask("PUT", "/v2/user_auth", data=login, token=None, status=status)

    if status == 201:
        assert envelope["data"]["owner_id"] == user_id
        await api.ask("GET", "/devices", token=envelope["auth_token"])
    elif status == 401:
        assert envelope["data"] == {"message": "invalid credentials"}


async def test_disabled_user_cannot_log_in(api: Api) -> None:
    """The look-up holds enabled users alone (3.3)."""
    await api.put_user(**LOGIN, enabled=False)
    await api.ask("PUT", "/v2/user_auth", data={"credentials": MD5, "realm": "master.example"}, token=None, status=401)


async def test_disabled_account_cannot_log_in(api: Api) -> None:
    """400, with the reason under `account` (2.5)."""
    child, _ = await api.child()
    await api.ask("PATCH", f"/v2/accounts/{child.account_id}", data={"enabled": False})
    envelope = await api.ask("PUT", "/v2/api_auth", data={"api_key": child.api_key}, token=None, status=400)

    assert envelope["data"] == {"account": {"disabled": {"message": "account disabled"}}}


async def test_user_may_speak_for_an_account_below(api: Api) -> None:
    """`as` takes effect for a descendant alone (3.2)."""
    await api.put_user(**LOGIN)
    child, _ = await api.child()
    login = {"credentials": MD5, "realm": "master.example"}

    for wanted, speaks_for in ((child.account_id, child.account_id), ("0" * 32, api.master.account_id)):
        data = {**login, "as": {"account_id": wanted}}
        envelope = await api.ask("PUT", "/v2/user_auth", data=data, token=None, status=201)

        assert envelope["data"]["account_id"] == speaks_for


@pytest.mark.parametrize("way", ["header", "query", "data", "envelope", "bearer", "authorization", "small-bearer"])
async def test_ways_to_present_a_token(api: Api, way: str) -> None:
    """Header, parameter, or bearer (3.1)."""
    options: dict[str, Any] = {
        "header": {"headers": {"X-Auth-Token": api.token}},
        "query": {"params": {"auth_token": api.token}},
        "data": {"json": {"data": {"auth_token": api.token}}},
        "envelope": {"json": {"data": {}, "auth-token": api.token}},
        "bearer": {"headers": {"Authorization": f"Bearer {api.token}"}},
        "small-bearer": {"headers": {"Authorization": f"bearer  {api.token}"}},
        "authorization": {"params": {"authorization": f"Bearer {api.token}"}},
    }[way]
    envelope = await api.ask("GET", "/devices", token=None, **options)

    assert envelope["auth_token"] == api.token


async def test_the_header_goes_first(api: Api) -> None:
    """An empty header is none; a bad one is not mended by a good parameter (3.1)."""
    await api.ask("GET", "/devices", token="", params={"auth_token": api.token})
    await api.ask("GET", "/devices", token="bad", params={"auth_token": api.token}, status=401)


@pytest.mark.parametrize(
    ("token", "data"),
    [
        pytest.param(None, {"message": "invalid credentials"}, id="none"),
        pytest.param("unknown", {}, id="unknown"),
        pytest.param("x" * 5000, {}, id="long"),
        pytest.param("caf\u00e9", {}, id="not-ascii"),
    ],
)
async def test_no_valid_token(api: Api, token: str | None, data: Any) -> None:
    """401 without WWW-Authenticate; a token that is no good is told apart from none (2.5, 3.1)."""
    response = await api.send("GET", "/devices", token=token)
    envelope = orjson.loads(await response.read())

    assert (response.status, envelope["data"]) == (401, data)
    assert "WWW-Authenticate" not in response.headers


async def test_basic(api: Api) -> None:
    """ACCOUNT:HASH, by md5 or sha1 (3.1)."""
    await api.put_user(**LOGIN)
    for hashed in (MD5, SHA1):
        await api.ask("GET", "/devices", token=None, headers=basic(api.master.account_id, hashed))


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic !!!",
        "Basic " + base64.b64encode(b"x").decode(),
        basic("0" * 32, MD5)["Authorization"],
        basic("0" * 32, "secret")["Authorization"],
        "Basic " + base64.b64encode(b"\xff\xfe:\xff").decode(),
        "Digest x",
        "Basic \u00e9",
    ],
)
async def test_bad_basic(api: Api, header: str) -> None:
    """Whatever is no known account and hash is 401."""
    await api.ask("GET", "/devices", token=None, headers={"Authorization": header}, status=401)


async def test_claimed_account_must_be_the_tokens(api: Api) -> None:
    """X-Auth-Account-ID that differs is 401 (3.1)."""
    child, token = await api.child()
    path = f"/v2/accounts/{child.account_id}/devices"

    await api.ask("GET", path, token=token, headers={"X-Auth-Account-ID": child.account_id})
    await api.ask("GET", path, token=token, headers={"X-Auth-Account-ID": api.master.account_id}, status=401)


async def test_token_is_read_and_ended(api: Api) -> None:
    """GET tells what a token stands for; after DELETE it is worth nothing (3.2)."""
    assert (await api.ask("GET", "/v2/token_auth"))["data"]["account_id"] == api.master.account_id
    assert (await api.ask("GET", f"/v2/user_auth/{api.token}"))["data"]["account_id"] == api.master.account_id
    await api.ask("GET", "/v2/user_auth/another", status=401)

    envelope = await api.ask("DELETE", "/v2/token_auth", data={})

    assert "data" not in envelope
    await api.ask("GET", "/v2/token_auth", status=401)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_tokeninfo(api: Api, method: str) -> None:
    """Whoever has a token may ask what it stands for."""
    _, token = await api.child("asked")
    how: dict[str, Any] = {"params": {"token": token}} if method == "GET" else {"data": {"token": token}}

    assert (await api.ask(method, "/v2/auth/tokeninfo", token=None, **how))["data"]["account_name"] == "asked"
    assert (await api.ask(method, "/v2/auth/tokeninfo"))["data"]["account_name"] == "Master"
    await api.ask(method, "/v2/auth/tokeninfo", token=None, status=401)
    bad: dict[str, Any] = {"params": {"token": "bad"}} if method == "GET" else {"data": {"token": "bad"}}
    await api.ask(method, "/v2/auth/tokeninfo", status=401, **bad)


async def test_tokens_outlive_neither_their_time_nor_their_account(api: Api, clock: Any) -> None:
    """A token is over after its life; with its account it is gone at once (3.2)."""
    child, token = await api.child()
    await api.ask("DELETE", f"/v2/accounts/{child.account_id}")
    await api.ask("GET", "/v2/token_auth", token=token, status=401)
    clock.now += 3601
    await api.ask("GET", "/v2/token_auth", status=401)


# Who may touch what


def url(route: Route, account_id: str, user_id: str, device_id: str) -> str:
    names = {"account_id": account_id, "user_id": user_id, "device_id": device_id}
    ids = dict.fromkeys(("job_id", "webhook_id", "call_id", "cdr_id"), "0" * 32)
    return "/v2" + route.path.format(**names, **ids, number="2600", username="bob", token="x")


async def test_no_account_touches_another(api: Api) -> None:
    """With account B's token every URL of account A is 403, and with none 401: nothing is read or done (3.4)."""
    mine, _ = await api.child("mine")
    _, token = await api.child("other")
    base = f"/v2/accounts/{mine.account_id}"
    user = await api.ask("PUT", f"{base}/users", data={"first_name": "A", "last_name": "B"}, status=201)
    device = await api.ask("PUT", f"{base}/devices", data={"name": "n"}, status=201)
    tried = 0
    for route in ROUTES:
        if route.access in (Access.OPEN, Access.TOKEN):
            continue
        path = url(route, mine.account_id, user["data"]["id"], device["data"]["id"])
        body = {} if route.method == "GET" else {"data": {"name": "x"}}
        await api.ask(route.method, path, token=token, status=403, **body)
        await api.ask(route.method, path, token=None, status=401, **body)
        tried += 1

    assert tried > 40
    assert (await api.ask("GET", f"{base}/devices/{device['data']['id']}"))["data"] == device["data"]
    assert (api.control.synced, api.control.flushed, api.quickcalls.started) == ([], [], [])


async def test_documents_of_another_account_are_not_found_in_ones_own(api: Api) -> None:
    """An id of account A means nothing below account B."""
    mine, _ = await api.child("mine")
    other, token = await api.child("other")
    base = f"/v2/accounts/{mine.account_id}"
    user = await api.ask("PUT", f"{base}/users", data={"first_name": "A", "last_name": "B"}, status=201)
    device = await api.ask("PUT", f"{base}/devices", data={"name": "n"}, status=201)
    for route in ROUTES:
        if "{user_id}" in route.path or "{device_id}" in route.path:
            path = url(route, other.account_id, user["data"]["id"], device["data"]["id"])
            await api.ask(
                route.method, path, token=token, status=404, **({} if route.method == "GET" else {"data": {}})
            )


async def test_ancestors_may_and_descendants_may_not(api: Api) -> None:
    """The tree opens downwards alone (3.4)."""
    child, child_token = await api.child("child")
    grandchild, grandchild_token = await api.child("grandchild", child.account_id)

    await api.ask("GET", f"/v2/accounts/{grandchild.account_id}/devices", token=child_token)
    await api.ask("GET", f"/v2/accounts/{grandchild.account_id}/devices", token=api.token)
    await api.ask("GET", f"/v2/accounts/{child.account_id}/devices", token=grandchild_token, status=403)
    await api.ask("GET", "/devices", token=child_token, status=403)
    await api.ask("GET", "/v2/devices", token=child_token, status=403)


async def test_system_wide_count_is_the_superdupers(api: Api) -> None:
    """`/v2/registrations/count` is for the master account (3.4)."""
    _, token = await api.child()
    api.presence.register("another", "d")

    assert (await api.ask("GET", "/v2/registrations/count"))["data"] == {"count": 1}
    await api.ask("GET", "/v2/registrations/count", token=token, status=403)


# Rate limit


async def test_guessing_is_slowed_down(aiohttp_client: AiohttpClient, store: Store) -> None:
    """An empty bucket is 429 with Retry-After; a valid token goes on (7.3)."""
    api = await Api.start(aiohttp_client, store, Policy(rate_capacity=3, rate_per_second=0.01))
    for _ in range(3):
        await api.ask("PUT", "/v2/api_auth", data={"api_key": "0" * 64}, token=None, status=404)
    response = await api.send("PUT", "/v2/api_auth", data={"api_key": "0" * 64}, token=None)
    envelope = orjson.loads(await response.read())

    assert response.status == 429
    assert (envelope["message"], envelope["data"]) == ("too_many_requests", {"message": "too many requests"})
    assert 90 <= int(response.headers["Retry-After"]) <= 100
    await api.ask("GET", "/devices")

    for status in (401, 401, 401, 429):
        await api.ask("GET", "/devices", token=None, headers=basic(api.master.account_id, MD5), status=status)


async def test_more_requests_than_there_are_places_are_turned_away(aiohttp_client: AiohttpClient, store: Store) -> None:
    """429 with Retry-After, at once; a place that is free again is anybody's."""
    api = await Api.start(aiohttp_client, store, Policy(max_requests=2))
    answers = await asyncio.gather(*(api.send("GET", "/devices") for _ in range(20)))
    statuses = Counter(answer.status for answer in answers)
    times = {int(answer.headers["Retry-After"]) for answer in answers if answer.status == 429}

    assert {200, 429} == set(statuses)
    assert times <= {1, 2, 3, 4, 5}
    await api.ask("GET", "/devices")


async def test_client_behind_a_proxy_has_a_bucket_of_its_own(aiohttp_client: AiohttpClient, store: Store) -> None:
    """The proxy on this host tells the address; what a client writes in front of it does not count (7.3)."""
    api = await Api.start(aiohttp_client, store, Policy(rate_capacity=1, rate_per_second=0.01))
    for forwarded, status in (
        ("192.0.2.1", 404),
        ("192.0.2.1", 429),
        ("198.51.100.9, 192.0.2.1", 429),
        ("192.0.2.1, 192.0.2.2", 404),
        ("192.0.2.2, 127.0.0.1", 429),
    ):
        headers = {"X-Forwarded-For": forwarded}
        await api.ask("PUT", "/v2/api_auth", data={"api_key": "0" * 64}, token=None, headers=headers, status=status)


def test_bucket_refills() -> None:
    """A bucket gives its capacity at once, then one at each refill, and never holds more than it can."""
    now = [0.0]
    buckets = Buckets(2, 0.5, lambda: now[0])

    assert [buckets.take("a") for _ in range(3)] == [0, 0, 2]
    assert buckets.take("b") == 0

    now[0] = 2.0

    assert [buckets.take("a") for _ in range(2)] == [0, 2]

    now[0] = 1000.0

    assert [buckets.take("a") for _ in range(3)] == [0, 0, 2]


def test_buckets_are_bounded() -> None:
    """Many clients take no more memory than MAX_BUCKETS."""
    buckets = Buckets(1, 1.0, lambda: 0.0)
    for number in range(MAX_BUCKETS + 10):
        buckets.take(str(number))

    assert buckets.take(str(MAX_BUCKETS + 9)) == 1
    assert buckets.take("0") == 0


async def test_api_key_is_not_among_private_filters(api: Api) -> None:
    """The key is nowhere in a document, so no filter can ask for it."""
    account = await api.store.documents.get(Kind.ACCOUNT, api.master.account_id, api.master.account_id)

    assert account is not None
    assert api.master.api_key not in str(account)
