"""What an invitation does before it gives up: the next way, and where it is redirected to (RFC 3263 4.3, RFC 3261 8.1.3.4)."""

# ruff: noqa: E501 - the tables are read by their columns

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from call_peers import Sent, flow, sdp
from quickcall_office import World, settle

from config.settings import QuickcallSettings
from sip.errors import TransactionTimeout, TransportFailed

if TYPE_CHECKING:
    from collections.abc import Callable

SETTINGS = QuickcallSettings(
    route="sip:{number}@pbx.example:5080",
    username="roost",
    password="hush",
    asserted_identity="sip:{number}@provider.example",
)
CHALLENGE = 'Digest realm="pbx", nonce="n1", algorithm=MD5, qop="auth"'
FIRST, SECOND, THIRD = (flow(5080, f"192.0.2.8{number}") for number in range(3))


@pytest.fixture
async def world() -> World:
    made = World(SETTINGS)
    made.sip.routes["pbx.example"] = [FIRST, SECOND, THIRD]
    return made


async def call_out(world: World, number: str = "30") -> Sent:
    """Let the device answer; returns the INVITE that went by the route."""
    await world.call(world.device("1001", 5001), number=number)
    world.sip.take("INVITE").answer(200, sdp(4001), tag="dev")
    await settle()
    return world.sip.take("INVITE")


def reason(world: World) -> str:
    """Return what the device is told at the end."""
    return world.sip.take("BYE").request.one("Reason")


def silent(sent: Sent) -> None:
    sent.on_failure(TransactionTimeout("silence"))


def broken(sent: Sent) -> None:
    sent.on_failure(TransportFailed("reset"))


def overloaded(sent: Sent) -> None:
    sent.answer(503)


@pytest.mark.parametrize("fail", [silent, broken, overloaded])
async def test_the_next_host_is_tried_where_one_leads_nowhere(world: World, fail: Callable[[Sent], None]) -> None:
    """Nothing came, nothing could be sent, or a 503 (RFC 3263 4.3); the INVITE is the same but for its Via."""
    first = await call_out(world)
    fail(first)
    await settle()
    second = world.sip.take("INVITE")
    assert (FIRST, SECOND) == (first.flow, second.flow)
    assert (first.request.call_id, first.request.one("CSeq"), first.request.body) == (
        second.request.call_id,
        second.request.one("CSeq"),
        second.request.body,
    )

    fail(second)
    await settle()
    third = world.sip.take("INVITE")
    assert third.flow == THIRD
    fail(third)
    await settle()
    assert reason(world)


async def test_a_host_that_cannot_be_connected_to_is_passed_over(world: World) -> None:
    """As if it had been tried."""
    world.sip.routes["pbx.example"] = [FIRST, flow(0), THIRD]
    broken(await call_out(world))
    await settle()

    assert world.sip.take("INVITE").flow == THIRD


async def test_a_refusal_is_no_reason_to_try_the_next_host(world: World) -> None:
    """The number itself has answered."""
    (await call_out(world)).answer(486)
    await settle()

    assert "cause=486" in reason(world)


async def test_a_silent_host_is_left_before_its_transaction_ends(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four INVITEs without even a 100; whichever host answers then, the other is cancelled, or ended."""
    monkeypatch.setattr("daemon.invitation.SILENCE", 0.0)
    first = await call_out(world)
    await asyncio.sleep(0.01)
    second, third = world.sip.take("INVITE"), world.sip.take("INVITE")
    assert (SECOND, THIRD, []) == (second.flow, third.flow, first.cancelled)

    second.answer(200, sdp(4002), tag="two", Contact="<sip:gw@192.0.2.81:5080>")
    await settle()
    assert [] == third.cancelled
    world.sip.acks.clear()
    third.answer(200, sdp(4003), tag="three")
    await settle()
    ack = world.sip.acks[0]
    assert "three" in ack[0].one("To")
    assert "three" in world.sip.take("BYE").request.one("To")


async def test_a_host_that_rings_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A 100 is enough."""
    monkeypatch.setattr("daemon.invitation.SILENCE", 0.01)
    (await call_out(world)).answer(100)
    await asyncio.sleep(0.03)

    assert not [sent for sent in world.sip.sent if sent.request.method == "INVITE"]


async def test_a_call_that_is_given_up_goes_on_nowhere(world: World) -> None:
    """Neither to the next host nor to whom it is redirected."""
    first = await call_out(world)
    next(iter(world.live.of_account("a" * 32))).hang_up()
    broken(first)
    await settle()

    assert not [sent for sent in world.sip.sent if sent.request.method == "INVITE"]


@pytest.mark.parametrize(
    ("contacts", "uris"),
    [
        pytest.param(["<sip:40@192.0.2.90>"], ["sip:40@192.0.2.90"], id="any-host"),
        pytest.param(["<sip:40@192.0.2.90>;q=0.3, <sip:41@192.0.2.90>;q=0.7"], ["sip:41@192.0.2.90", "sip:40@192.0.2.90"], id="best-first"),
        pytest.param(["<sip:40@192.0.2.90?Subject=x>"], ["sip:40@192.0.2.90"], id="without-its-headers"),
        pytest.param(["<sip:1002@office.example>"], ["sip:1002@10.0.0.7:5002;ob"], id="a-device"),
        pytest.param(["<tel:+49-30-77>"], ["sip:+49-30-77@pbx.example:5080"], id="a-number"),
        pytest.param(["<sip:30@pbx.example:5080>"], [], id="to-itself"),
        pytest.param(["<http://example.com>", "<sip:40@nowhere.example>", "broken<"], [], id="nothing-usable"),
    ],
)  # fmt: skip
async def test_a_redirection_of_the_route_is_followed(world: World, contacts: list[str], uris: list[str]) -> None:
    """One contact after the other, each once (RFC 3261 8.1.3.4)."""
    world.device("1002", 5002)
    world.sip.routes["192.0.2.90"] = flow(5060, "192.0.2.90")
    sent = await call_out(world)
    sent.answer(302, Contact=", ".join(contacts))
    await settle()
    for uri in uris:
        following = world.sip.take("INVITE")
        assert (uri, sent.request.body) == (following.request.uri, following.request.body)
        assert sent.request.call_id != following.request.call_id
        following.answer(486)
        await settle()

    assert ("cause=486" if uris else "cause=302") in reason(world)


async def test_the_password_is_the_routes_alone(world: World) -> None:
    """A host that a call was redirected to gets neither it nor the identity that we vouch for."""
    world.sip.routes["192.0.2.90"] = flow(5060, "192.0.2.90")
    sent = await call_out(world)
    assert "<sip:100@provider.example>" == sent.request.first("P-Asserted-Identity")
    sent.answer(302, Contact="<sip:40@192.0.2.90>")
    await settle()
    following = world.sip.take("INVITE")
    assert following.request.first("P-Asserted-Identity") is None
    following.answer(407, Proxy_Authenticate=CHALLENGE)
    await settle()

    assert "cause=407" in reason(world)


async def test_an_identity_is_vouched_for_towards_the_route_alone(world: World) -> None:
    """Phones trust nobody's word (RFC 3325 5)."""
    world.device("1002", 5002)
    device = await call_out(world, "1002")

    assert device.request.first("P-Asserted-Identity") is None


@pytest.mark.parametrize(
    ("contact", "uri"),
    [
        pytest.param("<sip:1003@office.example>", "sip:1003@10.0.0.7:5003;ob", id="a-device"),
        pytest.param("<sip:1003@192.0.2.1>", "sip:1003@10.0.0.7:5003;ob", id="by-our-address"),
        pytest.param("<sip:77@office.example>", "sip:77@pbx.example:5080", id="by-the-route"),
        pytest.param("<sip:77@192.0.2.90>", None, id="another-host"),
    ],
)
async def test_a_phone_may_redirect_to_numbers_of_ours(world: World, contact: str, uri: str | None) -> None:
    """Whoever has the phone may not have us call any host."""
    world.device("1002", 5002)
    world.device("1003", 5003)
    world.sip.routes["192.0.2.90"] = flow(5060, "192.0.2.90")
    (await call_out(world, "1002")).answer(302, Contact=contact)
    await settle()

    assert ([uri] if uri else []) == [sent.request.uri for sent in world.sip.sent if sent.request.method == "INVITE"]


async def test_redirections_without_end_are_left(world: World) -> None:
    """Each contact is new, and leads on to another one."""
    world.sip.routes["192.0.2.90"] = flow(5060, "192.0.2.90")
    sent, followed = await call_out(world), 0
    while not any(each.request.method == "BYE" for each in world.sip.sent):
        sent.answer(302, Contact=f"<sip:{followed}@192.0.2.90>")
        await settle()
        if any(each.request.method == "INVITE" for each in world.sip.sent):
            sent, followed = world.sip.take("INVITE"), followed + 1

    assert 5 == followed


async def test_nobody_else_is_called_after_a_6xx(world: World) -> None:
    """RFC 3261 21.6."""
    world.sip.routes["192.0.2.90"] = flow(5060, "192.0.2.90")
    (await call_out(world)).answer(300, Contact="<sip:40@192.0.2.90>, <sip:41@192.0.2.90>")
    await settle()
    world.sip.take("INVITE").answer(603)
    await settle()

    assert "cause=603" in reason(world)


async def test_each_redirection_is_a_leg_of_its_own(world: World) -> None:
    """The CDRs tell who sent the call on, and where it ended."""
    world.sip.routes["192.0.2.90"] = flow(5060, "192.0.2.90")
    (await call_out(world)).answer(302, Contact="<sip:40@192.0.2.90>")
    await settle()
    world.sip.take("INVITE").answer(486)
    await settle()
    world.sip.take("BYE").answer(200)

    assert [("device", "busy"), ("number", "redirected"), ("number", "busy")] == [
        (leg.side, leg.outcome) for leg in world.kept
    ]
