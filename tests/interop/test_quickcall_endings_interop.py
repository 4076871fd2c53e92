"""Odd endings of calls, with SIPp at the far end: each leaves no leg up, and says what it was."""

from __future__ import annotations

import asyncio
import time
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import pytest
from dns_server import DnsServer
from odd_phone import ANSWER, BUSY, CHALLENGE, ENDED, JOINED, Ask, Await, OddPhone, Pause, Say
from roost_process import API_HOST, Roost, eventually

from daemon.demo_phones import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from roost_process import Device

pytestmark = pytest.mark.interop

CANCELLED = (Await("CANCEL"), Say(200, tag=""), Say(487, invite=True), Await("ACK"))
TRUNK = {"username": "trunk", "password": "over the hills"}
DIGEST = 'Proxy-Authorization: Digest username="trunk", realm="pbx"'
ELSEWHERE = 'Reason: SIP;cause=200;text="Call completed elsewhere"'


@pytest.fixture
def odd(tmp_path: Path, peer: Callable[[str], None]) -> Iterator[Callable[..., OddPhone]]:
    """Make phones from their steps; they end with the test."""
    peer("sipp")
    phones: list[OddPhone] = []

    def make(*steps: object, port: int = 0) -> OddPhone:
        phones.append(OddPhone(tmp_path / f"odd{len(phones)}", steps, port=port))
        return phones[-1]

    yield make
    for phone in phones:
        phone.stop()


@pytest.fixture
def roost_with(tmp_path: Path) -> Iterator[Callable[..., Roost]]:
    """Start a daemon with settings of the test's own; it ends with the test."""
    daemons: list[Roost] = []

    def start(**settings: Mapping[str, object]) -> Roost:
        daemons.append(Roost(tmp_path / f"roost{len(daemons)}", settings).create().start())
        return daemons[-1]

    yield start
    for daemon in daemons:
        assert daemon.stop() == 0


def device_at(roost: Roost, phone: OddPhone, **fields: Any) -> Device:
    """Make a device that is called at this phone, without a registration."""
    device = roost.create_device(**fields)
    sip = {"invite_format": "route", "route": phone.uri}
    assert roost.on_account("PATCH", f"/devices/{device.id}", {"sip": sip}).status == 200
    return device


def ring(roost: Roost, device: Device, query: str = "?media=bypass") -> None:
    """Begin a quickcall to the number at the route."""
    answer = roost.quickcall(device, "5551234", query)
    assert answer.status == 200, answer.body


def ended(roost: Roost, device: Device, legs: int = 2, *, limit: float = 5.0) -> list[dict[str, Any]]:
    """Wait for the CDRs of the one call of a device, the device's own first."""
    deadline, found = time.monotonic() + limit, []
    while time.monotonic() < deadline:
        rows = roost.on_account("GET", "/cdrs?page_size=50").data
        calls = {row["interaction_id"] for row in rows if row.get("authorizing_id") == device.id}
        found = sorted(
            (row for row in rows if row["interaction_id"] in calls), key=lambda row: (row["side"], row["began_at"])
        )
        if len(found) >= legs:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not {legs} CDRs: {found}")


def happened(roost: Roost, name: str) -> list[dict[str, Any]]:
    """Return the events of a name in the log."""
    return [event for event in roost.log_events() if event["event"] == name]


def outcomes(roost: Roost, device: Device, legs: int = 2) -> list[tuple[str, int]]:
    """Return how the legs of the one call of a device ended, the device's own first."""
    return [(row["outcome"], row["sip_status"]) for row in ended(roost, device, legs)]


@pytest.mark.parametrize(
    ("status", "outcome", "cause"),
    [
        (486, "busy", 17),
        (603, "declined", 21),
        (480, "no_answer", 18),
        (404, "not_found", 1),
        (488, "rejected_codec", 88),
        (503, "unreachable", 41),
    ],
)
def test_a_number_that_refuses_frees_the_phone_and_says_why(
    roost: Roost, odd: Callable[..., OddPhone], status: int, outcome: str, cause: int
) -> None:
    """The reason goes to the phone that waits, and into both CDRs."""
    far = odd(Say(180), Say(status), Await("ACK"), port=roost.route_port)
    phone = odd(*ANSWER, Await("BYE", has=f"Reason: SIP;cause={status};.*Q.850;cause={cause}"), Say(200, tag=""))
    device = device_at(roost, phone)
    ring(roost, device)
    far.done()
    phone.done()

    rows = ended(roost, device)
    assert {(outcome, status, cause, "number")} == {
        (row["outcome"], row["sip_status"], row["q850_cause"], row["hangup_side"]) for row in rows
    }


def test_a_device_that_refuses_is_told_to_who_waits(roost: Roost, odd: Callable[..., OddPhone]) -> None:
    """POST: 500 with the cause in words (contract 5.10)."""
    phone = odd(Say(180), *BUSY)
    device = device_at(roost, phone)
    answer = roost.quickcall(device, "5551234", method="POST")
    phone.done()

    assert (answer.status, answer.body["message"]) == (500, "quickcall initiation failed")
    assert "busy (SIP 486, Q.850 17)" in answer.body["data"]["error_message"]
    assert outcomes(roost, device, 1) == [("busy", 486)]


def test_a_phone_that_rings_and_does_not_answer_by_itself_is_told_apart(
    roost: Roost, odd: Callable[..., OddPhone]
) -> None:
    """The vendor's header did not make it answer: whoever set it up has to know."""
    phone = odd(Say(180), *CANCELLED)
    device = device_at(roost, phone)
    answer = roost.quickcall(device, "5551234", "?media=bypass&timeout=4", method="POST")
    phone.done()

    assert "rang but did not auto-answer" in answer.body["data"]["error_message"]
    assert [row["remark"] for row in ended(roost, device, 1)] == ["rang but did not auto-answer"]


def test_a_ringing_phone_that_knows_talk_is_told_to_answer(roost: Roost, odd: Callable[..., OddPhone]) -> None:
    """By a NOTIFY within the dialog that its 180 made (vendors 3)."""
    phone = odd(
        Say(180, {"Allow-Events": "talk, hold"}), Await("NOTIFY", has="Event: talk"), Say(200, tag=""),
        Say(200, invite=True, sdp=True), Await("ACK"), *ENDED,
    )  # fmt: skip
    far = odd(*BUSY, port=roost.route_port)
    ring(roost, device_at(roost, phone))

    phone.done()
    far.done()


async def test_the_next_host_of_the_route_is_tried_where_one_is_silent(
    roost_with: Callable[..., Roost], odd: Callable[..., OddPhone]
) -> None:
    """DNS names two (RFC 3263 4.3): the first is a host where nobody listens, the second answers."""
    far, dead = odd(*ANSWER, *ENDED), free_port()
    zone = {
        ("_sip._udp.pbx.example.", "SRV"): [f"10 0 {dead} one.pbx.example.", f"20 0 {far.port} two.pbx.example."],
        ("one.pbx.example.", "A"): ["127.0.0.1"],
        ("two.pbx.example.", "A"): ["127.0.0.1"],
    }
    server = await DnsServer(zone).start()
    route = {"route": "sip:{number}@pbx.example", "asserted_identity": "tel:+4930123"}
    sip = {"nameservers": [str(server.address)]}
    roost = await asyncio.to_thread(lambda: roost_with(sip=sip, quickcall=route))
    phone = odd(*ANSWER, *JOINED, Pause(0.3), Ask("BYE"))
    device = await asyncio.to_thread(device_at, roost, phone)
    await asyncio.to_thread(ring, roost, device)
    for each in (far, phone):
        await asyncio.to_thread(each.done)
    server.close()

    assert "P-Asserted-Identity: <tel:+4930123>" in far.heard()


def test_a_number_that_redirects_is_followed(roost: Roost, odd: Callable[..., OddPhone]) -> None:
    """302 to another host and port, whose answer is connected."""
    second = odd(*ANSWER, Pause(0.3), Ask("BYE"))
    contact = {"Contact": f"<{second.uri};q=0.9>, <sip:nobody@127.0.0.1:9>;q=0.1"}
    first = odd(Say(302, contact), Await("ACK"), port=roost.route_port)
    phone = odd(*ANSWER, *JOINED, *ENDED)
    device = device_at(roost, phone)
    ring(roost, device)
    for each in (first, second, phone):
        each.done()

    assert outcomes(roost, device, 3) == [("answered", 200), ("redirected", 302), ("answered", 200)]


@pytest.mark.parametrize(
    ("status", "challenge", "answered", "answer"),
    [
        pytest.param(401, "WWW-Authenticate", Await("INVITE", **TRUNK), "Authorization", id="401"),
        # SIPp calculates the digest for 401 alone.
        pytest.param(407, "Proxy-Authenticate", Await("INVITE", has=DIGEST), "Proxy-Authorization", id="407"),
    ],
)
def test_a_route_that_demands_a_password_gets_its_digest(
    roost_with: Callable[..., Roost],
    odd: Callable[..., OddPhone],
    status: int,
    challenge: str,
    answered: Await,
    answer: str,
) -> None:
    """SIPp checks it, as a trunk would; the ACK carries it too."""
    roost = roost_with(quickcall=TRUNK)
    far = odd(
        Say(status, {challenge: CHALLENGE}),
        Await("ACK"),
        answered,
        Say(200, sdp=True),
        Await("ACK", has=f"{answer}: Digest"),
        Ask("BYE"),
        port=roost.route_port,
    )
    phone = odd(*ANSWER, *ENDED)
    ring(roost, device_at(roost, phone))
    far.done()
    phone.done()


def test_a_bye_whose_answer_is_lost_is_sent_again(roost: Roost, odd: Callable[..., OddPhone]) -> None:
    """Two go unanswered (SIPp swallows repetitions); the third ends the leg."""
    far = odd(*ANSWER, Await("BYE"), Pause(1.2), Say(200, tag=""), port=roost.route_port)
    phone = odd(*ANSWER, *JOINED, Pause(0.3), Ask("BYE"))
    device = device_at(roost, phone)
    ring(roost, device)
    phone.done()
    far.done()

    assert outcomes(roost, device) == [("answered", 200)] * 2


def test_an_answer_that_crosses_the_cancel_is_acknowledged_and_ended(
    roost: Roost, odd: Callable[..., OddPhone]
) -> None:
    """RFC 3261 9.1: the 200 was on its way already."""
    far = odd(
        Say(180),
        Await("CANCEL"),
        Say(200, tag=""),
        Say(200, invite=True, sdp=True),
        Await("ACK"),
        *ENDED,
        port=roost.route_port,
    )
    phone = odd(*ANSWER, Pause(0.5), Ask("BYE"))
    device = device_at(roost, phone)
    ring(roost, device)
    phone.done()
    far.done()

    assert outcomes(roost, device) == [("cancelled", 487)] * 2


def test_every_fork_that_answers_is_acknowledged_and_all_but_one_ended(
    roost: Roost, odd: Callable[..., OddPhone]
) -> None:
    """Behind the route may be several phones, and the first 200 wins (RFC 3261 13.2.2.4)."""
    far = odd(
        Say(180), Say(180, tag="fork"), Say(200, sdp=True), Await("ACK"),
        Say(200, invite=True, tag="fork", sdp=True), Await("ACK", has="To: [^;]*;tag=fork"),
        Await("BYE", has="To: [^;]*;tag=fork"), Say(200, tag=""), Ask("BYE"),
        port=roost.route_port,
    )  # fmt: skip
    phone = odd(*ANSWER, *JOINED, *ENDED)
    device = device_at(roost, phone)
    ring(roost, device)
    far.done()
    phone.done()

    assert outcomes(roost, device) == [("answered", 200)] * 2


@pytest.mark.slow
def test_a_phone_that_dies_in_mid_call_ends_it(roost_with: Callable[..., Roost], odd: Callable[..., OddPhone]) -> None:
    """It answers no OPTIONS any more (RFC 3261 12.2.1.2): the other one is not left talking to nobody."""
    roost = roost_with(quickcall={"probe_interval": 1})
    far = odd(*ANSWER, Await("OPTIONS"), port=roost.route_port)
    probed = (Await("OPTIONS"), Say(200, tag=""))
    phone = odd(*ANSWER, *JOINED, *probed * 34)
    device, _ = talking(roost, phone)
    far.stop()
    rows = ended(roost, device, limit=45)
    phone.stop()

    assert {("lost", 408, "number")} == {(row["outcome"], row["sip_status"], row["hangup_side"]) for row in rows}
    assert "BYE" in phone.heard()


@pytest.mark.slow
def test_an_answer_long_after_the_cancel_is_ended_too(roost: Roost, odd: Callable[..., OddPhone]) -> None:
    """The call is over after 64*T1 (RFC 3261 9.1), and a phone that answers then is not left talking to nobody."""
    phone = odd(
        Say(180), Await("CANCEL"), Say(200, tag=""), Pause(34), Say(200, invite=True, sdp=True), Await("ACK"), *ENDED
    )
    device = device_at(roost, phone)
    ring(roost, device, "?media=bypass&timeout=4")

    assert [row["outcome"] for row in ended(roost, device, 1)] == ["no_answer"]
    phone.done(limit=50)


def test_all_devices_of_a_user_ring_and_the_first_answer_wins(roost: Roost, odd: Callable[..., OddPhone]) -> None:
    """The other ones are cancelled, and told that the call was answered elsewhere (RFC 3326)."""
    user = roost.on_account("PUT", "/users", {"first_name": "Ann", "last_name": "Lee"}).data["id"]
    slow = odd(Say(180), Await("CANCEL", has=ELSEWHERE), Say(200, tag=""), Say(487, invite=True), Await("ACK"))
    fast = odd(Say(180), Pause(0.3), Say(200, sdp=True), Await("ACK"), *ENDED)
    far = odd(*BUSY, port=roost.route_port)
    for phone in (slow, fast):
        device_at(roost, phone, owner_id=user)
    answer = roost.on_account("POST", f"/users/{user}/quickcall/5551234?media=bypass", {})
    for phone in (slow, fast, far):
        phone.done()

    assert answer.status == 200, answer.body
    assert len({endpoint["outbound_call_id"] for endpoint in answer.data["endpoints"]}) == 2
    rows = roost.on_account("GET", f"/users/{user}/cdrs").data
    assert sorted(row["outcome"] for row in rows) == ["answered_elsewhere", "busy"]


async def test_calls_that_are_up_are_ended_when_the_daemon_stops(
    own_roost: Roost, odd: Callable[..., OddPhone]
) -> None:
    """BYE to who talks, CANCEL to who rings."""
    far = odd(*ANSWER, *ENDED, port=own_roost.route_port)
    talking = odd(*ANSWER, *JOINED, *ENDED)
    ringing = odd(Say(180), *CANCELLED)
    for phone in (talking, ringing):
        ring(own_roost, device_at(own_roost, phone))
    await eventually(lambda: happened(own_roost, "quickcall.connected"), "two phones that talk")
    await eventually(lambda: len(happened(own_roost, "quickcall.ringing")) == 3, "a phone that rings")
    assert own_roost.stop() == 0

    for phone in (far, talking, ringing):
        phone.done()


def test_a_client_that_does_not_wait_for_its_answer_ends_no_call(roost: Roost, odd: Callable[..., OddPhone]) -> None:
    """The call belongs to the phones."""
    far = odd(*ANSWER, Pause(0.2), Ask("BYE"), port=roost.route_port)
    phone = odd(
        Say(180), Pause(1), Say(200, sdp=True), Await("ACK"),
        *JOINED, *ENDED,
    )  # fmt: skip
    device = device_at(roost, phone)
    path = f"/v2/accounts/{roost.account_id}/devices/{device.id}/quickcall/5551234?media=bypass"
    client = HTTPConnection(API_HOST, roost.api_port)
    client.request("POST", path, headers={"X-Auth-Token": roost.token})
    client.close()
    phone.done()
    far.done()

    assert outcomes(roost, device) == [("answered", 200)] * 2


def talking(roost: Roost, phone: OddPhone) -> tuple[Device, dict[str, str]]:
    """Let a phone talk to the number; returns the Call-IDs of its channels by side."""
    device = device_at(roost, phone)
    ring(roost, device)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        rows = roost.on_account("GET", f"/devices/{device.id}/channels").data
        if rows and rows[0].get("other_leg"):
            return device, {"device": rows[0]["uuid"], "number": rows[0]["other_leg"]}
        time.sleep(0.05)
    raise AssertionError("the two do not talk")


@pytest.mark.parametrize("side", ["device", "number"])
def test_a_call_is_hung_up_by_the_api(roost: Roost, odd: Callable[..., OddPhone], side: str) -> None:
    """By either of its channels: both phones get a BYE."""
    far = odd(*ANSWER, *ENDED, port=roost.route_port)
    phone = odd(*ANSWER, *JOINED, *ENDED)
    device, channels = talking(roost, phone)
    answer = roost.on_account("POST", f"/channels/{channels[side]}", {"action": "hangup"})
    far.done()
    phone.done()

    assert answer.status == 202, answer.body
    assert {(row["outcome"], row["hangup_side"]) for row in ended(roost, device)} == {("answered", "roost")}


def test_a_call_is_transferred_by_the_api(roost: Roost, odd: Callable[..., OddPhone]) -> None:
    """The first number is let go of, and the device talks to the other one."""
    far = odd(*ANSWER, *ENDED, port=roost.route_port)
    phone = odd(*ANSWER, *JOINED, *JOINED, *ENDED)
    device, channels = talking(roost, phone)
    other = odd(*ANSWER, Pause(0.3), Ask("BYE"))
    number = device_at(roost, other).account.username
    answer = roost.on_account("POST", f"/channels/{channels['number']}", {"action": "transfer", "target": number})
    for each in (far, other, phone):
        each.done()

    assert answer.status == 202, answer.body
    assert outcomes(roost, device, 3) == [("answered", 200), ("transferred", 200), ("answered", 200)]


def test_hold_reaches_the_other_phone_and_its_answer_comes_back(roost: Roost, odd: Callable[..., OddPhone]) -> None:
    """A re-INVITE that is sendonly at one end is so at the other (RFC 3264 8.4)."""
    hold = Ask("INVITE", cseq=5, sdp="sendonly", has="m=audio")
    far = odd(*ANSWER, Pause(0.3), hold, Ask("BYE", cseq=6), port=roost.route_port)
    held = (Await("INVITE", has="a=sendonly"), *JOINED[1:])
    phone = odd(*ANSWER, *JOINED, *held, *ENDED)
    talking(roost, phone)
    far.done()
    phone.done()


def test_a_session_timer_is_kept_by_the_phones(roost: Roost, odd: Callable[..., OddPhone]) -> None:
    """What one says of it the other hears, and the other way round (RFC 4028)."""
    timer = {"Supported": "timer", "Session-Expires": "1800;refresher=uac"}
    agreed = {"Session-Expires": "1800;refresher=uac", "Require": "timer"}
    refresh = Ask("UPDATE", cseq=5, headers=timer, has="Session-Expires: 1800;refresher=uac")
    far = odd(*ANSWER, Pause(0.3), refresh, Ask("BYE", cseq=6), port=roost.route_port)
    heard = (Await("UPDATE", has="Session-Expires: 1800;refresher=uac"), Say(200, agreed, tag=""))
    knows = {"Allow": "INVITE, ACK, BYE, UPDATE"}
    phone = odd(Say(180), Say(200, knows, sdp=True), Await("ACK"), *JOINED, *heard, *ENDED)
    talking(roost, phone)
    far.done()
    phone.done()


def test_an_offer_that_crosses_another_is_refused_for_now(roost: Roost, odd: Callable[..., OddPhone]) -> None:
    """Glare: 491 to the later one, while the earlier one waits for its answer (RFC 3261 14.2)."""
    far = odd(*ANSWER, Pause(0.3), Ask("INVITE", cseq=5, sdp="sendonly"), Ask("BYE", cseq=6), port=roost.route_port)
    late = Ask("INVITE", cseq=5, sdp="sendrecv", status=491)
    phone = odd(*ANSWER, *JOINED, Await("INVITE"), late, Say(200, invite=True, sdp=True), Await("ACK"), *ENDED)
    talking(roost, phone)
    far.done()
    phone.done()
