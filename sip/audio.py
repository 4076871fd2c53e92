"""Descriptions of one audio stream that ends at us: offers, answers, and what a media worker is told (RFC 3264).

Rule: towards the worker one codec beside telephone-event, for it would offer anew to settle on one.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Final

from sip.errors import ParseError
from sip.sdp import Direction, Line, Media, SessionDescription

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from sip.sdp import Origin

ANYWAY: Final = ("PCMU/8000", "PCMA/8000")
"""Offered where a device has none of the codecs that the worker has: every phone knows G.711."""
_PROTOCOLS: Final = frozenset(("RTP/AVP", "RTP/AVPF"))
_EVENTS: Final = "TELEPHONE-EVENT/"
_REVERSED: Final = {Direction.SENDONLY: Direction.RECVONLY, Direction.RECVONLY: Direction.SENDONLY}
_KEPT: Final = ("ptime:", "maxptime:")


def audio_of(description: SessionDescription) -> Media:
    """Return the first audio stream that is in use and not encrypted. Raises ParseError."""
    for media in description.media:
        if media.kind == "audio" and media.port and media.protocol.upper() in _PROTOCOLS:
            return media
    raise ParseError("no audio stream without encryption", status=488)


def codecs_of(description: SessionDescription) -> frozenset[str]:
    """Return the encodings of the stream, without telephone-event. Raises ParseError."""
    return frozenset(name for name in audio_of(description).codecs.values() if not name.startswith(_EVENTS))


def own_offer(worker: SessionDescription, encodings: Sequence[str], origin: Origin) -> SessionDescription:
    """Return the worker's offer as ours: at the origin's address, with these codecs of its in this order."""
    media = audio_of(worker)
    codecs = media.codecs
    wanted = [name for encoding in encodings for name in media.formats if codecs[name] == encoding.upper()]
    wanted = wanted or [name for encoding in ANYWAY for name in media.formats if codecs[name] == encoding]
    formats = with_events(media, dict.fromkeys(wanted))
    return _description(origin, (_stream(media, formats, media.port, Direction.SENDRECV),))


def own_answer(offer: SessionDescription, known: Collection[str], port: int, origin: Origin) -> SessionDescription:
    """Answer a phone's offer: its first audio stream with the first codec that is known, at our port, and no other.

    Raises ParseError where there is none.
    """
    audio = audio_of(offer)
    formats = _one_codec(audio, known)
    direction = offer.direction(audio)
    ours = _stream(audio, formats, port, _REVERSED.get(direction, direction))
    refused = (replace(media, port=0, port_count="", lines=()) for media in offer.media)
    streams = tuple(ours if media is audio else no for media, no in zip(offer.media, refused, strict=True))
    return _description(origin, streams)


def for_worker(said: SessionDescription, known: Collection[str], origin: Origin) -> SessionDescription:
    """Return what a phone said as an offer for the worker. Raises ParseError where the worker cannot do it."""
    audio = audio_of(said)
    address = said.address(audio)
    try:
        IPv4Address(address)
    except ValueError:
        # pjsua would look a name up, and wait for it; IPv6 it has none.
        raise ParseError("the media's address is no IPv4 address", status=488) from None
    stream = _stream(audio, _one_codec(audio, known), audio.port, said.direction(audio))
    return _description(replace(origin, address=address), (stream,))


def held_for_worker(origin: Origin) -> SessionDescription:
    """Return the answer that keeps the worker waiting until it is known where the far end is."""
    lines = (Line("a", Direction.INACTIVE.value),)
    return _description(origin, (Media("audio", 9, "", "RTP/AVP", ("0",), lines),))


def with_events(media: Media, formats: Iterable[str]) -> tuple[str, ...]:
    """Return the formats and, of the same clock rates, the telephone-events of the stream (RFC 4733 2.1)."""
    codecs = media.codecs
    chosen = tuple(formats)
    clocks = {codecs[name].split("/")[1] for name in chosen if "/" in codecs[name]}
    events = (name for name, encoding in codecs.items() if encoding.startswith(_EVENTS))
    return (*chosen, *(name for name in events if codecs[name].split("/")[1] in clocks))


def _one_codec(media: Media, known: Collection[str]) -> tuple[str, ...]:
    """Return the stream's first format that is known, and its telephone-event. Raises ParseError."""
    found = next((name for name, encoding in media.codecs.items() if encoding in known), None)
    if found is None:
        raise ParseError("none of the codecs is known to the media worker", status=488)
    return with_events(media, (found,))


def _stream(media: Media, formats: tuple[str, ...], port: int, direction: Direction) -> Media:
    lines = [line for line in media.lines if _is_about(line, formats)]
    return Media("audio", port, "", "RTP/AVP", formats, (*lines, Line("a", direction.value)))


def _is_about(line: Line, formats: tuple[str, ...]) -> bool:
    """Whether a line describes one of the formats, or how much sound a packet holds."""
    name, _, rest = line.value.partition(":")
    of_format = name in ("rtpmap", "fmtp") and rest.partition(" ")[0] in formats
    return line.type == "a" and (of_format or line.value.startswith(_KEPT))


def _description(origin: Origin, media: tuple[Media, ...]) -> SessionDescription:
    lines = (
        Line("v", "0"),
        Line("o", str(origin)),
        Line("s", "-"),
        Line("c", f"IN IP4 {origin.address}"),
        Line("t", "0 0"),
    )
    return SessionDescription(lines, media)
