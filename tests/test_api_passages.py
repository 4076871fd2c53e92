"""Requests that are known again: none is let in that would not be let in anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import orjson
import pytest
from aiohttp.test_utils import make_mocked_request

from api.call import Answer
from api.passages import MAX_ANSWER, Passage, key_of
from api.ports import Kind
from daemon.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from api_client import Api
    from conftest import HandClock

    from api.call import Call

STATUS = "/devices/status"


async def status(api: Api, path: str = STATUS, **options: str | dict[str, str] | None) -> int:
    return (await api.send("GET", path, **options)).status


async def test_revoked_token_is_refused_at_once(api: Api) -> None:
    """The token's end is seen by the request that comes next."""
    before = [await status(api), await status(api)]
    await api.ask("DELETE", "/v2/token_auth")

    assert [200, 200] == before
    assert 401 == await status(api)


async def test_token_of_another_account_is_refused_beside_a_good_one(api: Api) -> None:
    """A request is known again with its token, not by its path."""
    _, token = await api.child()

    assert [200, 403, 401, 200] == [
        await status(api),
        await status(api, token=token),
        await status(api, token=None),
        await status(api),
    ]


async def test_deleted_device_is_gone_at_once(api: Api) -> None:
    """So are the changes of a document: each request gets it as it is."""
    device = await api.put_device(name="first")
    path = f"/devices/{device['id']}"
    names = [(await api.ask("GET", path))["data"]["name"] for _ in range(2)]
    await api.ask("PATCH", path, data={"name": "second"})
    names.append((await api.ask("GET", path))["data"]["name"])
    await api.ask("DELETE", path)

    assert ["first", "first", "second"] == names
    assert 404 == await status(api, path)


async def test_account_that_another_process_deletes_is_gone_after_a_second(
    api: Api, store_path: Path, clock: HandClock
) -> None:
    """The command line writes beside the daemon, and tells nobody."""
    child, token = await api.child()
    path = f"/v2/accounts/{child.account_id}/devices/status"
    before = [await status(api, path, token=token) for _ in range(2)]
    other = await Store.open(store_path, clock=clock)
    account = await other.documents.get(Kind.ACCOUNT, child.account_id, child.account_id)
    assert account is not None
    await other.documents.delete(Kind.ACCOUNT, account.id, account.id, revision=account.revision)
    await other.close()
    clock.now += 1

    assert [200, 200] == before
    assert 404 == await status(api, path, token=token)


@pytest.mark.parametrize("path", [STATUS, "/devices?with_status=true", "/devices?with_status=true&pretty_print=true"])
async def test_device_that_comes_or_goes_is_seen_at_once(api: Api, path: str) -> None:
    """An answer that tells who is registered does not outlive that."""
    device = await api.put_device()
    answers = []
    for registered in (False, True, True, False):
        if registered:
            api.presence.register(api.master.account_id, device["id"])
        else:
            await api.presence.drop_all(api.master.account_id)
        answers += [(await api.ask("GET", path))["data"] for _ in range(2)]
    told = [bool(rows and rows[0]["registered"]) for rows in answers]

    assert [False, False, True, True, True, True, False, False] == told


async def test_each_answer_has_the_id_of_its_request(api: Api) -> None:
    """Whatever is remembered of the answer before."""
    given = [{"X-Request-ID": "one"}, {"X-Request-ID": 'tw"o'}, {}, {}]
    answers = [await api.send("GET", STATUS, headers=headers) for headers in given]
    ids = [orjson.loads(await answer.read())["request_id"] for answer in answers]

    assert [answer.headers["X-Request-ID"] for answer in answers] == ids
    assert ["one", 'tw"o'] == ids[:2]
    assert 4 == len(set(ids))


async def test_answer_that_is_remembered_is_dressed_as_it_was(api: Api) -> None:
    """A page of another origin, and one that calls a function, get what they need each time."""
    headers = {"Origin": "https://ui.example"}
    answers = [await api.send("GET", "/devices?jsonp=load", headers=headers) for _ in range(3)]

    assert ["*"] * 3 == [answer.headers["Access-Control-Allow-Origin"] for answer in answers]
    assert ["application/javascript"] * 3 == [answer.headers["Content-Type"] for answer in answers]
    assert ["load({"] * 3 == [(await answer.text())[:6] for answer in answers]


@pytest.mark.parametrize(
    ("answer", "is_kept"),
    [
        pytest.param(Answer(["x"], stands=True), True, id="stands"),
        pytest.param(Answer(["x"]), False, id="made-anew-each-time"),
        pytest.param(Answer(b"x" * MAX_ANSWER, stands=True), True, id="large"),
        pytest.param(Answer(b"x" * (MAX_ANSWER + 1), stands=True), False, id="too-large"),
    ],
)
def test_what_is_remembered_of_answers(answer: Answer, is_kept: bool) -> None:
    """Those that stand, unless they would fill the memory."""
    passage = Passage(cast("Call", None))  # which is asked for what is registered alone
    told = passage.remember(answer)

    assert (told if is_kept else None) == passage.recall()


@pytest.mark.parametrize(
    ("header", "value", "expected"),
    [
        pytest.param("X-Auth-Account-ID", "f" * 32, 401, id="claims-another-account"),
        pytest.param("Accept", "text/html", 406, id="takes-no-json"),
    ],
)
async def test_headers_that_have_a_say_are_looked_at_each_time(
    api: Api, header: str, value: str, expected: int
) -> None:
    """What they refuse is refused beside the same request without them."""
    answers = [await status(api), await status(api, headers={header: value}), await status(api)]

    assert [200, expected, 200] == answers


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        pytest.param("GET", "/v2/x", {}, id="no-token"),
        pytest.param("GET", "/v2/x", {"Authorization": "Bearer t"}, id="token-elsewhere"),
        pytest.param("PUT", "/v2/x", {"X-Auth-Token": "t"}, id="a-change"),
    ],
)
def test_what_is_looked_at_anew_each_time(method: str, path: str, headers: dict[str, str]) -> None:
    """What was found out is used again for plain reads alone."""
    assert key_of(make_mocked_request(method, path, headers=headers)) is None
