"""What phones and worker are told where the worker joins them: one codec inwards, our address outwards (RFC 3264)."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from sip.anchor import Anchor, Party
from sip.audio import held_for_worker
from sip.callevents import Branch
from sip.errors import LocalProtocolError, ParseError
from sip.mediaplan import Source
from sip.outcome import Side
from sip.sdp import Origin, SessionDescription, encodings

A0, A1, B0, B1 = Branch(Side.A, 0), Branch(Side.A, 1), Branch(Side.B, 0), Branch(Side.B, 1)
PORTS = {Side.A: 9000, Side.B: 9002}


def description(address: str, *rows: str) -> bytes:
    lines = ["v=0", f"o=x 1 1 IN IP4 {address}", "s=x", f"c=IN IP4 {address}", "t=0 0", *rows]
    return "".join(f"{line}\r\n" for line in lines).encode()


def of_worker(port: int) -> SessionDescription:
    """Return what pjsua offers, as far as it matters."""
    rows = [
        f"m=audio {port} RTP/AVP 96 99 3 0 8 9 120 121",
        "b=TIAS:64000",
        f"a=rtcp:{port + 1} IN IP4 192.0.2.2",
        "a=sendrecv",
        "a=rtpmap:96 speex/16000",
        "a=rtpmap:99 iLBC/8000",
        "a=fmtp:99 mode=30",
        "a=rtpmap:3 GSM/8000",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:9 G722/8000",
        "a=rtpmap:120 telephone-event/16000",
        "a=fmtp:120 0-16",
        "a=rtpmap:121 telephone-event/8000",
        "a=fmtp:121 0-16",
        "a=ssrc:669391893 cname:x",
    ]
    return SessionDescription.parse(description("192.0.2.2", *rows))


def phone(*rows: str, address: str = "10.0.0.9", port: int = 4000, formats: str = "0 101") -> bytes:
    events = "a=rtpmap:101 telephone-event/8000"
    return description(address, f"m=audio {port} RTP/AVP {formats}", events, *rows)


@dataclass
class FakeBridge:
    """Implements `sip.anchor.Bridge`: keeps what it is told."""

    pointed: list[tuple[Side, bytes]] = field(default_factory=list)
    hears: dict[Side, Source] = field(default_factory=lambda: dict.fromkeys(Side, Source.SILENCE))

    def offer(self, side: Side) -> SessionDescription:
        return of_worker(PORTS[side])

    def point(self, side: Side, said: SessionDescription) -> None:
        self.pointed.append((side, said.encode()))

    def hear(self, side: Side, source: Source) -> None:
        self.hears[side] = source

    @property
    def heard(self) -> tuple[Source, Source]:
        return self.hears[Side.A], self.hears[Side.B]


def plan(*, early_media: bool = True, codecs: tuple[str, ...] = ("PCMU",)) -> tuple[Anchor, FakeBridge]:
    bridge = FakeBridge()
    media = Anchor(bridge, session_id=7, early_media=early_media)
    media.expect(Side.A, [Party("198.51.100.1", encodings(codecs)), Party("203.0.113.1", encodings(["G722"]))])
    media.expect(Side.B, [Party("198.51.100.1", encodings(["PCMA"]))] * 2)
    return media, bridge


def take(media: Anchor, branch: Branch, body: bytes) -> None:
    media.choose(branch)
    assert media.answered(branch.side, body) is None
    media.taken(branch.side)


def rows(body: bytes) -> list[str]:
    return body.decode().splitlines()


@pytest.mark.parametrize(
    ("codecs", "offered"),
    [
        pytest.param(["PCMU"], "0 121", id="one"),
        pytest.param(["G722", "PCMA", "PCMU"], "9 8 0 121", id="in-the-devices-order"),
        pytest.param(["OPUS", "G729", "GSM"], "3 121", id="those-that-the-worker-has"),
        pytest.param(["SPEEX@16000H", "PCMU"], "96 0 120 121", id="events-of-each-clock"),
        pytest.param(["OPUS"], "0 8 121", id="G.711-where-it-has-none"),
        pytest.param([], "0 8 121", id="G.711-where-nothing-is-wanted"),
        pytest.param(["ILBC", "iLBC", "nonsense"], "99 121", id="names-in-any-case-and-once"),
    ],
)
def test_a_device_is_offered_its_own_codecs_at_our_address(codecs: list[str], offered: str) -> None:
    """The worker's port, our address, no line that tells of the worker itself."""
    media, _ = plan(codecs=tuple(codecs))
    lines = rows(media.invite(A0))

    assert f"m=audio 9000 RTP/AVP {offered}" in lines
    assert {"o=- 7 1 IN IP4 198.51.100.1", "c=IN IP4 198.51.100.1", "a=sendrecv"} < set(lines)
    assert not [line for line in lines if "192.0.2.2" in line or line.startswith(("b=", "a=ssrc", "a=rtcp"))]


def test_each_phone_is_told_the_address_by_which_it_sees_us() -> None:
    """A host with two networks has two addresses; each device has its own codecs too."""
    media, _ = plan()

    assert "c=IN IP4 203.0.113.1" in rows(media.invite(A1))
    assert "m=audio 9000 RTP/AVP 9 121" in rows(media.invite(A1))


def test_the_worker_is_told_one_codec_and_where() -> None:
    """Of several in an answer the first is meant; the phone's telephone-event keeps its number."""
    media, bridge = plan()
    media.choose(A0)
    media.answered(Side.A, phone("a=ptime:30", "a=fmtp:101 0-15", "a=x-odd:1", "a=sendonly", formats="8 0 101"))

    assert [
        (
            Side.A,
            description(
                "10.0.0.9",
                "m=audio 4000 RTP/AVP 8 101",
                "a=rtpmap:101 telephone-event/8000",
                "a=ptime:30",
                "a=fmtp:101 0-15",
                "a=sendonly",
            )
            .replace(b"o=x 1 1", b"o=- 7 1")
            .replace(b"s=x", b"s=-"),
        )
    ] == bridge.pointed


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(phone(formats="18"), id="codec-we-have-not"),
        pytest.param(phone(port=0), id="no-stream"),
        pytest.param(phone(address="phone.example.com"), id="a-name-that-would-be-looked-up"),
        pytest.param(phone(address="2001:db8::1").replace(b"IN IP4", b"IN IP6"), id="IPv6"),
        pytest.param(phone().replace(b"RTP/AVP", b"RTP/SAVP"), id="encrypted"),
        pytest.param(phone().replace(b"m=audio", b"m=video"), id="no-audio"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"v=1", id="not-a-description"),
    ],
)
def test_an_answer_that_the_worker_cannot_use_is_refused(answer: bytes) -> None:
    """The worker hears of none of it, and blocks on none."""
    media, bridge = plan()
    media.choose(A0)
    with pytest.raises(ParseError):
        media.answered(Side.A, answer)

    assert [] == bridge.pointed


def test_the_device_hears_ringing_then_the_number() -> None:
    """Silence, our ringing, the other side; the number hears nothing before it answers."""
    media, bridge = plan()
    take(media, A0, phone())
    assert (Source.SILENCE, Source.SILENCE) == bridge.heard
    media.rang(B0, b"")
    assert (Source.RINGBACK, Source.SILENCE) == bridge.heard
    take(media, B0, phone(formats="8"))

    assert (Source.OTHER, Source.OTHER) == bridge.heard
    assert [Side.A, Side.B] == [side for side, _ in bridge.pointed]


def test_early_media_takes_the_place_of_our_ringing() -> None:
    """What the far network plays is heard before the answer, and a later 180 without any does not end it."""
    media, bridge = plan()
    take(media, A0, phone())
    media.rang(B0, b"")
    media.rang(B0, phone(port=5000))
    media.rang(B1, b"")

    assert (Source.OTHER, Source.OTHER) == bridge.heard
    assert [Side.A, Side.B] == [side for side, _ in bridge.pointed]


def test_early_media_that_is_to_be_ignored_is_not_heard() -> None:
    """`ignore-early-media`: our ringing instead; its description still serves where the 2xx has none."""
    media, bridge = plan(early_media=False)
    take(media, A0, phone())
    media.rang(B0, phone(port=5000))
    assert (Source.RINGBACK, Source.SILENCE) == bridge.heard
    assert [Side.A] == [side for side, _ in bridge.pointed]
    take(media, B0, b"")

    assert b"m=audio 5000 " in bridge.pointed[-1][1]


def test_early_media_that_cannot_be_used_is_no_end() -> None:
    """The device hears our ringing, as where there is none."""
    media, bridge = plan()
    take(media, A0, phone())
    media.rang(B0, b"garbage")

    assert (Source.RINGBACK, Source.SILENCE) == bridge.heard


def test_who_is_to_press_a_key_is_asked_and_joined_only_then() -> None:
    """The device goes on hearing that it rings."""
    media, bridge = plan()
    take(media, A0, phone())
    media.rang(B0, b"")
    media.choose(B0)
    media.answered(Side.B, phone())
    media.ask(Side.B)
    assert (Source.RINGBACK, Source.ASKING) == bridge.heard
    media.taken(Side.B)

    assert (Source.OTHER, Source.OTHER) == bridge.heard


def test_another_number_takes_the_place_of_the_first() -> None:
    """A transfer: both hear silence, then the device hears ringing, then the new one; branches count on."""
    media, bridge = plan()
    take(media, A0, phone())
    take(media, B0, phone())
    first = rows(media.invite(B0))
    media.renew(Side.B)
    assert (Source.SILENCE, Source.SILENCE) == bridge.heard
    media.expect(Side.B, [Party("198.51.100.1", encodings(["GSM"]))])
    second = rows(media.invite(Branch(Side.B, 2)))
    media.rang(Branch(Side.B, 2), b"")
    assert (Source.RINGBACK, Source.SILENCE) == bridge.heard
    take(media, Branch(Side.B, 2), phone(port=6000))

    assert (Source.OTHER, Source.OTHER) == bridge.heard
    assert "m=audio 9002 RTP/AVP 3 121" in second
    assert first[1] != second[1], "another session"
    assert b"m=audio 6000 " in bridge.pointed[-1][1]


@pytest.mark.parametrize(
    ("direction", "answer"),
    [("sendrecv", "sendrecv"), ("sendonly", "recvonly"), ("recvonly", "sendonly"), ("inactive", "inactive")],
)
def test_a_phone_that_holds_is_answered_by_us(direction: str, answer: str) -> None:
    """A re-INVITE concerns that side alone: the answer is ours, and the worker hears of it."""
    media, bridge = plan()
    take(media, A0, phone())
    take(media, B0, phone())
    lines = rows(media.hold(Side.B, phone(f"a={direction}", port=5004, formats="18 9 0 101")))

    assert "m=audio 9002 RTP/AVP 9 101" in lines
    assert {"o=- 8 2 IN IP4 198.51.100.1", f"a={answer}"} < set(lines)
    assert bridge.pointed[-1][1].startswith(b"v=0\r\no=- 8 ")
    assert b"m=audio 5004 RTP/AVP 9 101" in bridge.pointed[-1][1]
    assert f"a={direction}".encode() in bridge.pointed[-1][1]


def test_other_streams_of_an_offer_are_refused() -> None:
    """As many streams in the answer as in the offer, in its order (RFC 3264 6); our next offer keeps them (8)."""
    media, _ = plan()
    take(media, A0, phone())
    offer = description("10.0.0.9", "m=video 7000 RTP/AVP 96", "a=rtpmap:96 H264/90000", "m=audio 4000 RTP/AVP 0")
    answer = rows(media.hold(Side.A, offer))
    again = rows(media.repeat(Side.A))

    assert ["m=video 0 RTP/AVP 96", "m=audio 9000 RTP/AVP 0"] == [line for line in answer if line.startswith("m=")]
    assert 2 == len([line for line in again if line.startswith("m=")])


def test_a_phone_that_asks_for_an_offer_gets_ours_and_its_answer_counts() -> None:
    """An INVITE without SDP: all the device's codecs again, both ways; the ACK has the answer (RFC 3261 14.2)."""
    media, bridge = plan()
    take(media, A0, phone())
    media.hold(Side.A, phone("a=sendonly"))
    offer = rows(media.repeat(Side.A))
    media.agreed(Side.A, phone(port=4444))

    assert {"m=audio 9000 RTP/AVP 0 121", "a=sendrecv", "o=- 7 3 IN IP4 198.51.100.1"} < set(offer)
    assert b"m=audio 4444 " in bridge.pointed[-1][1]


def test_no_side_is_told_of_the_other() -> None:
    """What only a bypassed call needs is a fault of ours here."""
    media, _ = plan()
    for ask in (media.pass_offer, media.pass_answer):
        with pytest.raises(LocalProtocolError):
            ask(Side.A, phone())
    with pytest.raises(LocalProtocolError):
        media.offer(Side.A)
    with pytest.raises(LocalProtocolError):
        media.repeat(Side.A)


def test_the_worker_is_kept_waiting_by_a_held_answer() -> None:
    """Its 200 is acknowledged at once, whenever a phone may answer."""
    lines = rows(held_for_worker(Origin(1, 0, "127.0.0.1")).encode())

    assert ["m=audio 9 RTP/AVP 0", "a=inactive"] == lines[-2:]
