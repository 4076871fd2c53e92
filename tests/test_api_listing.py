"""Listings: pages, filters, status columns (contract 5.1-5.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from api.filters import filterable, is_empty, parse_filters
from api.listing import BATCH, MAX_PAGE, Paging, parse_paging
from api.ports import Document, Draft, Kind
from api.reply import WORTH_IT

if TYPE_CHECKING:
    from api_client import Api

DOCUMENT = Document(
    kind=Kind.DEVICE,
    account_id="A",
    id="D",
    revision="1-x",
    created=100,
    modified=200,
    data={
        "name": "desk",
        "enabled": True,
        "sip": {"username": "bob", "expire_seconds": 300},
        "flags": ["a", "b"],
        "empty": "",
        "zero": 0,
        "off": False,
        "nothing": {},
    },
    private={"pvt_x": "y"},
)


async def make(api: Api, count: int) -> list[str]:
    """Store devices without going through the API; returns their ids in order."""
    ids = [f"{number:032x}" for number in range(count)]
    for number, device_id in enumerate(ids):
        data: Any = {"name": f"d{number}", "enabled": number % 3 == 0}
        await api.store.documents.create(Draft(Kind.DEVICE, api.master.account_id, device_id, data))
    return ids


@pytest.mark.parametrize(
    ("query", "passes"),
    [
        ({"filter_name": "desk"}, True),
        ({"filter_name": "des"}, False),
        ({"filter_name": '["desk","other"]'}, True),
        ({"filter_name": '["other"]'}, False),
        ({"filter_enabled": "true"}, True),
        ({"filter_enabled": "false"}, False),
        ({"filter_sip.username": "bob"}, True),
        ({"filter_sip.expire_seconds": "300"}, True),
        ({"filter_sip.expire_seconds": "[300]"}, True),
        ({"filter_flags": '["a","b"]'}, True),
        ({"filter_flags": "a"}, False),
        ({"filter_sip": '{"username":"bob","expire_seconds":300}'}, True),
        ({"filter_none": ""}, True),
        ({"filter_none": "x"}, False),
        ({"filter_name.deeper": "x"}, False),
        ({"filter_not_name": "desk"}, False),
        ({"filter_not_name": "other"}, True),
        ({"filter_not_none": "x"}, True),
        ({"filter_not_none": ""}, False),
        ({"filter_pvt_type": "device"}, True),
        ({"filter_pvt_x": "y"}, True),
        ({"has_key": "sip.username"}, True),
        ({"has_key": "sip.password"}, False),
        ({"key_missing": "sip.password"}, True),
        ({"key_missing": "name"}, False),
        ({"has_value": "name"}, True),
        ({"has_value": "off"}, False),
        ({"has_value": "zero"}, False),
        ({"has_value": "empty"}, False),
        ({"has_value": "nothing"}, False),
        ({"value_missing": "none"}, True),
        ({"value_missing": "off"}, True),
        ({"value_missing": "name"}, False),
        ({"created_from": "100"}, True),
        ({"created_from": "101"}, False),
        ({"created_to": "100"}, True),
        ({"created_to": "99"}, False),
        ({"modified_from": "200", "modified_to": "200"}, True),
        ({"modified_from": "x"}, False),
        ({"modified_to": "-1"}, False),
        ({"filter_name": "desk", "has_key": "none"}, False),
        ({"_": "1700000000000"}, True),
        ({"with_status": "true", "page_size": "1"}, True),
    ],
    ids=str,
)
def test_filters(query: dict[str, str], passes: bool) -> None:
    """Each filter over one document; all of a request must pass (5.4)."""
    whole = filterable(DOCUMENT)

    assert all(each(whole) for each in parse_filters(query)) is passes


@pytest.mark.parametrize("value", [False, 0, 0.0, "0", "false", "", None, "undefined", "NULL", {}, []], ids=repr)
def test_what_kazoo_takes_for_nothing(value: Any) -> None:
    """False, 0 and some texts are as good as missing (9, 16)."""
    assert is_empty(value)


@pytest.mark.parametrize("value", [True, 1, "1", "no", {"a": None}, [0]], ids=repr)
def test_what_is_something(value: Any) -> None:
    """Everything else is a value."""
    assert not is_empty(value)


@pytest.mark.parametrize(
    ("query", "paging"),
    [
        ({}, Paging(50, "")),
        ({"page_size": "7", "start_key": "x"}, Paging(7, "x")),
        ({"page_size": "9" * 50}, Paging(MAX_PAGE, "")),
        ({"paginate": "false", "page_size": "7"}, Paging(None, "")),
        ({"paginate": "FALSE", "page_size": "x"}, Paging(None, "")),
        ({"paginate": "true"}, Paging(50, "")),
    ],
    ids=str,
)
def test_paging_parameters(query: dict[str, str], paging: Paging) -> None:
    """Which part of a listing is meant (5.3)."""
    assert paging == parse_paging(query)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ("x", "invalid page size"),
        ("", "invalid page size"),
        ("1.5", "invalid page size"),
        ("\u0661", "invalid page size"),
        ("0", "page size must be at least 1"),
        ("-5", "page size must be at least 1"),
    ],
)
async def test_bad_page_sizes(api: Api, size: str, message: str) -> None:
    """404 `faulty_request`, with the reason (5.3)."""
    envelope = await api.ask("GET", "/devices", params={"page_size": size}, status=404)

    assert (envelope["message"], envelope["data"]) == ("faulty_request", {"message": message})


@pytest.mark.parametrize("size", [1, 3, 4, 7, 8, 50])
async def test_pages_visit_each_device_once(api: Api, size: int) -> None:
    """Following next_start_key leads through everything and ends (5.3)."""
    ids = await make(api, 8)
    seen: list[str] = []
    query = {"page_size": str(size)}
    while True:
        envelope = await api.ask("GET", "/devices", params=query)
        rows = [row["id"] for row in envelope["data"]]
        seen += rows

        assert envelope["page_size"] == len(rows) <= size
        assert envelope.get("start_key") == query.get("start_key")
        if "next_start_key" not in envelope:
            break
        assert len(rows) == size
        query["start_key"] = envelope["next_start_key"]

    assert ids == seen


async def test_filtered_pages_are_full(api: Api) -> None:
    """Filtering reads on until the page is full (5.3)."""
    ids = await make(api, 30)
    first = await api.ask("GET", "/devices", params={"filter_enabled": "true", "page_size": "4"})
    query = {"filter_enabled": "true", "page_size": "50", "start_key": first["next_start_key"]}
    second = await api.ask("GET", "/devices", params=query)

    assert [row["id"] for row in first["data"] + second["data"]] == ids[::3]
    assert "next_start_key" not in second


async def test_everything_at_once(api: Api) -> None:
    """`paginate=false` gives all rows and none of the paging keys (5.3)."""
    ids = await make(api, BATCH + 1)
    envelope = await api.ask("GET", "/devices", params={"paginate": "false"})

    assert [row["id"] for row in envelope["data"]] == ids
    assert not {"page_size", "start_key", "next_start_key"} & set(envelope)


async def test_large_answers_are_whole_in_every_form(api: Api) -> None:
    """What is sent in pieces can be had by HEAD, as JSONP and indented too."""
    await make(api, 400)
    query = {"paginate": "false"}
    plain = await api.send("GET", "/devices", params=query)
    head = await api.send("HEAD", "/devices", params=query)
    jsonp = await (await api.send("GET", "/devices", params={**query, "jsonp": "f"})).text()
    pretty = await api.ask("GET", "/devices", params={**query, "pretty_print": "true"})

    assert len(await plain.read()) == int(plain.headers["Content-Length"]) > WORTH_IT
    assert (head.status, await head.read()) == (200, b"")
    assert len(pretty["data"]) == 400
    assert jsonp.startswith("f({")
    assert jsonp.endswith("})")


async def test_with_status(api: Api) -> None:
    """Rows carry `registrable` and `registered`."""
    sip = {"username": "bob", "password": "secret"}
    phone = await api.put_device(name="phone", sip=sip)
    await api.put_device(name="bare")
    await api.put_device(name="off", sip={**sip, "username": "off"}, enabled=False)
    await api.put_device(name="trunk", sip={"method": "ip", "ip": "192.0.2.1"})
    api.presence.register(api.master.account_id, phone["id"])
    rows = (await api.ask("GET", "/devices", params={"with_status": "true", "paginate": "false"}))["data"]

    assert {row["name"]: (row["registrable"], row["registered"]) for row in rows} == {
        "phone": (True, True),
        "bare": (False, False),
        "off": (False, False),
        "trunk": (False, False),
    }
    assert "registered" not in (await api.ask("GET", "/devices"))["data"][0]


async def test_filters_come_from_the_query_string_alone(api: Api) -> None:
    """A filter in the body is none (5.4)."""
    await api.put_device()

    assert (await api.ask("GET", "/devices", data={"filter_name": "none"}))["data"]
    assert (await api.ask("GET", "/devices", params={"filter_name": "none"}))["data"] == []


async def test_pages_of_a_users_devices(api: Api) -> None:
    """Paging and filters hold there too, over owned and hotdesked devices (5.2)."""
    user_id = (await api.put_user())["id"]
    own = [(await api.put_device(owner_id=user_id))["id"] for _ in range(2)]
    own.append((await api.put_device(name="guest", hotdesk={"users": {user_id: {}}}))["id"])
    seen: list[str] = []
    query: dict[str, str] = {"page_size": "1"}
    for _ in own:
        envelope = await api.ask("GET", f"/users/{user_id}/devices", params=query)
        seen += [row["id"] for row in envelope["data"]]
        query["start_key"] = envelope.get("next_start_key", "")

    assert sorted(own) == seen
    rows = (await api.ask("GET", f"/users/{user_id}/devices", params={"filter_name": "guest"}))["data"]
    assert [row["hotdesked"] for row in rows] == [True]
