"""Check-sync over HTTP: parameters, delivery reports, and syncs of many devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from api.ports import DeliveryReport, TooManyJobs
from sip.delivery import DeliveryState
from sip.vendor import Mode

if TYPE_CHECKING:
    from api_client import Api

REPORT = DeliveryReport(
    "sip:bob@192.0.2.7:5062", "Yealink SIP-T46U 108.86.0.40", "yealink", "check-sync;reboot=true",
    DeliveryState.REBOOTED, True, 200, "OK", 41, 63_867_219_200,
)  # fmt: skip
ROW = {
    "contact": "sip:bob@192.0.2.7:5062",
    "user_agent": "Yealink SIP-T46U 108.86.0.40",
    "vendor": "yealink",
    "event": "check-sync;reboot=true",
    "state": "rebooted",
    "final": True,
    "sip_status": 200,
    "sip_reason": "OK",
    "latency_ms": 41,
    "sent_at": 63_867_219_200,
}


@pytest.fixture
async def path(api: Api) -> str:
    return f"/devices/{(await api.put_device())['id']}"


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        pytest.param({}, (None, None, 0), id="nothing"),
        pytest.param({"params": {"wait": "2.5"}}, (None, None, 2.5), id="wait-in-the-query"),
        pytest.param({"data": {"wait": 60}}, (None, None, 60), id="wait-in-the-body"),
        pytest.param({"data": {"wait": "5"}}, (None, None, 5), id="wait-as-text"),
        pytest.param({"params": {"mode": "reboot"}}, (Mode.REBOOT, None, 0), id="mode"),
        pytest.param({"data": {"contact": "sip:a@b"}}, (None, "sip:a@b", 0), id="contact"),
        pytest.param(
            {"params": {"mode": "reboot", "wait": "9"}, "data": {"mode": "resync"}},
            (Mode.RESYNC, None, 9),
            id="the-body-goes-before-the-query",
        ),
    ],
)
async def test_parameters_of_a_sync(api: Api, path: str, options: dict[str, Any], asked: tuple[Any, ...]) -> None:
    """They stand where all parameters may (contract 1.4)."""
    envelope = await api.ask("POST", f"{path}/sync", **options)

    assert envelope["data"] == "sync request sent"
    assert api.control.asked == [asked]


@pytest.mark.parametrize(
    ("parameter", "value", "rule"),
    [
        pytest.param("wait", -1, "minimum", id="negative-wait"),
        pytest.param("wait", 61, "maximum", id="wait-too-long"),
        pytest.param("wait", "soon", "type", id="wait-that-is-no-number"),
        pytest.param("wait", True, "type", id="wait-that-is-a-boolean"),
        pytest.param("wait", "nan", "type", id="wait-that-is-not-a-number"),
        pytest.param("mode", "explode", "enum", id="unknown-mode"),
        pytest.param("mode", 1, "enum", id="mode-that-is-no-text"),
        pytest.param("contact", "", "minLength", id="empty-contact"),
        pytest.param("contact", ["sip:a@b"], "type", id="contact-that-is-a-list"),
    ],
)
@pytest.mark.parametrize("action", [None, "sync", "notify"])
async def test_bad_parameters(api: Api, path: str, parameter: str, value: Any, rule: str, action: str | None) -> None:
    """They are validation errors, and nothing is sent."""
    if action is None:
        envelope = await api.ask("POST", f"{path}/sync", data={parameter: value}, status=400)
    else:
        data = {"action": action, "data": {"event": "talk"}, parameter: value}
        envelope = await api.ask("PUT", path, data=data, status=400)

    assert envelope["message"] == "validation error"
    assert rule in envelope["data"][parameter]
    assert (api.control.synced, api.control.notified) == ([], [])


async def test_all_bad_parameters_are_told_at_once(api: Api, path: str) -> None:
    envelope = await api.ask("POST", f"{path}/sync", data={"wait": 61, "mode": "x", "contact": ""}, status=400)

    assert envelope["data"].keys() == {"wait", "mode", "contact"}


async def test_deliveries_are_in_the_envelope_of_who_waits(api: Api, path: str) -> None:
    """`data` stays Kazoo's text."""
    api.control.reports = [REPORT]

    assert "deliveries" not in await api.ask("POST", f"{path}/sync")
    waited = await api.ask("POST", f"{path}/sync", params={"wait": "1"})
    assert (waited["data"], waited["deliveries"]) == ("sync request sent", [ROW])


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        pytest.param({"action": "sync", "mode": "reboot", "wait": 1}, "sync request sent", id="sync"),
        pytest.param({"action": "notify", "data": {"event": "talk"}, "wait": 1}, "NOTIFY sent", id="notify"),
    ],
)
async def test_actions_report_as_the_sync_does(api: Api, path: str, data: dict[str, Any], answer: str) -> None:
    """PUT with an action and `wait` (contract 5.9)."""
    api.control.reports = [REPORT]
    envelope = await api.ask("PUT", path, data=data, status=201)

    assert (envelope["data"], envelope["deliveries"]) == (answer, [ROW])


@pytest.mark.parametrize(
    ("notify", "key"),
    [
        pytest.param({"event": "a b"}, "event", id="event"),
        pytest.param({"event": "e" * 300}, "event", id="long-event"),
        pytest.param(
            {"event": "talk", "body": {"data": "x", "content_type": "text"}}, "body.content_type", id="content-type"
        ),
        pytest.param(
            {"event": "talk", "body": {"data": "x" * 20_000, "content_type": "a/b"}}, "body.data", id="long-body"
        ),
    ],
)
async def test_a_notify_that_no_phone_could_read(api: Api, path: str, notify: dict[str, Any], key: str) -> None:
    """What cannot be sent is refused, not sent in vain."""
    envelope = await api.ask("PUT", path, data={"action": "notify", "data": notify}, status=400)

    assert envelope["data"].keys() == {key}
    assert api.control.notified == []


async def test_last_outcomes(api: Api, path: str) -> None:
    """GET on the same path tells what became of the last ones, whoever asked for them."""
    api.control.reports = [REPORT]

    assert (await api.ask("GET", f"{path}/sync"))["data"] == [ROW]
    assert (await api.ask("GET", "/devices/" + "0" * 32 + "/sync", status=404))["message"] == "bad_identifier"


async def test_bytes_of_a_phone_that_are_no_text(api: Api, path: str) -> None:
    """A phone may call itself anything."""
    api.control.reports = [
        DeliveryReport("sip:\udcff@h", "\udcfe", "unknown", "", DeliveryState.UNREACHABLE, False, None, "", None, 1)
    ]
    (row,) = (await api.ask("GET", f"{path}/sync"))["data"]

    assert (row["contact"], row["user_agent"], row["sip_status"]) == ("sip:\ufffd@h", "\ufffd", None)


async def test_sync_of_all_devices_is_a_job(api: Api) -> None:
    """Each device that is there gets its turn, at five a second."""
    ids = [(await api.put_device(name=f"n{number}"))["id"] for number in range(3)]
    job = (await api.ask("POST", "/devices/sync"))["data"]

    assert job == {
        "id": job["id"],
        "state": "running",
        "rate": 5.0,
        "total": 3,
        "sent": 0,
        "waiting": 3,
        "pending": 0,
        "states": {},
        "created": 63_867_219_200,
    }
    assert api.jobs.devices == [sorted(ids)]


async def test_filters_choose_the_devices(api: Api) -> None:
    """Those of listings, from the query string."""
    first = (await api.put_device(name="first"))["id"]
    await api.put_device(name="second")
    path = "/devices/sync?filter_name=first"
    job = (await api.ask("POST", path, data={"rate": 0.5, "mode": "reboot"}))["data"]

    assert (job["rate"], job["mode"], job["total"]) == (0.5, "reboot", 1)
    assert api.jobs.devices == [[first]]


async def test_many_devices_are_all_found(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many pages they fill."""
    monkeypatch.setattr("api.sync_jobs.BATCH", 2)
    ids = [(await api.put_device(name=f"n{number}"))["id"] for number in range(5)]
    await api.ask("POST", "/devices/sync")

    assert api.jobs.devices == [sorted(ids)]


async def test_sync_of_a_users_devices(api: Api) -> None:
    """The jobs of a user are seen below the user, and below the account."""
    ann, bea = (await api.put_user())["id"], (await api.put_user())["id"]
    device = (await api.put_device(owner_id=ann))["id"]
    await api.put_device(name="nobody's")
    job = (await api.ask("POST", f"/users/{ann}/devices/sync"))["data"]

    assert (job["user_id"], api.jobs.devices) == (ann, [[device]])
    assert (await api.ask("GET", f"/users/{ann}/devices/sync/{job['id']}"))["data"] == job
    assert (await api.ask("GET", f"/devices/sync/{job['id']}"))["data"] == job
    assert (await api.ask("GET", f"/users/{ann}/devices/sync"))["data"] == [job]
    assert (await api.ask("GET", f"/users/{bea}/devices/sync"))["data"] == []
    await api.ask("GET", f"/users/{bea}/devices/sync/{job['id']}", status=404)
    await api.ask("DELETE", f"/users/{bea}/devices/sync/{job['id']}", status=404)


async def test_jobs_are_listed_and_stopped(api: Api) -> None:
    """The latest first; an unknown one is 404."""
    first = (await api.ask("POST", "/devices/sync"))["data"]
    second = (await api.ask("POST", "/devices/sync"))["data"]
    assert [job["id"] for job in (await api.ask("GET", "/devices/sync"))["data"]] == [second["id"], first["id"]]

    stopped = (await api.ask("DELETE", f"/devices/sync/{first['id']}"))["data"]

    assert (stopped["state"], stopped["ended"]) == ("stopped", 63_867_219_300)
    await api.ask("GET", "/devices/sync/none", status=404)
    await api.ask("DELETE", "/devices/sync/none", status=404)


async def test_jobs_of_another_account_are_not_found(api: Api) -> None:
    child, token = await api.child()
    job = (await api.ask("POST", "/devices/sync"))["data"]

    await api.ask("GET", f"/v2/accounts/{child.account_id}/devices/sync/{job['id']}", token=token, status=404)


@pytest.mark.parametrize(
    ("data", "key", "rule"),
    [
        pytest.param({"rate": 0}, "rate", "minimum", id="no-rate"),
        pytest.param({"rate": 101}, "rate", "maximum", id="too-fast"),
        pytest.param({"rate": "fast"}, "rate", "type", id="rate-that-is-no-number"),
        pytest.param({"mode": "x"}, "mode", "enum", id="unknown-mode"),
    ],
)
async def test_bad_parameters_of_a_job(api: Api, data: dict[str, Any], key: str, rule: str) -> None:
    envelope = await api.ask("POST", "/devices/sync", data=data, status=400)

    assert rule in envelope["data"][key]
    assert api.jobs.devices == []


async def test_too_many_jobs(api: Api) -> None:
    """Their paces would add up."""
    api.jobs.failure = TooManyJobs()
    response = await api.send("POST", "/devices/sync")

    assert (response.status, response.headers["Retry-After"]) == (429, "60")
