"""From the API's wish to a phone's socket and back: what is sent to each make of phone, and what is told of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from notify_rig import Rig, expire, told

from api.ports import Draft, Kind
from daemon.deliveries import MAX_OPEN
from daemon.provisioning import Provisioning
from daemon.store.deliveries import KEPT
from sip.vendor import Mode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from api.ports import Document

YEALINK = "Yealink SIP-T46U 108.86.0.40"
GRANDSTREAM = "Grandstream GXP2170 1.0.9.135"
SPA = "Cisco/SPA525G-7.4.9a"
CISCO = "Cisco-CP8851/12.1.1"
GIGASET = "N510 IP PRO/42.258"
BARESIP = "baresip v1.0.0"


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    rig = await Rig(tmp_path / "roost.db").start()
    yield rig
    await rig.end()


@pytest.fixture
async def device(rig: Rig) -> Document:
    return await rig.device()


@pytest.mark.parametrize(
    ("user_agent", "mode", "event"),
    [
        pytest.param("Whatever 1.0", None, "check-sync", id="unknown"),
        pytest.param("Whatever 1.0", Mode.REBOOT, "check-sync;reboot=true", id="unknown-reboot"),
        pytest.param(YEALINK, None, "check-sync;reboot=false", id="yealink"),
        pytest.param(YEALINK, Mode.REBOOT, "check-sync;reboot=true", id="yealink-reboot"),
        pytest.param(SPA, Mode.RESYNC, "resync", id="spa"),
        pytest.param(SPA, Mode.REBOOT, "reboot_now", id="spa-reboot"),
        pytest.param("OBIHAI/OBi202-3.2.2.5921", None, "resync", id="obihai"),
        pytest.param("Fanvil X303 2.12.18.9", None, "check-sync;reboot=true", id="fanvil-means-reboot"),
        pytest.param(BARESIP, None, "check-sync", id="one-that-obeys-none"),
    ],
)
async def test_each_make_gets_its_form(
    rig: Rig, device: Document, user_agent: str, mode: Mode | None, event: str
) -> None:
    """The vendor table, by the User-Agent of the binding."""
    phone = (await rig.phone(device, user_agent)).answers(200)
    await rig.control.check_sync(device, mode=mode)
    request = await phone.request()

    assert request.one("Event") == event
    assert request.one("Subscription-State") == "terminated"
    assert request.uri == phone.contact
    assert request.to.uri == "sip:u-d1@acme.test"


async def test_cisco_is_told_the_call_id_it_registered_with(rig: Rig, device: Document) -> None:
    """Enterprise firmware answers 400 to any but that of its live REGISTER."""
    phone = (await rig.phone(device, CISCO)).answers(200, 200)
    await rig.control.check_sync(device, mode=Mode.REBOOT)
    first = await phone.request()
    phone.register("0004f2-live@10.0.0.9")
    await rig.control.check_sync(device)
    second = await phone.request(2)

    assert (first.one("Event"), first.one("Subscription-State")) == ("service-control", "active")
    assert first.one("Content-Type") == "text/plain"
    assert b"action=restart\r\nRegisterCallId={reg-1}\r\n" in first.body
    assert b"action=check-version\r\nRegisterCallId={0004f2-live@10.0.0.9}\r\n" in second.body


@pytest.mark.parametrize("user_agent", [GRANDSTREAM, SPA])
@pytest.mark.parametrize("challenge", [401, 407])
async def test_a_challenge_is_answered_with_the_devices_credentials(
    rig: Rig, device: Document, user_agent: str, challenge: int
) -> None:
    """Grandstream and SPA believe nobody; RFC 3261 22.2."""
    phone = (await rig.phone(device, user_agent)).answers(challenge, 200)
    reports = await rig.control.check_sync(device, wait=5)

    assert told(reports) == [("delivered", 200)]
    assert phone.authorized == [True]
    assert [request.cseq.number for request in phone.requests] == [1, 2]
    assert len({request.call_id for request in phone.requests}) == 1


@pytest.mark.parametrize(
    ("script", "state", "status"),
    [
        pytest.param([200], "delivered", 200, id="200"),
        pytest.param([401, 200], "delivered", 200, id="401-once"),
        pytest.param([401, 401], "rejected", 401, id="401-for-ever"),
        pytest.param([401, 403], "rejected", 403, id="credentials-refused"),
        pytest.param([403], "rejected", 403, id="403"),
        pytest.param([405], "unsupported", 405, id="405"),
        pytest.param([481], "unsupported", 481, id="481"),
        pytest.param([482], "unsupported", 482, id="482"),
        pytest.param([489], "unsupported", 489, id="489"),
        pytest.param([500], "rejected", 500, id="500"),
        pytest.param([480], "unreachable", 480, id="480"),
    ],
)
async def test_what_is_told_of_an_answer(
    rig: Rig, device: Document, script: list[int], state: str, status: int
) -> None:
    """Who waits is told at once, and who asks later is told the same."""
    phone = (await rig.phone(device, "Whatever 1.0")).answers(*script)
    (report,) = await rig.control.check_sync(device, wait=5)

    assert (report.state.value, report.sip_status) == (state, status)
    assert (report.contact, report.user_agent, report.vendor) == (phone.contact, "Whatever 1.0", "unknown")
    assert report.event == "check-sync"
    assert report.latency_ms is not None
    assert await rig.control.outcomes(rig.account_id, device.id) == [report]


async def test_401_without_a_password_to_answer_it(rig: Rig) -> None:
    """A device known by its address has none."""
    device = await rig.device(method="ip", ip="192.0.2.1", password="")
    phone = (await rig.phone(device)).answers(401)
    reports = await rig.control.check_sync(device, wait=5)

    assert told(reports) == [("rejected", 401)]
    assert len(phone.requests) == 1


async def test_a_device_without_registration(rig: Rig, device: Document) -> None:
    """Success for the client (contract 5.6), and the truth for who wants it."""
    assert await rig.control.check_sync(device) == ()
    (report,) = await rig.control.check_sync(device, wait=5)

    assert (report.state.value, report.contact, report.final) == ("not_registered", None, True)
    assert await rig.outcomes(device) == ["not_registered", "not_registered"]


async def test_a_make_that_has_nothing_for_the_mode(rig: Rig, device: Document) -> None:
    """Nothing is sent in the hope that it might work; without a mode a plain check-sync is."""
    phone = (await rig.phone(device, GIGASET)).answers(200)
    asked = await rig.control.check_sync(device, mode=Mode.REBOOT, wait=5)
    plain = await rig.control.check_sync(device, wait=5)

    assert told([*asked, *plain]) == [("unsupported", None), ("delivered", 200)]
    assert [request.one("Event") for request in phone.requests] == ["check-sync"]


async def test_every_contact_has_a_report_and_one_can_be_chosen(rig: Rig, device: Document) -> None:
    """`contact` names one of them; a contact that is not there is not registered."""
    desk = (await rig.phone(device, YEALINK)).answers(200, 200)
    soft = (await rig.phone(device, BARESIP)).answers(481)
    soft.register("soft-1")

    both = await rig.control.check_sync(device, wait=5)
    one = await rig.control.check_sync(device, contact=desk.contact, wait=5)
    none = await rig.control.check_sync(device, contact="sip:nobody@h", wait=5)

    assert sorted(told(both)) == [("delivered", 200), ("unsupported", 481)]
    assert told(one) == [("delivered", 200)]
    assert [(report.state.value, report.contact) for report in none] == [("not_registered", "sip:nobody@h")]
    assert (len(desk.requests), len(soft.requests)) == (2, 1)


async def test_200_and_silence_is_delivered(rig: Rig, device: Document) -> None:
    """Received is all that a 200 says, and when the window is over it is all that there was."""
    (await rig.phone(device)).answers(200)
    (report,) = await rig.control.check_sync(device, wait=5)
    assert (report.state.value, report.final) == ("delivered", False)

    expire(rig, 300)

    (later,) = await rig.control.outcomes(rig.account_id, device.id)
    assert (later.state.value, later.final) == ("delivered", True)
    assert len(rig.deliveries) == 0


async def test_no_answer_and_then_a_new_register_is_a_reboot(rig: Rig, device: Document) -> None:
    """A phone that reboots at once never answers."""
    phone = await rig.phone(device, YEALINK)
    waiting = asyncio.create_task(rig.control.check_sync(device, mode=Mode.REBOOT, wait=5))
    await phone.request()
    await phone.give_up()
    assert await rig.outcomes(device) == ["unreachable"]
    phone.register("reg-2")

    assert told(await waiting) == [("rebooted", None)]
    assert rig.events.names == ["sync.unreachable", "sync.rebooted"]


async def test_200_unregisters_and_is_back(rig: Rig, device: Document) -> None:
    """Who waits for a reboot is told when the phone is back."""
    phone = (await rig.phone(device, YEALINK)).answers(200)
    waiting = asyncio.create_task(rig.control.check_sync(device, mode=Mode.REBOOT, wait=5))
    await phone.request()
    while await rig.outcomes(device) != ["delivered"]:
        await asyncio.sleep(0.01)
    phone.unregister()
    assert await rig.outcomes(device) == ["rebooting"]
    assert not waiting.done()
    phone.register("reg-2")

    assert told(await waiting) == [("rebooted", 200)]
    assert rig.events.names == ["sync.delivered", "sync.rebooting", "sync.rebooted"]
    assert rig.events.data[-1]["sip_status"] == 200


async def test_a_refresh_is_no_reboot(rig: Rig, device: Document) -> None:
    """The Call-ID is what tells them apart."""
    phone = (await rig.phone(device)).answers(200)
    await rig.control.check_sync(device, wait=5)
    phone.fall_silent()
    assert await rig.outcomes(device) == ["rebooting"]
    phone.register()

    assert await rig.outcomes(device) == ["delivered"]


async def test_one_phones_restart_is_not_the_others(rig: Rig, device: Document) -> None:
    desk = (await rig.phone(device, instance="<urn:desk>")).answers(200)
    wall = (await rig.phone(device, instance="<urn:wall>")).answers(200)
    wall.register("wall-1")
    await rig.control.check_sync(device, wait=5)
    wall.register("wall-2")

    states = {each.contact: each.state.value for each in await rig.control.outcomes(rig.account_id, device.id)}
    assert states == {desk.contact: "delivered", wall.contact: "rebooted"}


async def test_who_waits_gets_what_is_known_when_the_time_is_over(rig: Rig, device: Document) -> None:
    """A phone that has not answered is not reached so far, and the report says that this may change."""
    phone = await rig.phone(device)
    (report,) = await rig.control.check_sync(device, wait=0.05)
    assert (report.state.value, report.final, report.sip_status) == ("unreachable", False, None)
    assert rig.events.names == []

    await phone.give_up()
    expire(rig, 301)

    (later,) = await rig.control.outcomes(rig.account_id, device.id)
    assert (later.state.value, later.final) == ("unreachable", True)


async def test_nobody_who_does_not_wait_is_held_up(rig: Rig, device: Document) -> None:
    await rig.phone(device)

    assert await asyncio.wait_for(rig.control.check_sync(device), 1) == ()


async def test_any_event_has_the_same_report(rig: Rig, device: Document) -> None:
    """PUT with action notify (contract 5.9); a restart long after has nothing to do with it."""
    phone = (await rig.phone(device, YEALINK)).answers(200)
    reports = await rig.control.notify(device, event="talk", content_type="text/plain", body=b"hello", wait=5)
    phone.register("reg-2")

    assert told(reports) == [("delivered", 200)]
    assert (phone.requests[0].one("Event"), phone.requests[0].body) == ("talk", b"hello")
    assert await rig.outcomes(device) == ["delivered"]
    assert rig.events.names == ["notify.delivered"]


async def test_a_notify_that_is_the_phones_reboot_is_watched(rig: Rig, device: Document) -> None:
    phone = (await rig.phone(device, SPA)).answers(200)
    await rig.control.notify(device, event="reboot_now", content_type="", body=b"", wait=5)
    phone.register("reg-2")

    assert await rig.outcomes(device) == ["rebooted"]


async def test_notify_to_a_device_without_registration(rig: Rig, device: Document) -> None:
    reports = await rig.control.notify(device, event="talk", content_type="", body=b"", wait=5)

    assert told(reports) == [("not_registered", None)]


async def test_flush_sees_the_phone_come_back(rig: Rig, device: Document) -> None:
    """The binding goes by our own doing, which says nothing; the next REGISTER does."""
    phone = (await rig.phone(device, YEALINK)).answers(200)
    assert await rig.control.flush(rig.account_id, "u-d1")
    await phone.request()
    assert [False] == rig.presence.are_registered(rig.account_id, [device.id])
    while await rig.outcomes(device) != ["delivered"]:
        await asyncio.sleep(0.01)
    phone.register("reg-2")

    assert await rig.outcomes(device) == ["rebooted"]


async def test_changed_credentials_flush_with_the_old_ones(rig: Rig, device: Document) -> None:
    """The phone has the old password until it has fetched its configuration, and registers anew then."""
    phone = (await rig.phone(device, GRANDSTREAM)).answers(401, 200)
    documents = Provisioning(rig.store.documents, listeners=[rig.directory], flusher=rig.control)
    data = {"name": "d1", "sip": {"username": "renamed", "password": "changed"}}
    after = await documents.replace(Draft(Kind.DEVICE, rig.account_id, device.id, data), revision=device.revision)
    await phone.request(2)
    while await rig.outcomes(device) != ["delivered"]:
        await asyncio.sleep(0.01)
    assert phone.authorized == [True]

    phone.device = after
    phone.register("reg-2")

    assert await rig.outcomes(device) == ["rebooted"]
    await documents.close()


async def test_outcomes_outlive_the_process(rig: Rig, device: Document) -> None:
    """Also what was under way: the answer is lost with the process, the restart of the phone is not."""
    phone = (await rig.phone(device, YEALINK)).answers(200)
    await rig.control.check_sync(device, wait=5)
    await rig.control.check_sync(device)
    await phone.request(2)
    await rig.stop()
    await rig.start()
    assert await rig.outcomes(device) == ["unreachable", "delivered"]

    phone.register("reg-2")

    assert await rig.outcomes(device) == ["rebooted", "rebooted"]


async def test_the_window_outlives_the_process(rig: Rig, device: Document) -> None:
    """It is a matter of time, not of who measures it."""
    phone = (await rig.phone(device)).answers(200)
    await rig.control.check_sync(device, wait=5)
    await rig.stop()
    rig.window = 0.0
    await rig.start()
    phone.register("reg-2")

    (report,) = await rig.control.outcomes(rig.account_id, device.id)
    assert (report.state.value, report.final) == ("delivered", True)


async def test_a_device_keeps_its_last_outcomes_alone(rig: Rig, device: Document) -> None:
    """However often it is synced."""
    for _ in range(KEPT + 5):
        await rig.control.check_sync(device)
    other = await rig.device("d2")
    await rig.control.check_sync(other)
    await rig.control.outcomes(rig.account_id, device.id)

    rows = await rig.store.deliveries._database.read("SELECT device_id, count(*) FROM deliveries GROUP BY 1")
    assert dict(rows) == {"d1": KEPT, "d2": 1}


async def test_what_is_followed_is_bounded(rig: Rig, device: Document) -> None:
    """A device that is synced all the time does not fill the memory: the oldest is over before its time."""
    phone = await rig.phone(device)
    for number in range(MAX_OPEN + 3):
        phone.answers(200)
        await rig.control.check_sync(device, wait=5)
        assert len(rig.deliveries) == min(number + 1, MAX_OPEN)


async def test_bytes_that_are_no_text_are_kept(rig: Rig, device: Document) -> None:
    """A phone may write anything into its Contact and User-Agent."""
    phone = (await rig.phone(device, "Phone \udcff", contact="sip:\udcfe@127.0.0.1")).answers(200)
    await rig.control.check_sync(device, wait=5)
    (report,) = await rig.control.outcomes(rig.account_id, device.id)

    assert (report.contact, report.user_agent) == (phone.contact, "Phone \udcff")


async def test_a_contact_that_no_request_can_go_to(rig: Rig, device: Document) -> None:
    """Nothing leaves, and that is told."""
    await rig.phone(device, contact="tel:100")
    (report,) = await rig.control.check_sync(device, wait=5)

    assert (report.state.value, report.final) == ("unreachable", True)


async def test_a_store_that_fails_stops_no_notify(rig: Rig, device: Document) -> None:
    """What cannot be remembered is still done."""
    phone = (await rig.phone(device)).answers(200)
    await rig.store.close()

    assert told(await rig.control.check_sync(device, wait=5)) == [("delivered", 200)]
    assert len(phone.requests) == 1


@pytest.mark.slow
async def test_timer_f_ends_the_wait(rig: Rig, device: Document) -> None:
    """RFC 3261 17.1.2.2: 64*T1 without any answer."""
    await rig.phone(device)
    reports = await rig.control.check_sync(device, wait=40)

    assert told(reports) == [("unreachable", None)]
