"""A REGISTER's whole way: socket, digest, table, database, answer."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from owners import load
from registrar_rig import GOOD, Phone, Server
from structlog.testing import capture_logs

from api.ports import Document, Kind
from daemon.presence import now
from daemon.store import Store
from sip.aor import Aor
from sip.digest import Algorithm, Credentials
from sip.location import Reach
from sip.offenders import SILENCE_AFTER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from api.ports import JsonObject
    from sip.message import Request

AOR = Aor("bob@acme.test")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with Server(tmp_path / "roost.db") as server:
        await server.add_bob()
        yield server


@pytest.fixture
async def phone(server: Server) -> AsyncIterator[Phone]:
    async with server.phone() as phone:
        yield phone


async def test_a_phone_registers_and_unregisters(server: Server, phone: Phone) -> None:
    """RFC 3261 10, 22."""
    response = await phone.register()
    assert response.status == 200
    assert response.values("Contact") == ["<sip:bob@10.0.0.9>;expires=60"]
    assert response.first("Date")
    account_id = server.presence.table.bindings(AOR, now())[0].account_id
    assert server.presence.registered_devices(account_id) == ["d1"]
    assert server.presence.status_json(account_id) == b'[{"device_id":"d1","registered":true}]'

    assert (await phone.register(expires=0)).status == 200
    assert server.presence.status_json(account_id) == b"[]"


async def test_every_change_of_who_is_registered_is_another_edition(server: Server, phone: Phone) -> None:
    """Answers that are remembered stand by it: a refresh changes nothing, a new device and one that is over do."""
    await phone.register()
    (binding,) = server.presence.table.bindings(AOR, now())
    editions = [server.presence.edition(binding.account_id)]
    await phone.register()
    editions.append(server.presence.edition(binding.account_id))
    await phone.register(expires=0)
    editions.append(server.presence.edition(binding.account_id))
    await phone.register()
    editions.append(server.presence.edition(binding.account_id))
    over = dataclasses.replace(binding, expires_at=now() - 2)
    server.presence.keep(over)
    editions.append(server.presence.edition(binding.account_id))

    assert editions[0] == editions[1]
    assert 4 == len(set(editions))


async def test_a_200_means_that_the_binding_is_in_the_database(server: Server, phone: Phone) -> None:
    """Design 3: the answer waits for the commit."""
    await phone.register()
    other = await Store.open(server.path)
    stored = await load(other.bindings)
    await other.close()

    assert [binding.contact for binding in stored] == ["sip:bob@10.0.0.9"]


async def test_bindings_are_there_after_a_restart(server: Server, phone: Phone) -> None:
    await phone.register()
    await server.stop()
    await server.start()

    assert server.loaded == 1
    assert [binding.contact for binding in server.presence.table.bindings(AOR, now())] == ["sip:bob@10.0.0.9"]


@pytest.mark.parametrize(
    ("credentials", "to"),
    [
        pytest.param(Credentials("bob", "wrong"), "sip:bob@acme.test", id="password"),
        pytest.param(Credentials("eve", "correct-horse"), "sip:eve@acme.test", id="unknown-user"),
        pytest.param(Credentials("bob", "correct-horse"), "sip:eve@acme.test", id="another's-aor"),
    ],
)
async def test_bad_credentials_never_register(server: Server, phone: Phone, credentials: Credentials, to: str) -> None:
    """RFC 3261 22.1: an unknown user and a wrong password look alike."""
    response = await phone.register(credentials, to=to)

    assert response.status == 401
    assert "stale" not in response.one("WWW-Authenticate")
    assert len(server.presence.table) == 0


async def test_an_old_nonce_is_stale_and_the_next_one_is_taken(server: Server, phone: Phone) -> None:
    """RFC 7616 3.3."""
    request = phone.request()
    challenged = await phone.ask(request)
    server.wall = lambda: time.time() + 61
    again = await phone.answer(request, challenged, GOOD)

    assert again.status == 401
    assert "stale=true" in again.one("WWW-Authenticate")
    assert (await phone.answer(request, again, GOOD)).status == 200


async def test_a_recorded_answer_cannot_be_used_again(phone: Phone) -> None:
    """RFC 7616 3.4.5: the nonce count must grow."""
    request = phone.request()
    challenged = await phone.ask(request)
    assert (await phone.answer(request, challenged, GOOD)).status == 200
    assert (await phone.answer(request, challenged, GOOD)).status == 401
    assert (await phone.answer(request, challenged, GOOD, nc=7)).status == 200


async def test_a_register_that_comes_again_gets_the_same_answer_though_nothing_was_kept(
    server: Server, phone: Phone
) -> None:
    """RFC 3261 8.2.7: the answer is made anew from the binding, with the same tag, and extends nothing."""
    request = phone.request()
    challenged = await phone.ask(request)
    first = await phone.answer(request, challenged, GOOD)
    kept = server.presence.table.bindings(AOR, now())
    phone.cseq -= 1
    second = await phone.answer(request, challenged, GOOD)

    assert (first.status, second.status) == (200, 200)
    assert first.to.tag == second.to.tag
    assert server.presence.table.bindings(AOR, now()) == kept
    assert server.endpoint.transactions.servers == 0


async def test_a_recorded_register_from_elsewhere_is_challenged(server: Server, phone: Phone) -> None:
    """RFC 7616 3.4.5: only the phone's own flow may ask again."""
    request = phone.request()
    challenged = await phone.ask(request)
    assert (await phone.answer(request, challenged, GOOD)).status == 200
    async with server.phone() as thief:
        thief.cseq = phone.cseq - 1
        stolen = await thief.answer(request, challenged, GOOD)

    assert stolen.status == 401


async def test_an_address_of_ours_means_the_default_realm(server: Server, phone: Phone) -> None:
    """Design 3: a domain that is one of our own addresses means the default account."""
    assert (await phone.register(to="sip:bob@127.0.0.1")).status == 200
    assert len(server.presence.table.bindings(AOR, now())) == 1


async def test_a_foreign_domain_is_not_served(phone: Phone) -> None:
    """RFC 3261 10.3 step 1."""
    assert (await phone.ask(phone.request(to="sip:bob@elsewhere.example"))).status == 404


async def test_an_expired_binding_leaves_status_and_database(server: Server, phone: Phone) -> None:
    """RFC 3261 10.3; removed by its own alarm, without anybody asking."""
    await phone.register(expires=1)
    account_id = server.presence.table.bindings(AOR, now())[0].account_id
    deadline = time.monotonic() + 5
    while len(server.presence.table) and time.monotonic() < deadline:
        await asyncio.sleep(0.05)

    assert server.presence.count(account_id) == 0


async def test_a_store_that_fails_gets_503(server: Server, phone: Phone) -> None:
    """Design 6: REGISTER gets 503 with Retry-After where the store fails."""
    await server.store.close()
    response = await phone.register()
    await server.presence.close()

    assert response.status == 503
    assert response.first("Retry-After")


async def test_more_than_can_wait_are_told_when_to_come_again(server: Server) -> None:
    """RFC 3261 21.5.4: 503 for what came too much, at once; whoever comes after the storm is served."""
    async with Server(server.path, max_waiting=10) as small, small.phone() as phone:
        for _ in range(30):
            phone.transport.sendto(phone.request().encode())  # type: ignore[attr-defined]
        answers = [await asyncio.wait_for(phone.answers.get(), 5) for _ in range(30)]
        refused = [answer for answer in answers if answer.status == 503]
        again = await phone.register()

    assert [401] * (30 - len(refused)) == [answer.status for answer in answers if answer.status != 503]
    assert refused
    assert all(5 <= int(answer.one("Retry-After")) <= 30 for answer in refused)
    assert len(refused) == small.registration.outcomes["overloaded"]
    assert again.status == 200


async def test_relaxed_durability_answers_without_waiting_for_the_store(server: Server) -> None:
    """`sip.durability = "relaxed"`: the table knows the phone, whatever becomes of the write."""
    async with Server(server.path, wait_for_commit=False) as relaxed, relaxed.phone() as phone:
        await relaxed.store.close()
        response = await phone.register()

    assert response.status == 200
    assert len(relaxed.presence.table) == 1


async def test_a_few_wrong_passwords_in_a_row_are_403(phone: Phone) -> None:
    """A phone stops at a 403; to 401 it would retry for ever."""
    statuses = [(await phone.register(Credentials("bob", "wrong"))).status for _ in range(3)]

    assert statuses == [401, 401, 403]
    assert (await phone.register()).status == 200


async def test_a_device_may_ask_for_sha256(server: Server, phone: Phone) -> None:
    """RFC 8760: MD5 for all but those who ask for more."""
    device = server.directory.find(AOR)
    assert device is not None
    device.algorithm = Algorithm.SHA256
    challenged = await phone.ask(phone.request())

    assert "algorithm=SHA-256" in challenged.one("WWW-Authenticate")
    assert (await phone.register()).status == 200


async def test_a_device_known_by_its_address_needs_no_digest(server: Server, phone: Phone) -> None:
    """Contract 4.1: `sip.method` ip."""
    device = server.directory.find(AOR)
    assert device is not None
    device.ip = "127.0.0.1"

    assert (await phone.ask(phone.request())).status == 200


@pytest.fixture
async def strict(server: Server) -> AsyncIterator[Server]:
    """Start a second server over the same database, with `sip.drop_strangers`."""
    async with Server(server.path, drop_strangers=True) as strict:
        yield strict


@pytest.fixture
async def stranger(strict: Server) -> AsyncIterator[Phone]:
    async with strict.phone() as phone:
        yield phone


async def first_answered(phone: Phone, wire: bytes) -> int:
    """Send the message, then a good REGISTER, and return the CSeq of what is answered first."""
    phone.transport.sendto(wire)  # type: ignore[attr-defined]
    return (await phone.ask(phone.request())).cseq.number


@pytest.mark.parametrize("method", [b"OPTIONS", b"INVITE", b"REGISTER", b"CANCEL", b"BYE", b"MESSAGE", b"DANCE"])
@pytest.mark.parametrize("tag", [b"", b";tag=made-up"], ids=["no-tag", "tag"])
async def test_a_known_scanner_gets_no_answer(stranger: Phone, method: bytes, tag: bytes) -> None:
    """`sip.drop_strangers`: it must not even learn that something is here."""
    wire = stranger.request().encode().replace(b"REGISTER", method)

    assert 2 == await first_answered(
        stranger, wire.replace(b"\r\nCall-ID", tag + b"\r\nUser-Agent: friendly-scanner\r\nCall-ID")
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(b"branch=z9hG4bK1", b"branch=;;", id="via"),
        pytest.param(b"CSeq: 1", b"CSeq: one", id="cseq"),
        pytest.param(b"SIP/2.0\r\nVia", b"SIP/3.0\r\nVia", id="version"),
    ],
)
async def test_a_known_scanner_is_not_told_what_is_wrong_either(stranger: Phone, old: bytes, new: bytes) -> None:
    wire = stranger.request().encode().replace(b"\r\nCall-ID", b"\r\nUser-Agent: sipcli/1\r\nCall-ID")
    assert old in wire

    assert 2 == await first_answered(stranger, wire.replace(old, new))


@pytest.mark.parametrize("method", [b"OPTIONS", b"INVITE", b"CANCEL", b"BYE", b"MESSAGE", b"SUBSCRIBE"])
async def test_a_request_for_another_domain_gets_no_answer(strict: Server, stranger: Phone, method: bytes) -> None:
    """`sip.drop_strangers`; where a phone is registered, it may ask after any name of ours, known to us or not."""
    wire = stranger.request().encode().replace(b"REGISTER", method).replace(b"sip:acme.test", b"sip:100@198.51.100.7")
    assert 2 == await first_answered(stranger, wire)

    strict.endpoint.trusted.add("127.0.0.1", until=math.inf, now=now())
    assert 1 == await first_answered(stranger, wire)


async def test_who_guessed_is_silenced_unless_a_phone_is_registered_there(server: Server, phone: Phone) -> None:
    """Nothing is answered to any request; a registration counts from the start of the process on."""
    for _ in range(SILENCE_AFTER):
        await phone.register(Credentials("bob", "wrong"))
    wire = phone.request().encode().replace(b"REGISTER", b"OPTIONS")
    phone.transport.sendto(wire)  # type: ignore[attr-defined]
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(phone.answers.get(), 0.05)

    async with Server(server.path) as again, again.phone() as other:
        again.endpoint.trusted.add("127.0.0.1", until=math.inf, now=now())
        for _ in range(2 * SILENCE_AFTER):
            await other.register(Credentials("bob", "wrong"))
        assert 200 == (await other.register()).status


async def test_any_request_of_a_phone_is_a_sign_of_life(server: Server, phone: Phone) -> None:
    """By the flow it registered on; in its name by another one, it is not."""
    await phone.register()
    (binding,) = server.presence.aor_bindings(AOR)
    server.presence.lost(binding)
    wire = phone.request().encode().replace(b"REGISTER", b"OPTIONS")
    async with server.phone() as other:
        for each, reach in ((other, Reach.UNREACHABLE), (phone, Reach.REACHABLE)):
            each.transport.sendto(wire)  # type: ignore[attr-defined]
            assert 200 == (await asyncio.wait_for(each.answers.get(), 5)).status

            assert reach is binding.reach


async def test_a_clock_that_jumps_loses_nobody(server: Server, phone: Phone) -> None:
    """Expiry goes by the monotonic clock; a nonce from before the jump is stale, and the next one is taken."""
    challenged = await phone.ask(phone.request())
    await phone.register()
    for jump in (86_400.0 * 365, -86_400.0 * 365):
        server.wall = lambda jump=jump: time.time() + jump  # type: ignore[misc]
        stale = await phone.answer(phone.request(), challenged, GOOD)
        assert 401 == stale.status
        assert "stale=true" in stale.one("WWW-Authenticate")
        assert 200 == (await phone.register()).status

        assert 1 == len(server.presence.aor_bindings(AOR))


async def test_what_is_no_utf_8_is_stored_shown_and_sent_back_as_it_was(server: Server, phone: Phone) -> None:
    """Headers may hold any octets (RFC 4475 3.1.1.2 and old firmware); nothing fails on them."""
    original = phone.request

    def odd(**options: Any) -> Request:
        request = original(**options)
        request.set("Contact", "<sip:b\udcffb@10.0.0.9>;expires=60")
        request.set("User-Agent", "Ph\udcffne")
        request.set("Call-ID", "c\udcff")
        request.set("Path", "<sip:p\udcff@edge.example;lr>")
        return request

    phone.request = odd  # type: ignore[method-assign]
    response = await phone.register()
    (binding,) = server.presence.aor_bindings(AOR)
    (shown,) = server.presence.registrations(binding.account_id)
    async with Server(server.path) as again:
        loaded = again.loaded

    assert (200, ["<sip:b\udcffb@10.0.0.9>;expires=60"]) == (response.status, response.values("Contact"))
    assert ("sip:b\ufffdb@10.0.0.9", "Ph\ufffdne", "c\ufffd") == (shown.contact, shown.user_agent, shown.call_id)
    assert 1 == loaded
    assert 0 == server.endpoint.transactions.dropped["our fault"]


def switch_off(server: Server, kind: Kind) -> None:
    """Disable what the device needs to register."""
    device = server.directory.find(AOR)
    assert device is not None
    ids = {Kind.DEVICE: device.device_id, Kind.USER: "owner", Kind.ACCOUNT: device.account_id}
    if kind is Kind.DEVICE:
        device.enabled = False
    else:
        device.owner_id = "owner"
        data: JsonObject = {"enabled": False, "realm": "acme.test"}
        old = Document(kind, device.account_id, ids[kind], "1-a", 0, 0, {"realm": "acme.test"}, {})
        server.directory.changed(old if kind is Kind.ACCOUNT else None, dataclasses.replace(old, data=data))


@pytest.mark.parametrize(
    ("off", "credentials", "reason"),
    [
        pytest.param(None, Credentials("bob", "wrong"), "wrong", id="wrong-password"),
        pytest.param(None, Credentials("eve", "correct-horse"), "unknown-user", id="unknown-user"),
        pytest.param(Kind.DEVICE, GOOD, "device-disabled", id="disabled-device"),
        pytest.param(Kind.USER, GOOD, "owner-disabled", id="disabled-owner"),
        pytest.param(Kind.ACCOUNT, GOOD, "account-disabled", id="disabled-account"),
    ],
)
async def test_all_who_may_not_register_look_alike(
    server: Server, phone: Phone, off: Kind | None, credentials: Credentials, reason: str
) -> None:
    """Contract 5.12: in each answer and in what comes of several attempts. The log tells them apart."""
    if off is not None:
        switch_off(server, off)
    with capture_logs() as logged:
        first = await phone.ask(phone.request(to=f"sip:{credentials.username}@acme.test"))
        answers = [await phone.register(credentials, to=f"sip:{credentials.username}@acme.test") for _ in range(3)]

    assert [401, 401, 403] == [answer.status for answer in answers]
    assert [401, list(first.names())] == [first.status, list(answers[0].names())]
    challenges = [re.sub('nonce="[^"]+"', "", answer.one("WWW-Authenticate")) for answer in (first, *answers[:2])]
    assert {'Digest realm="acme.test", , algorithm=MD5, qop="auth"'} == set(challenges)
    assert {reason} == {line["reason"] for line in logged if line["event"] == "registration.refused"}
