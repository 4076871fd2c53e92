"""The HTTP surface: paths, methods, bodies, types, headers (contract 1)."""

from __future__ import annotations

import asyncio
import gzip
import io
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from structlog.testing import capture_logs
from yarl import URL

from api.body import MAX_BODY, MAX_DEPTH

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from api_client import Api

NOTHING = b""


def error(envelope: dict[str, Any]) -> tuple[str, str, Any]:
    return envelope["error"], envelope["message"], envelope["data"]


async def test_success_envelope(api: Api) -> None:
    """An answer has Kazoo's keys and exactly its content type (2.1, 1.7)."""
    response = await api.send("GET", "/devices")
    envelope = orjson.loads(await response.read())

    assert response.headers["Content-Type"] == "application/json"
    assert envelope["status"] == "success"
    assert envelope["data"] == []
    assert envelope["page_size"] == 0
    assert envelope["auth_token"] == api.token
    assert envelope["request_id"] == response.headers["X-Request-ID"]
    assert envelope["version"] == "1.2.3"
    assert len(envelope["timestamp"]) == len("2024-01-01T00:00:00Z")
    assert response.headers["Expires"] == "Fri, 01 Jan 1999 00:00:00 GMT"


async def test_error_envelope(api: Api) -> None:
    """A refusal has the status as text, a code and details (2.2)."""
    envelope = await api.ask("GET", "/devices/none", status=404)

    assert error(envelope) == ("404", "bad_identifier", {"message": "bad identifier", "cause": "none"})
    assert envelope["status"] == "error"
    assert envelope["request_id"]
    assert "revision" not in envelope


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        pytest.param("GET", "/", 404, "not_found", id="root"),
        pytest.param("GET", "/v2", 404, "not_found", id="no-noun"),
        pytest.param("GET", "/v3/accounts", 404, "not_found", id="other-version"),
        pytest.param("GET", "/v1/accounts", 410, "gone", id="version-1"),
        pytest.param("GET", "/v2/apps_store", 404, "not_found", id="unknown-noun"),
        pytest.param("GET", "/v2/whitelabel/example.com", 404, "not_found", id="unknown-nouns"),
        pytest.param("GET", "/v2/accounts/{A}/apps_store", 404, "not_found", id="unknown-inner-noun"),
        pytest.param("GET", "/v2/accounts/{A}/devices/{D}/nonsense", 404, "not_found", id="unknown-tail"),
        pytest.param(
            "PUT", "/v2/accounts/{A}/devices/{D}/nonsense", 404, "not_found", id="unknown-tail-goes-before-405"
        ),
        pytest.param("GET", "/v2/accounts/{A}/devices/{D}/quickcall", 404, "not_found", id="quickcall-without-number"),
        pytest.param("DELETE", "/v2/accounts/{A}/devices", 405, "invalid_method", id="delete-of-a-list"),
        pytest.param("GET", "/v2/accounts", 405, "invalid_method", id="accounts-are-not-listed"),
        pytest.param("PUT", "/v2/accounts/{A}/devices/{D}/sync", 405, "invalid_method", id="sync-is-a-post"),
        pytest.param("OPTIONS", "/v2/accounts/{A}/devices", 405, "invalid_method", id="options-of-no-page"),
        pytest.param("PROPFIND", "/v2/accounts/{A}/devices", 405, "invalid_method", id="unknown-method"),
        pytest.param("GET", "/v2/accounts/short/devices", 404, "bad identifier", id="account-id-of-wrong-length"),
        pytest.param("GET", "/v2/accounts//devices", 404, "bad identifier", id="account-id-missing"),
        pytest.param("GET", "/v2/accounts/" + "0" * 32, 404, "bad_identifier", id="unknown-account"),
        pytest.param("GET", "/v2/accounts/{A}/users/none/devices/{D}", 404, "bad_identifier", id="unknown-outer-noun"),
        pytest.param("GET", "/v2/devices", 404, "not_found", id="noun-without-account"),
    ],
)
async def test_paths_and_methods(api: Api, method: str, path: str, status: int, message: str) -> None:
    """What leads nowhere is told apart as Kazoo does (1.1, 1.2, 2.5)."""
    device = await api.put_device()
    path = path.format(A=api.master.account_id, D=device["id"])
    envelope = await api.ask(method, path, status=status)

    assert (envelope["error"], envelope["message"]) == (str(status), message)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param("/v2/nonsense", 401, id="unknown-noun"),
        pytest.param("/v2/devices", 401, id="noun-without-account"),
        pytest.param("/v2/account/devices", 401, id="own-account-of-nobody"),
        pytest.param("/v2/accounts/{A}/devices", 401, id="known-account"),
        pytest.param("/v2/accounts/" + "0" * 32 + "/devices", 404, id="unknown-account"),
        pytest.param("/v2/accounts/{A}/nonsense", 404, id="unknown-inner-noun"),
        pytest.param("/v2/whitelabel/example.com", 404, id="asked-before-login"),
    ],
)
async def test_paths_without_a_token(api: Api, path: str, status: int) -> None:
    """Without credentials an unknown account is 404 and a known one 401 (1.5, 9)."""
    await api.ask("GET", path.format(A=api.master.account_id), token=None, status=status)


@pytest.mark.parametrize("path", ["/devices/", "/devices"])
async def test_trailing_slash_is_tolerated(api: Api, path: str) -> None:
    """One empty last part of the path changes nothing, not even Location (1.1, 1.7)."""
    response = await api.send("PUT", path, data={"name": "desk"})
    device = orjson.loads(await response.read())["data"]

    assert response.status == 201
    assert response.headers["Location"] == f"{api.account}/devices/{device['id']}"


async def test_own_account_by_short_name(api: Api) -> None:
    """/v2/account is the account of the token (1.1)."""
    assert (await api.ask("GET", "/v2/account"))["data"]["id"] == api.master.account_id
    assert (await api.ask("GET", "/v2/account/devices"))["data"] == []


async def test_head_is_a_get_without_a_body(api: Api) -> None:
    """HEAD works where GET does."""
    response = await api.send("HEAD", "/devices")

    assert response.status == 200
    assert await response.read() == NOTHING


@pytest.mark.parametrize(
    ("body", "key", "rule"),
    [
        pytest.param(b"{", "json", "invalid", id="broken"),
        pytest.param(b"\xff\xfe", "json", "invalid", id="no-utf-8"),
        pytest.param(b'"text"', "json", "invalid", id="no-object"),
        pytest.param(b"{}", "data", "required", id="no-data"),
        pytest.param(b'{"data":null}', "data", "required", id="null-data"),
        pytest.param(b'{"data":"text"}', "data", "type", id="data-of-wrong-type"),
        pytest.param(b'{"data":[]}', "data", "type", id="bulk"),
        pytest.param(b'{"data":{"a":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}}", "json", "invalid", id="deep"),
        pytest.param(b"[" * 100_000, "json", "invalid", id="very-deep"),
        pytest.param(b'{"data":{"name":"\\ud800"}}', "json", "invalid", id="lone-surrogate"),
        pytest.param(b'{"data":{"a":1' + b"0" * 400 + b"}}", "json", "invalid", id="endless-number"),
        pytest.param(b"", "name", "required", id="empty"),
        pytest.param(b"  ", "name", "required", id="blank"),
        pytest.param(b'{"DATA":{}}', "name", "required", id="key-in-capitals"),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_bad_bodies(api: Api, method: str, body: bytes, key: str, rule: str) -> None:
    """A body that is no envelope is refused with the reason; an empty one is an empty object (1.4)."""
    path = "/devices" if method == "PUT" else f"/devices/{(await api.put_device())['id']}"
    headers = {"Content-Type": "application/json"}
    envelope = await api.ask(method, path, status=400, headers=headers, body=body)

    assert envelope["message"] == "validation error"
    assert rule in envelope["data"][key]


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "application/x-json",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        None,
    ],
)
async def test_json_is_read_whatever_it_is_called(api: Api, content_type: str | None) -> None:
    """A plain `curl -d` calls its JSON a form (1.4)."""
    headers = {"Content-Type": content_type} if content_type else {}
    body = b'{"data":{"name":"desk"}}'
    await api.ask("PUT", "/devices", body=body, headers=headers, skip_auto_headers=["Content-Type"], status=201)


async def test_other_types_are_refused(api: Api) -> None:
    """415 and 406 have empty bodies (1.4)."""
    response = await api.send("PUT", "/devices", body=b"name=desk", headers={"Content-Type": "text/csv"})

    assert (response.status, await response.read()) == (415, NOTHING)

    response = await api.send("GET", "/devices", headers={"Accept": "text/html"})

    assert (response.status, await response.read()) == (406, NOTHING)


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        pytest.param("*/*", 200, id="anything"),
        pytest.param("text/html,application/xhtml+xml,*/*;q=0.8", 200, id="browser"),
        pytest.param("application/json; q=0.5", 200, id="json"),
        pytest.param("application/json;q=0", 406, id="anything-but-json"),
        pytest.param("text/csv", 406, id="csv"),
    ],
)
async def test_accept(api: Api, accept: str, status: int) -> None:
    """Only a client that takes no JSON is refused (1.4)."""
    assert (await api.send("GET", "/devices", headers={"Accept": accept})).status == status
    assert (await api.send("GET", "/devices", params={"accept": accept})).status == status


async def test_body_of_unreadable_type_but_empty_is_fine(api: Api) -> None:
    """Some clients call an empty body octet-stream."""
    device = await api.put_device()
    headers = {"Content-Type": "application/octet-stream"}
    await api.ask("POST", f"/devices/{device['id']}/sync", body=b"", headers=headers)


async def test_oversized_body(api: Api) -> None:
    """Over 8,000,000 bytes is 413 with the limit, however the length is told (1.4)."""
    body = b'{"data":{"name":"' + b"x" * MAX_BODY + b'"}}'
    envelope = await api.ask("PUT", "/devices", body=io.BytesIO(body), status=413)

    assert envelope["data"]["file"]["maxSize"]["target"] == MAX_BODY

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 1_000_000):
            yield body[start : start + 1_000_000]

    await api.ask("PUT", "/devices", body=chunks(), status=413)


async def test_compressed_body(api: Api) -> None:
    """What unpacks to a bomb or not at all is refused, and the rest is read."""
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    small = gzip.compress(b'{"data":{"name":"desk"}}')
    await api.ask("PUT", "/devices", body=small, headers=headers, status=201)
    bomb = gzip.compress(b" " * (MAX_BODY + 1))
    await api.ask("PUT", "/devices", body=bomb, headers=headers, status=413)
    await api.ask("PUT", "/devices", body=b"no gzip at all", headers=headers, status=400)


async def test_verb_tunnels_through_post(api: Api) -> None:
    """`verb` replaces POST alone; a tunnelled PUT is 201 only where it made something (1.3)."""
    device = await api.put_device()
    path = f"/devices/{device['id']}"

    await api.ask("POST", "/devices", params={"verb": "put"}, data={"name": "two"}, status=201)
    await api.ask("POST", path, json={"data": {}, "verb": "DELETE"})
    await api.ask("GET", path, status=404)
    await api.ask("POST", "/devices", params={"verb": "DELETE"}, status=405)
    await api.ask("GET", "/devices", params={"verb": "DELETE"})
    other = await api.put_device()
    answer = await api.send("POST", f"/devices/{other['id']}", params={"verb": "PUT"}, data={"action": "sync"})

    assert answer.status == 200


async def test_method_override_header_has_no_effect(api: Api) -> None:
    """X-HTTP-Method-Override is advertised and ignored (1.3)."""
    device = await api.put_device()
    await api.ask("GET", f"/devices/{device['id']}", headers={"X-HTTP-Method-Override": "DELETE"})
    await api.ask("GET", f"/devices/{device['id']}")


async def test_jsonp(api: Api) -> None:
    """`jsonp` wraps the JSON in a call; a name that is no identifier is refused (1.3)."""
    response = await api.send("GET", "/devices", params={"jsonp": "app.load"})
    text = await response.text()

    assert response.headers["Content-Type"] == "application/javascript"
    assert text.startswith("app.load({")
    assert text.endswith("})")
    assert orjson.loads(text.removeprefix("app.load(").removesuffix(")"))["data"] == []

    await api.ask("GET", "/devices", params={"jsonp": "alert(1)//"}, status=400)


async def test_pretty_printing(api: Api) -> None:
    """JSON is indented when the header or the parameter asks (1.6)."""
    plain = await (await api.send("GET", "/devices")).text()
    by_header = await (await api.send("GET", "/devices", headers={"X-Pretty-Print": "true"})).text()
    by_parameter = await (await api.send("GET", "/devices", params={"pretty_print": "true"})).text()

    assert "\n" not in plain
    assert '\n  "data": []' in by_header
    assert '\n  "data": []' in by_parameter


async def test_preflight_needs_no_credentials(api: Api) -> None:
    """A browser's OPTIONS is answered with what it may send, and an empty body (1.2, 1.7)."""
    headers = {
        "Origin": "https://ui.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-auth-token,content-type",
    }
    response = await api.send("OPTIONS", "/devices", token=None, headers=headers)

    assert (response.status, await response.read()) == (200, NOTHING)
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert response.headers["Access-Control-Allow-Methods"] == "POST, OPTIONS, GET, PUT"
    assert "x-auth-token" in response.headers["Access-Control-Allow-Headers"]
    assert "content-type" in response.headers["Access-Control-Allow-Headers"]
    assert response.headers["Access-Control-Max-Age"] == "86400"


async def test_cors_headers_come_with_errors_and_on_request(api: Api) -> None:
    """Successes carry them for other origins alone, refusals always (1.7)."""
    plain = await api.send("GET", "/devices")
    cross = await api.send("GET", "/devices", headers={"Origin": "https://ui.example"})
    refused = await api.send("GET", "/devices/none")

    assert "Access-Control-Allow-Origin" not in plain.headers
    assert cross.headers["Access-Control-Allow-Origin"] == "*"
    assert refused.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        pytest.param("my-request-1", True, id="taken"),
        pytest.param("x" * 129, False, id="too-long"),
        pytest.param("a\tb", False, id="control"),
        pytest.param("caf\u00e9", False, id="not-ascii"),
    ],
)
async def test_request_id(api: Api, given: str, kept: bool) -> None:
    """A client's request id is echoed, on errors too, unless it could harm a header or a log (7.2)."""
    for path, status in (("/devices", 200), ("/devices/none", 404)):
        response = await api.send("GET", path, headers={"X-Request-ID": given})
        request_id = orjson.loads(await response.read())["request_id"]

        assert response.status == status
        assert (request_id == given) is kept
        assert response.headers["X-Request-ID"] == request_id


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/devices/%FF%FE", id="no-utf-8-in-path"),
        pytest.param("/devices/%00", id="nul-in-path"),
        pytest.param("/devices/a%2Fb", id="slash-in-path"),
        pytest.param("/devices/" + "x" * 5000, id="long-path"),
        pytest.param("/devices?filter_%FF=%FE", id="no-utf-8-in-query"),
        pytest.param("/devices?" + "&".join(f"a{i}=1" for i in range(300)), id="many-parameters"),
        pytest.param("/devices?start_key=%00%ff&page_size=1", id="odd-start-key"),
        pytest.param("/devices?page_size=" + "9" * 500, id="endless-page"),
        pytest.param("/devices?filter_a.b.c.d=[&has_key=...&created_from=x", id="odd-filters"),
        pytest.param("/devices/%F0%9F%98%80/quickcall/%0a", id="control-in-number"),
    ],
)
async def test_odd_urls_are_no_fault_of_ours(api: Api, path: str) -> None:
    """Nothing in a URL gives a 5xx."""
    url = URL(str(api.client.make_url("/")).rstrip("/") + api.account + path, encoded=True)
    async with api.client.session.get(url, headers={"X-Auth-Token": api.token}) as response:
        assert response.status in (200, 400, 404), await response.text()


async def test_client_that_leaves_in_mid_request(api: Api) -> None:
    """A body that never ends changes nothing and is no fault of ours."""
    _, writer = await asyncio.open_connection("127.0.0.1", api.client.port)
    head = f"PUT {api.account}/devices HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {api.token}\r\nContent-Length: 99\r\n\r\n"
    writer.write(head.encode() + b'{"data":{"name":"half"')
    await writer.drain()
    await asyncio.sleep(0.05)  # until the server waits for the rest
    with capture_logs() as logs:
        writer.close()
        await writer.wait_closed()
        await asyncio.sleep(0.05)

    assert (await api.ask("GET", "/devices"))["data"] == []
    assert [(entry["event"], entry["status"]) for entry in logs] == [("api.answered", 400)]


async def test_broken_bytes_in_the_request_line(api: Api) -> None:
    """Bytes that are no text are answered, and the server goes on."""
    port = api.client.port
    for target in (b"/v2/accounts/\xff\xfe", b"/v2/\xc3\x28?a=\xff", b"/v2/accounts/%zz"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nX-Auth-Token: \xff\xfe\r\nConnection: close\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()

        assert b" 40" in answer.split(b"\r\n")[0]
    await api.ask("GET", "/devices")
