"""What each leg is told of the other's media in bypass mode (RFC 3264, RFC 3725)."""

from __future__ import annotations

import pytest

from sip.bypass import Bypass
from sip.errors import LocalProtocolError, ParseError
from sip.outcome import Side
from sip.sdp import Direction, SessionDescription

KEY = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:a2V5"


def phone(address: str, port: int, *attributes: str) -> bytes:
    lines = ["v=0", f"o=phone 5 5 IN IP4 {address}", "s=call", f"c=IN IP4 {address}", "t=0 0"]
    lines += [f"m=audio {port} RTP/AVP 0 101", *attributes]
    return "".join(f"{line}\r\n" for line in lines).encode()


def plan() -> Bypass:
    return Bypass(["PCMU"], "192.0.2.1", session_id=1000)


def connected() -> Bypass:
    media = plan()
    media.first_offer()
    media.answered(Side.A, phone("10.0.0.1", 4000, "a=inactive"))
    media.offer(Side.B)
    media.answered(Side.B, phone("10.0.0.2", 5000))
    media.offer(Side.A)
    assert media.answered(Side.A, phone("10.0.0.1", 4000)) is None
    return media


def origin(body: bytes) -> str:
    return next(line.value for line in SessionDescription.parse(body).lines if line.type == "o")


def test_each_side_hears_the_others_media_under_our_origin() -> None:
    """A is held, B is offered A's media both ways, A is offered B's (RFC 3725)."""
    media = plan()
    first = media.first_offer()
    assert Side.B is media.answered(Side.A, phone("10.0.0.1", 4000, KEY, "a=inactive"))
    for_b = media.offer(Side.B)
    assert Side.A is media.answered(Side.B, phone("10.0.0.2", 5000))
    for_a = media.offer(Side.A)

    assert (
        phone("10.0.0.1", 4000, KEY, "a=sendrecv").replace(b"phone 5 5 IN IP4 10.0.0.1", b"- 1001 1 IN IP4 192.0.2.1")
        == for_b
    )
    assert (
        phone("10.0.0.2", 5000, "a=sendrecv").replace(b"phone 5 5 IN IP4 10.0.0.2", b"- 1000 2 IN IP4 192.0.2.1")
        == for_a
    )
    assert "- 1000 1 IN IP4 192.0.2.1" == origin(first)
    assert media.answered(Side.A, phone("10.0.0.1", 4000, KEY)) is None


def test_a_side_that_moves_is_told_to_the_other() -> None:
    """Where A's final answer names another port, B has to hear of it; where B moves then, A has."""
    media = connected()

    assert Side.B is media.answered(Side.A, phone("10.0.0.1", 4002))
    assert b"m=audio 4002 " in media.offer(Side.B)
    assert media.answered(Side.B, phone("10.0.0.2", 5000)) is None
    assert Side.A is media.answered(Side.B, phone("10.0.0.2", 5002))


def test_a_hold_address_does_not_keep_the_call_on_hold() -> None:
    """Some phones answer a held offer with c=0.0.0.0; their later answer has the true address, and both ways."""
    media = plan()
    media.first_offer()
    media.answered(Side.A, phone("0.0.0.0", 4000, "a=inactive"))
    media.offer(Side.B)
    media.answered(Side.B, phone("10.0.0.2", 5000, "a=inactive"))
    assert b"a=sendrecv" in media.offer(Side.A)

    assert Side.B is media.answered(Side.A, phone("10.0.0.1", 4000))
    assert b"c=IN IP4 10.0.0.1\r\n" in media.offer(Side.B)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="none"),
        pytest.param(b"\xff\xfe", id="noise"),
        pytest.param(phone("10.0.0.1", 0), id="every-stream-refused"),
    ],
)
def test_an_answer_that_cannot_be_used_is_refused(body: bytes) -> None:
    """A leg without media is no leg."""
    media = plan()
    media.first_offer()

    with pytest.raises(ParseError):
        media.answered(Side.A, body)


def test_hold_and_resume_pass_through_with_the_version_counted() -> None:
    """What one phone offers in mid-call the other gets as it is, but for the origin (RFC 3264 8)."""
    media = connected()
    hold = media.pass_offer(Side.B, phone("10.0.0.2", 5000, "a=sendonly", "a=x-vendor:1"))
    answer = media.pass_answer(Side.A, phone("10.0.0.1", 4000, "a=recvonly"))

    assert b"a=sendonly\r\na=x-vendor:1\r\n" in hold
    assert "- 1000 3 IN IP4 192.0.2.1" == origin(hold)
    assert b"a=recvonly\r\n" in answer
    assert "- 1001 2 IN IP4 192.0.2.1" == origin(answer)


def test_a_description_that_did_not_change_keeps_its_version() -> None:
    """RFC 3264 8: the version says whether there is anything new."""
    media = connected()
    first = media.pass_offer(Side.B, phone("10.0.0.2", 5000, "a=sendonly"))

    assert first == media.pass_offer(Side.B, phone("10.0.0.2", 5000, "a=sendonly"))
    assert first == media.repeat(Side.A)


def test_a_refused_offer_leaves_the_session_as_it_was() -> None:
    """RFC 3261 14.1: what was agreed before still holds, and is what is offered next."""
    media = connected()
    before = media.repeat(Side.A)
    media.pass_offer(Side.B, phone("10.0.0.99", 6000))
    media.withdraw(Side.B)

    assert before == media.repeat(Side.A)
    assert b"m=audio 5000 " in media.offer(Side.A)


def test_another_phone_takes_the_numbers_place() -> None:
    """It is offered what the device has; the device is told of it, and nothing of the first one is left."""
    media = connected()
    media.renew(Side.B)
    offer = media.offer(Side.B)
    assert b"m=audio 4000 " in offer
    assert "- 1001 1 IN IP4 192.0.2.1" == origin(offer)

    assert Side.A is media.answered(Side.B, phone("10.0.0.3", 7000))
    assert b"m=audio 7000 " in media.offer(Side.A)


def test_another_phone_of_the_devices_was_invited_with_the_same_offer() -> None:
    media = plan()
    offer = media.first_offer()
    media.answered(Side.A, phone("10.0.0.1", 4000))
    media.renew(Side.A)

    assert offer == media.repeat(Side.A)
    assert Side.B is media.answered(Side.A, phone("10.0.0.4", 4004))
    assert b"m=audio 4004 " in media.offer(Side.B)


def test_streams_never_become_fewer() -> None:
    """A device that added a refused video stream while held keeps its place for it (RFC 3264 8)."""
    media = plan()
    media.first_offer()
    media.answered(Side.A, phone("10.0.0.1", 4000))
    media.offer(Side.B)
    held = media.hold(Side.A, phone("10.0.0.1", 4000))
    two = media.hold(Side.A, phone("10.0.0.1", 4000) + b"m=video 7000 RTP/AVP 99\r\n")
    media.answered(Side.B, phone("10.0.0.2", 5000))

    assert [9] == [stream.port for stream in SessionDescription.parse(held).media]
    assert [9, 0] == [stream.port for stream in SessionDescription.parse(two).media]
    assert [5000, 0] == [stream.port for stream in SessionDescription.parse(media.offer(Side.A)).media]


def test_an_answer_has_as_many_streams_as_its_offer() -> None:
    """Where the far end has more of them, the extra ones stay its own (RFC 3264 6)."""
    media = connected()
    media.pass_offer(Side.A, phone("10.0.0.1", 4000))

    answer = media.pass_answer(Side.B, phone("10.0.0.2", 5000) + b"m=video 0 RTP/AVP 31\r\n")
    assert [5000] == [stream.port for stream in SessionDescription.parse(answer).media]


def test_a_held_device_stays_held_and_learns_nothing() -> None:
    """Before the number answers there is nobody to talk to."""
    media = plan()
    media.first_offer()
    media.answered(Side.A, phone("10.0.0.1", 4000))
    held = SessionDescription.parse(media.hold(Side.A, phone("10.0.0.1", 4000)))

    assert Direction.INACTIVE is held.direction(held.media[0])


def test_asking_too_early_is_our_mistake() -> None:
    """Nothing was heard or told yet."""
    with pytest.raises(LocalProtocolError):
        plan().offer(Side.B)
    with pytest.raises(LocalProtocolError):
        plan().repeat(Side.A)
