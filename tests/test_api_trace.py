"""The trace of a device, over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from api.ports import TooManyTraces
from sip.flow import Address, Transport
from sip.sighting import Sighting

if TYPE_CHECKING:
    from api_client import Api

OPTIONS = b"OPTIONS sip:a SIP/2.0\r\nCall-ID: \xff\r\n\r\n"


def seen(number: int) -> Sighting:
    local, remote = Address("192.0.2.1", 5060), Address("2001:db8::7", 5062)
    return Sighting(number, 1_700_000_000.5, False, Transport.UDP, local, remote, OPTIONS, len(OPTIONS) + 5)


async def test_trace_is_started_read_stopped_and_cleared(api: Api) -> None:
    """Each step answers with how it stands."""
    path = f"/devices/{(await api.put_device())['id']}/trace"
    await api.ask("GET", path, status=404)
    await api.ask("POST", path, data={"action": "stop"}, status=404)
    started = await api.ask("POST", path, data={"action": "start"})
    api.traces.messages += [seen(1), seen(2)]
    whole = (await api.ask("GET", path))["data"]
    rest = (await api.ask("GET", f"{path}?after=1"))["data"]
    stopped = await api.ask("POST", path, data={"action": "stop"})
    await api.ask("DELETE", path)
    await api.ask("GET", path, status=404)

    assert api.traces.asked == [(3600, 1000)]
    assert (started["data"]["running"], stopped["data"]["running"]) == (True, False)
    assert [each["number"] for each in whole["messages"]] == [1, 2]
    assert [each["number"] for each in rest["messages"]] == [2]
    assert whole["messages"][0] == {
        "number": 1,
        "time": 1_700_000_000.5,
        "sent": False,
        "transport": "udp",
        "source": "[2001:db8::7]:5062",
        "destination": "192.0.2.1:5060",
        "start_line": "OPTIONS sip:a SIP/2.0",
        "length": len(OPTIONS) + 5,
        "message": OPTIONS.decode("utf-8", "replace"),
    }


@pytest.mark.parametrize(
    ("data", "key"),
    [
        ({}, "action"),
        ({"action": "dance"}, "action"),
        ({"action": "start", "seconds": 0}, "seconds"),
        ({"action": "start", "seconds": 86_401}, "seconds"),
        ({"action": "start", "messages": 2001}, "messages"),
    ],
)
async def test_what_is_asked_for_has_limits(api: Api, data: dict[str, object], key: str) -> None:
    """Each is a fault of validation."""
    path = f"/devices/{(await api.put_device())['id']}/trace"

    assert list((await api.ask("POST", path, data=data, status=400))["data"]) == [key]
    assert api.traces.asked == []


@pytest.mark.parametrize(
    ("accept", "expected", "begin"),
    [
        ("text/plain", "text/plain; charset=utf-8", b"--- 2023-11-14 22:13:20.500000 received by UDP"),
        ("application/vnd.tcpdump.pcap", "application/vnd.tcpdump.pcap", b"\xd4\xc3\xb2\xa1"),
        ("text/plain;q=0, application/vnd.tcpdump.pcap", "application/vnd.tcpdump.pcap", b"\xd4\xc3\xb2\xa1"),
        ("application/json, text/plain", "application/json", b'{"data":'),
        ("*/*", "application/json", b'{"data":'),
    ],
)
async def test_form_is_what_the_client_accepts(api: Api, accept: str, expected: str, begin: bytes) -> None:
    """By the header, or by the parameter of that name."""
    path = f"/devices/{(await api.put_device())['id']}/trace"
    await api.ask("POST", path, data={"action": "start"})
    api.traces.messages.append(seen(1))
    by_header = await api.send("GET", path, headers={"Accept": accept})
    by_parameter = await api.send("GET", path, params={"accept": accept})

    for response in (by_header, by_parameter):
        assert (response.status, response.headers["Content-Type"]) == (200, expected)
        assert (await response.read()).startswith(begin)


async def test_ladder_and_what_there_is_not(api: Api) -> None:
    """Other types are 406, other views a fault; other routes have no text."""
    path = f"/devices/{(await api.put_device())['id']}/trace"
    await api.ask("POST", path, data={"action": "start"})
    api.traces.messages.append(seen(1))
    ladder = await api.send("GET", f"{path}?view=ladder", headers={"Accept": "text/plain"})

    assert b"|--" in await ladder.read()
    assert (await api.send("GET", path, headers={"Accept": "image/png"})).status == 406
    assert (await api.send("GET", "/devices", headers={"Accept": "text/plain"})).status == 406
    assert (await api.send("GET", f"{path}?view=x", headers={"Accept": "text/plain"})).status == 400


async def test_whole_number_may_have_a_point(api: Api) -> None:
    """For JSON Schema 60.0 is an integer."""
    path = f"/devices/{(await api.put_device())['id']}/trace"
    await api.ask("POST", path, data={"action": "start", "seconds": 60.0, "messages": 5.0})

    assert api.traces.asked == [(60, 5)]


async def test_too_many_traces_is_429(api: Api) -> None:
    """One must be stopped first."""
    api.traces.failure = TooManyTraces("full")
    path = f"/devices/{(await api.put_device())['id']}/trace"

    assert "stop one" in (await api.ask("POST", path, data={"action": "start"}, status=429))["data"]["message"]
