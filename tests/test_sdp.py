"""Session descriptions: nothing is lost, and what quickcall turns one into another for (RFC 8866, RFC 3264)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip.errors import ParseError
from sip.sdp import (
    MAX_LINES,
    MAX_MEDIA,
    MAX_SDP,
    Direction,
    Origin,
    SessionDescription,
    held_answer,
    held_offer,
    media_moved,
    offer_from_answer,
)

OURS = Origin(77, 1, "192.0.2.1")

YEALINK = """v=0
o=- 20211 20211 IN IP4 10.14.11.146
s=SDP data
c=IN IP4 10.14.11.146
t=0 0
m=audio 11808 RTP/AVP 9 0 8 18 101
a=rtpmap:9 G722/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:18 G729/8000
a=fmtp:18 annexb=no
a=ptime:20
a=sendrecv
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
"""
SRTP_AND_VIDEO = """v=0
o=alice 2890844526 2890844527 IN IP6 2001:db8::7
s=-
b=AS:256
t=0 0
a=group:BUNDLE 0 1
a=x-unknown:kept=as is
a=sendonly
m=audio 49170/2 UDP/TLS/RTP/SAVPF 96 0
c=IN IP6 2001:db8::8
a=rtpmap:96 opus/48000/2
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj
a=candidate:1 1 UDP 2130706431 2001:db8::8 49170 typ host
m=video 0 RTP/AVP 31
a=inactive
"""


def description(text: str) -> SessionDescription:
    return SessionDescription.parse(text.replace("\n", "\r\n").encode())


@pytest.mark.parametrize(
    "text", [pytest.param(YEALINK, id="yealink"), pytest.param(SRTP_AND_VIDEO, id="srtp-and-video")]
)
def test_what_is_parsed_is_encoded_byte_for_byte(text: str) -> None:
    """Known or not, every line goes out as it came in, and in its place."""
    wire = text.replace("\n", "\r\n").encode()

    assert wire == SessionDescription.parse(wire).encode()


def test_line_feeds_alone_and_trailing_blank_lines_are_read() -> None:
    """Several phones end lines with LF, or the body with an empty line or a null; we write CRLF."""
    wire = YEALINK.encode() + b"\n\0"

    assert YEALINK.replace("\n", "\r\n").encode() == SessionDescription.parse(wire).encode()


@pytest.mark.parametrize(
    ("wire", "reason"),
    [
        pytest.param(b"", "version 0", id="empty"),
        pytest.param(b"\x00\x01\x02", "malformed line", id="binary"),
        pytest.param(b"v=1\r\no=- 1 1 IN IP4 1.2.3.4\r\n", "version 0", id="version"),
        pytest.param(b"v=0\r\ns=-\r\n", "origin", id="no-origin"),
        pytest.param(b"v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\nnonsense\r\n", "malformed line", id="no-equals"),
        pytest.param(b"v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\nm=audio x RTP/AVP 0\r\n", "media line", id="port-not-a-number"),
        pytest.param(b"v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\nm=audio 65536 RTP/AVP 0\r\n", "media line", id="port-too-high"),
        pytest.param(b"v=0\r\n" + b"a=x\r\n" * MAX_LINES, "too many lines", id="lines"),
        pytest.param(b"v=0\r\no=-\r\n" + b"m=audio 0 RTP/AVP 0\r\n" * (MAX_MEDIA + 1), "streams", id="streams"),
        pytest.param(b"v=0\r\na=" + b"x" * MAX_SDP, "too long", id="length"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_with_its_reason(wire: bytes, reason: str) -> None:
    """What cannot be passed on honestly is a ParseError, and nothing else."""
    with pytest.raises(ParseError, match=reason):
        SessionDescription.parse(wire)


@given(st.binary(max_size=400))
def test_no_octets_raise_anything_but_parse_error(noise: bytes) -> None:
    """A phone's body is never trusted."""
    for wire in (noise, b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\n" + noise):
        try:
            parsed = SessionDescription.parse(wire)
        except ParseError:
            continue
        assert parsed == SessionDescription.parse(parsed.encode())


def test_where_and_which_way_a_stream_flows() -> None:
    """The stream's own c= and direction come before the session's (RFC 8866 5.7, 6.7)."""
    parsed = description(SRTP_AND_VIDEO)
    audio, video = parsed.media

    assert ("2001:db8::8", "") == (parsed.address(audio), parsed.address(video))
    assert (Direction.SENDONLY, Direction.INACTIVE) == (parsed.direction(audio), parsed.direction(video))
    assert (49170, "2") == (audio.port, audio.port_count)
    assert {"96": "OPUS/48000/2", "0": "PCMU/8000"} == audio.codecs


def test_an_offer_from_an_answer_is_ours_and_both_ways_and_loses_nothing() -> None:
    """Only the origin and the directions change; keys and candidates pass through."""
    offer = offer_from_answer(description(SRTP_AND_VIDEO), OURS)

    expected = SRTP_AND_VIDEO.replace("o=alice 2890844526 2890844527 IN IP6 2001:db8::7", "o=- 77 1 IN IP4 192.0.2.1")
    expected = expected.replace("a=sendonly\n", "").replace("typ host\n", "typ host\na=sendrecv\n")
    assert expected.replace("\n", "\r\n").encode() == offer.encode()


def test_a_direction_stays_in_its_place() -> None:
    """A stream that says its direction says the new one on the same line."""
    changed = description(YEALINK).with_direction(Direction.SENDONLY)

    assert YEALINK.replace("a=sendrecv", "a=sendonly").replace("\n", "\r\n").encode() == changed.encode()


def test_a_held_offer_names_the_codecs_in_order_and_is_inactive() -> None:
    """Leg A is offered the device's codecs, with DTMF, before anybody's address is known."""
    offer = held_offer(["G722", "PCMU", "CELT@64000h", "pcmu"], OURS)

    expected = (
        "v=0|o=- 77 1 IN IP4 192.0.2.1|s=-|c=IN IP4 0.0.0.0|t=0 0|m=audio 9 RTP/AVP 9 0 101|a=rtpmap:9 G722/8000|"
        "a=rtpmap:0 PCMU/8000|a=rtpmap:101 telephone-event/8000|a=fmtp:101 0-16|a=inactive|"
    )
    assert expected.replace("|", "\r\n").encode() == offer.encode()


@pytest.mark.parametrize("codecs", [pytest.param([], id="none"), pytest.param(["H264"], id="none-that-we-know")])
def test_a_held_offer_without_a_codec_has_g711(codecs: list[str]) -> None:
    """Every phone has one of the two."""
    assert ("0", "8", "101") == held_offer(codecs, OURS).media[0].formats


def test_a_held_offer_with_a_key_is_secure() -> None:
    """A device that takes SRTP alone is offered SRTP, so that its answer holds its own key (RFC 4568)."""
    media = held_offer(["PCMU"], OURS, srtp_key="a2V5").media[0]

    assert "RTP/SAVP" == media.protocol
    assert ("1 AES_CM_128_HMAC_SHA1_80 inline:a2V5",) == media.attributes("crypto")


def test_a_held_answer_holds_the_audio_and_refuses_the_rest() -> None:
    """As many streams as were offered (RFC 3264 6), none of them with another party's address."""
    answer = held_answer(description(YEALINK + "m=video 7000 RTP/AVP 99\na=rtpmap:99 H264/90000\n"), OURS)

    assert [("audio", 9), ("video", 0)] == [(media.kind, media.port) for media in answer.media]
    assert Direction.INACTIVE is answer.direction(answer.media[0])
    assert "0.0.0.0" == answer.address(answer.media[0])
    assert b"10.14.11.146" not in answer.encode()


def test_an_ipv6_origin_says_so() -> None:
    """The address type goes with the address."""
    origin = Origin(1, 2, "2001:db8::1")

    assert "- 1 2 IN IP6 2001:db8::1" == str(origin)
    assert b"\r\nc=IN IP6 ::\r\n" in held_offer(["PCMU"], origin).encode()


def test_selected_codecs_come_in_their_order_with_dtmf() -> None:
    """What describes a codec that is left out goes with it."""
    media = description(YEALINK).select_codecs(["PCMA/8000", "g722/8000"]).media[0]

    assert ("8", "9", "101") == media.formats
    assert not [line for line in media.lines if line.value.startswith(("rtpmap:0", "rtpmap:18", "fmtp:18"))]
    assert ("9", "0", "8", "18", "101") == description(YEALINK).select_codecs(["opus/48000/2"]).media[0].formats


def test_padding_adds_refused_streams_only() -> None:
    """A later offer never has fewer streams than the session had (RFC 3264 8)."""
    padded = description(YEALINK).padded(2)

    assert [11808, 0] == [media.port for media in padded.media]
    assert padded == padded.padded(1)


@pytest.mark.parametrize(
    ("old", "new", "moved"),
    [
        pytest.param("s=SDP data", "s=another name", False, id="name"),
        pytest.param("20211 20211", "20211 20212", False, id="version"),
        pytest.param("a=sendrecv", "a=sendonly", False, id="direction"),
        pytest.param("RTP/AVP 9 0 8 18 101", "RTP/AVP 0 8 101", False, id="fewer-codecs-but-the-agreed-ones"),
        pytest.param("RTP/AVP 9 0 8 18 101", "RTP/AVP 9 18 101", True, id="an-agreed-codec-is-gone"),
        pytest.param("c=IN IP4 10.14.11.146", "c=IN IP4 10.14.11.147", True, id="address"),
        pytest.param("11808", "11810", True, id="port"),
        pytest.param("RTP/AVP", "RTP/SAVP", True, id="protocol"),
        pytest.param("a=ptime:20", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:a2V5", True, id="key"),
    ],
)
def test_media_that_moved_must_be_told(old: str, new: str, moved: bool) -> None:
    """The other phone hears of a change that would make it send wrongly, and of no other."""
    agreed = description(YEALINK.replace("RTP/AVP 9 0 8 18 101", "RTP/AVP 0 8 101"))

    assert moved is media_moved(description(YEALINK), description(YEALINK.replace(old, new)), agreed)


def test_a_refused_stream_has_no_place_to_move_from() -> None:
    """An address beside port 0 means nothing."""
    refused = YEALINK + "m=video 0 RTP/AVP 31\nc=IN IP4 {}\n"

    assert not media_moved(
        description(refused.format("1.1.1.1")), description(refused.format("2.2.2.2")), description(YEALINK)
    )
