"""Webhooks as documents: what a client may write, and what it never reads."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from api import webhooks
from api.ports import Kind, WebhookAttempt

if TYPE_CHECKING:
    from api_client import Api

HOOK: dict[str, Any] = {"name": "crm", "uri": "https://crm.example/in", "hook": "device"}
SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()


async def put(api: Api, **data: Any) -> dict[str, Any]:
    return (await api.ask("PUT", "/webhooks", data={**HOOK, **data}, status=201))["data"]


async def test_creation_tells_the_secret_once(api: Api) -> None:
    """It is made where the client has none, and no answer has it again."""
    made = await put(api)

    assert len(base64.b64decode(made.pop("secret").removeprefix("whsec_"))) == 32
    assert made == {
        **HOOK,
        "id": made["id"],
        "http_verb": "post",
        "format": "json",
        "retries": 2,
        "enabled": True,
        "include_subaccounts": False,
    }
    assert (await api.ask("GET", f"/webhooks/{made['id']}"))["data"] == made
    assert (await api.ask("GET", "/webhooks"))["data"] == [made]


async def test_secret_is_kept_and_changed(api: Api) -> None:
    """A replacement without one keeps it; one that is sent takes its place."""
    made = await put(api, secret=SECRET)
    path = f"/webhooks/{made['id']}"
    assert made["secret"] == SECRET
    await api.ask("POST", path, data={**HOOK, "name": "other"})
    await api.ask("PATCH", path, data={"secret": None, "retries": 0})
    stored = await api.stored(Kind.WEBHOOK, made["id"])
    assert stored.private["pvt_secret"] == SECRET
    assert stored.data["retries"] == 0
    assert "secret" not in stored.data

    new = SECRET.replace("c3", "d3")
    envelope = await api.ask("PATCH", path, data={"secret": new})

    assert "secret" not in envelope["data"]
    assert (await api.stored(Kind.WEBHOOK, made["id"])).private["pvt_secret"] == new


async def test_filters_do_not_see_the_secret(api: Api) -> None:
    """They would confirm a guess."""
    await put(api, secret=SECRET)

    assert (await api.ask("GET", "/webhooks", params={"filter_pvt_secret": SECRET}))["data"] == []
    assert len((await api.ask("GET", "/webhooks", params={"filter_hook": "device"}))["data"]) == 1


@pytest.mark.parametrize(
    ("data", "key", "rule"),
    [
        pytest.param({"uri": None}, "uri", "required", id="no-uri"),
        pytest.param({"uri": "ftp://crm.example"}, "uri", "wrong_format", id="scheme"),
        pytest.param({"uri": "http://"}, "uri", "wrong_format", id="no-host"),
        pytest.param({"uri": "http://[::1"}, "uri", "wrong_format", id="no-uri-at-all"),
        pytest.param({"uri": "http://crm.example:99999"}, "uri", "wrong_format", id="port"),
        pytest.param({"hook": "channel_create"}, "hook", "pattern", id="a-hook-of-kazoo"),
        pytest.param({"hook": "device.*"}, "hook", "pattern", id="wildcard"),
        pytest.param({"http_verb": "delete"}, "http_verb", "enum", id="verb"),
        pytest.param({"retries": 5}, "retries", "maximum", id="retries"),
        pytest.param({"custom_data": {"a": 1}}, "custom_data.a", "type", id="custom-data"),
        pytest.param({"secret": "short"}, "secret", "wrong_format", id="secret-without-prefix"),
        pytest.param({"secret": "whsec_c2hvcnQ="}, "secret", "wrong_format", id="short-secret"),
    ],
)
async def test_what_cannot_be(api: Api, data: dict[str, Any], key: str, rule: str) -> None:
    """Each with its key and rule (contract 2.4); the secret is not echoed."""
    body = {name: value for name, value in {**HOOK, **data}.items() if value is not None}
    envelope = await api.ask("PUT", "/webhooks", data=body, status=400)

    assert rule in envelope["data"][key]
    assert "short" not in str(envelope["data"].get("secret"))


async def test_webhooks_are_limited(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each event may be sent to all of them."""
    monkeypatch.setattr(webhooks, "MAX_WEBHOOKS", 2)
    await put(api)
    last = await put(api)
    envelope = await api.ask("PUT", "/webhooks", data=HOOK, status=400)
    assert "maxItems" in envelope["data"]["webhooks"]
    await api.ask("DELETE", f"/webhooks/{last['id']}")
    await put(api)


async def test_deletion(api: Api) -> None:
    """It is gone, and is no device."""
    made = await put(api)
    await api.ask("GET", f"/devices/{made['id']}", status=404)
    assert (await api.ask("DELETE", f"/webhooks/{made['id']}"))["data"]["_read_only"] == {"deleted": True}
    await api.ask("GET", f"/webhooks/{made['id']}", status=404)


async def test_webhooks_of_other_accounts(api: Api) -> None:
    """An account's token is for its own."""
    made = await put(api)
    child, token = await api.child()
    await api.ask("GET", f"/webhooks/{made['id']}", token=token, status=403)
    await api.ask("GET", f"/v2/accounts/{child.account_id}/webhooks/{made['id']}", token=token, status=404)


async def test_attempts(api: Api) -> None:
    """Of one webhook, or of all of the account's."""
    made, other = await put(api), await put(api)
    for number, hook_id in enumerate((made["id"], other["id"])):
        attempt = WebhookAttempt(
            hook_id, "device.expired", number, 63_867_219_200, "failure", "Not Found", 404, 1, 20.5
        )
        api.webhooks.tried.append((api.master.account_id, attempt))
    rows = (await api.ask("GET", "/webhooks/attempts"))["data"]

    assert [row["hook_id"] for row in rows] == [other["id"], made["id"]]
    assert (await api.ask("GET", f"/webhooks/{made['id']}/attempts"))["data"] == [rows[1]]
    assert rows[1] == {
        "hook_id": made["id"],
        "event": "device.expired",
        "event_id": 0,
        "timestamp": 63_867_219_200,
        "result": "failure",
        "reason": "Not Found",
        "response_code": 404,
        "retries_left": 1,
        "latency_ms": 20.5,
    }
