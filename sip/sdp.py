"""Session descriptions, without loss: a line that we do not know goes out as it came in (RFC 8866, RFC 3264).

So SRTP keys, ICE candidates and whatever else two phones agree on pass through a call that we control.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from sip.errors import ParseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

CONTENT_TYPE: Final = "application/sdp"
MAX_SDP: Final = 16_384  # bytes; a WebRTC offer with all its candidates stays under 10 KiB
MAX_LINES: Final = 512
MAX_MEDIA: Final = 32

_MEDIA = re.compile(
    r"(?P<kind>\S+) (?P<port>\d{1,5})(?:/(?P<count>\d{1,5}))? (?P<protocol>\S+)(?P<formats>(?: +\S+)*) *\Z"
)
_CONNECTION = re.compile(r"IN (IP4|IP6) ([^\s/]+)(?:/\S*)?\s*\Z")
_RTPMAP = re.compile(r"rtpmap:(\S+)\s+(\S+)")
_OF_FORMAT = re.compile(r"(?:rtpmap|fmtp|rtcp-fb):(\S+)")


class Direction(Enum):
    """Which way media flows, as seen by whoever sends the description (RFC 8866 6.7)."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"


class Line(NamedTuple):
    """One line."""

    type: str
    value: str


@dataclass(frozen=True, slots=True)
class Origin:
    """The o= line: whose description it is, and which version of it (RFC 8866 5.2)."""

    session_id: int
    version: int
    address: str

    def __str__(self) -> str:
        family = "IP6" if ":" in self.address else "IP4"
        return f"- {self.session_id} {self.version} IN {family} {self.address}"


@dataclass(frozen=True, slots=True)
class Media:
    """An m= line and the lines that belong to it."""

    kind: str
    port: int
    """0 where the stream is refused or over (RFC 3264 6)."""
    port_count: str
    """What follows the `/` of the port; empty mostly."""
    protocol: str
    formats: tuple[str, ...]
    lines: tuple[Line, ...] = ()
    """What follows the m= line."""

    @staticmethod
    def parse(value: str) -> Media:
        """Parse the value of an m= line. Raises ParseError."""
        match = _MEDIA.match(value)
        if match is None or int(match["port"]) > 65535:
            raise ParseError("malformed media line in the session description")
        formats = tuple(match["formats"].split())
        return Media(match["kind"], int(match["port"]), match["count"] or "", match["protocol"], formats)

    @property
    def direction(self) -> Direction | None:
        """The direction said for this stream itself, None where there is none."""
        return _direction(self.lines)

    @property
    def codecs(self) -> dict[str, str]:
        """The encoding of each format, in order, in upper case: `{"0": "PCMU/8000"}`."""
        names = dict(_STATIC)
        for line in self.lines:
            if line.type == "a" and (match := _RTPMAP.match(line.value)):
                names[match[1]] = match[2].upper()
        return {name: names.get(name, name) for name in self.formats}

    def attributes(self, name: str) -> tuple[str, ...]:
        """Return the values of an attribute, in order; a flag has an empty one."""
        return _attributes(self.lines, name)

    def with_direction(self, direction: Direction) -> Media:
        """Return the stream with this direction, in the place of the one it had."""
        wanted = Line("a", direction.value)
        lines = [wanted if _is_direction(line) else line for line in self.lines]
        return replace(self, lines=_once(wanted, lines))

    def encode(self) -> list[str]:
        """Return its lines."""
        port = f"{self.port}/{self.port_count}" if self.port_count else str(self.port)
        head = " ".join((self.kind, port, self.protocol, *self.formats))
        return [f"m={head}", *(f"{line.type}={line.value}" for line in self.lines)]


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """A session description."""

    lines: tuple[Line, ...]
    """The session's own lines: all before the first m=."""
    media: tuple[Media, ...] = ()

    @staticmethod
    def parse(data: bytes) -> SessionDescription:
        """Parse a description. Raises ParseError."""
        if len(data) > MAX_SDP:
            raise ParseError("the session description is too long", status=413)
        rows = data.decode("utf-8", "surrogateescape").replace("\r\n", "\n").rstrip("\n\0 ").split("\n")
        if len(rows) > MAX_LINES:
            raise ParseError("the session description has too many lines", status=413)
        lines = [_line(row) for row in rows if row.strip()]
        if not lines or lines[0] != ("v", "0"):
            raise ParseError("not a session description of version 0")
        description = _assemble(lines)
        # What their origin says is not looked at: ours takes its place, and some phones write no numbers there.
        if not any(line.type == "o" for line in description.lines):
            raise ParseError("the session description has no origin")
        return description

    def address(self, media: Media) -> str:
        """Return where a stream is to be sent; empty where the description does not say."""
        for line in (*reversed(media.lines), *reversed(self.lines)):
            if line.type == "c" and (match := _CONNECTION.match(line.value)):
                return match[2]
        return ""

    def direction(self, media: Media) -> Direction:
        """Return a stream's direction, which the session may say for all (RFC 8866 6.7)."""
        return media.direction or _direction(self.lines) or Direction.SENDRECV

    def with_origin(self, origin: Origin) -> SessionDescription:
        """Return the description as ours: with this o= line."""
        lines = tuple(Line("o", str(origin)) if line.type == "o" else line for line in self.lines)
        return replace(self, lines=lines)

    def with_direction(self, direction: Direction) -> SessionDescription:
        """Return the description with every live stream in this direction."""
        lines = tuple(line for line in self.lines if not _is_direction(line))
        media = tuple(item.with_direction(direction) if item.port else item for item in self.media)
        return SessionDescription(lines, media)

    def padded(self, streams: int) -> SessionDescription:
        """Return the description with at least so many streams, the added ones refused.

        RFC 3264 8: a later offer never has fewer streams than the session had.
        """
        missing = streams - len(self.media)
        refused = Media("audio", 0, "", "RTP/AVP", ("0",))
        return replace(self, media=(*self.media, *(refused for _ in range(missing))))

    def select_codecs(self, names: Sequence[str]) -> SessionDescription:
        """Return the description with these audio codecs alone, in this order, and telephone-event.

        `names` are encodings such as `PCMU/8000`; a stream that has none of them is left with what it had.
        """
        wanted = {name.upper(): place for place, name in enumerate(names)}
        return self._change_media(lambda media: _select(media, wanted) if media.kind == "audio" else media)

    def encode(self) -> bytes:
        """Return the description as it goes on the wire."""
        rows = [f"{line.type}={line.value}" for line in self.lines]
        rows += (row for media in self.media for row in media.encode())
        return "".join(f"{row}\r\n" for row in rows).encode("utf-8", "surrogateescape")

    def _change_media(self, change: Callable[[Media], Media]) -> SessionDescription:
        return replace(self, media=tuple(change(media) for media in self.media))


def encodings(codecs: Iterable[str]) -> tuple[str, ...]:
    """Return how SDP names codecs of Kazoo's names, in the same order; those that it has no name for are left out."""
    return tuple(dict.fromkeys(_OFFERED[name.upper()][1] for name in codecs if name.upper() in _OFFERED))


def held_offer(codecs: Iterable[str], origin: Origin, *, srtp_key: str = "") -> SessionDescription:
    """Return an offer of one audio stream that is held: to be answered before its far end is known (RFC 3725 4.4).

    `codecs` are Kazoo's names in the order of preference; those we cannot name in SDP are left out, and without any
    G.711 is offered. `srtp_key` is the base64 master key and salt of an SRTP offer (RFC 4568), empty for plain RTP.
    """
    chosen = [_OFFERED[name] for name in dict.fromkeys(name.upper() for name in codecs) if name in _OFFERED]
    encodings = [*dict.fromkeys(chosen or [_OFFERED["PCMU"], _OFFERED["PCMA"]]), _EVENTS]
    lines = [Line("a", f"rtpmap:{number} {encoding}") for number, encoding, _ in encodings]
    lines += (Line("a", f"fmtp:{number} {fmtp}") for number, _, fmtp in encodings if fmtp)
    if srtp_key:
        lines.append(Line("a", f"crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{srtp_key}"))
    lines.append(Line("a", Direction.INACTIVE.value))
    protocol = "RTP/SAVP" if srtp_key else "RTP/AVP"
    formats = tuple(number for number, _, _ in encodings)
    media = Media("audio", _DISCARD_PORT, "", protocol, formats, tuple(lines))
    return SessionDescription(_own_lines(origin), (media,))


def held_answer(offer: SessionDescription, origin: Origin) -> SessionDescription:
    """Answer an offer so that its first audio stream stays held and every other one is refused."""
    held: list[Media] = []
    audio = next((media for media in offer.media if media.kind == "audio" and media.port), None)
    for media in offer.media:
        kept = tuple(line for line in media.lines if _is_codec(line))
        answer = replace(media, port=_DISCARD_PORT if media is audio else 0, port_count="", lines=kept)
        held.append(answer.with_direction(Direction.INACTIVE) if media is audio else answer)
    return SessionDescription(_own_lines(origin), tuple(held))


def offer_from_answer(answer: SessionDescription, origin: Origin) -> SessionDescription:
    """Turn what one phone answered into an offer for another: ours by origin, and both ways."""
    return answer.with_origin(origin).with_direction(Direction.SENDRECV)


def media_moved(before: SessionDescription, after: SessionDescription, agreed: SessionDescription) -> bool:
    """Whether whoever was told `before`, and answered `agreed`, must be told `after`.

    So if a stream has another address, port, protocol or key, or no longer takes a codec that was agreed on.
    """
    if len(before.media) != len(after.media) or len(agreed.media) > len(after.media):
        return True
    if any(_place(before, old) != _place(after, new) for old, new in zip(before.media, after.media, strict=True)):
        return True
    return any(
        set(chosen.codecs.values()) - set(now.codecs.values()) - {_EVENTS[1].upper()}
        for chosen, now in zip(agreed.media, after.media, strict=False)
        if chosen.port and now.port
    )


def _place(description: SessionDescription, media: Media) -> tuple[object, ...]:
    """Return what must stay for media to keep flowing: where, how, and under which keys."""
    keys = tuple((name, media.attributes(name), _attributes(description.lines, name)) for name in _KEYS)
    return (description.address(media) if media.port else "", media.port, media.protocol, keys)


def _own_lines(origin: Origin) -> tuple[Line, ...]:
    # RFC 3725 4.4: a black hole. RFC 3264 8.4 has everybody take 0.0.0.0; baresip 1.0 stays deaf for the whole call
    # where a held offer names an address instead.
    nowhere = "IN IP6 ::" if ":" in origin.address else "IN IP4 0.0.0.0"
    return (
        Line("v", "0"),
        Line("o", str(origin)),
        Line("s", "-"),
        Line("c", nowhere),
        Line("t", "0 0"),
    )


def _line(row: str) -> Line:
    if len(row) < 2 or row[1] != "=" or not ("a" <= row[0] <= "z") or "\r" in row or "\0" in row:
        raise ParseError("malformed line in the session description")
    return Line(row[0], row[2:])


def _assemble(lines: Sequence[Line]) -> SessionDescription:
    starts = [index for index, line in enumerate(lines) if line.type == "m"]
    if len(starts) > MAX_MEDIA:
        raise ParseError("the session description has too many streams", status=413)
    media = tuple(
        replace(Media.parse(lines[start].value), lines=tuple(lines[start + 1 : end]))
        for start, end in pairwise([*starts, len(lines)])
    )
    return SessionDescription(tuple(lines[: starts[0]] if starts else lines), media)


def _select(media: Media, wanted: dict[str, int]) -> Media:
    codecs = media.codecs
    chosen = sorted((name for name in media.formats if codecs[name] in wanted), key=lambda name: wanted[codecs[name]])
    if not chosen:
        return media
    formats = (*chosen, *(name for name in media.formats if codecs[name].startswith("TELEPHONE-EVENT/")))
    lines = tuple(
        line for line in media.lines if not (match := _OF_FORMAT.match(line.value)) or match[1] in (*formats, "*")
    )
    return replace(media, formats=formats, lines=lines)


def _attributes(lines: Iterable[Line], name: str) -> tuple[str, ...]:
    parts = (line.value.partition(":") for line in lines if line.type == "a")
    return tuple(value for key, _, value in parts if key == name)


def _direction(lines: Sequence[Line]) -> Direction | None:
    return next((Direction(line.value.strip()) for line in reversed(lines) if _is_direction(line)), None)


def _is_direction(line: Line) -> bool:
    return line.type == "a" and line.value.strip() in _DIRECTIONS


def _is_codec(line: Line) -> bool:
    return line.type == "a" and _OF_FORMAT.match(line.value) is not None


def _once(wanted: Line, lines: list[Line]) -> tuple[Line, ...]:
    if wanted not in lines:
        return (*lines, wanted)
    first = lines.index(wanted)
    return tuple(line for index, line in enumerate(lines) if line != wanted or index == first)


_DISCARD_PORT = 9  # a stream whose port is not known yet, and not 0, which would refuse it
_DIRECTIONS = frozenset(direction.value for direction in Direction)
_KEYS = ("crypto", "fingerprint", "ice-ufrag", "ice-pwd", "key-mgmt", "zrtp-hash")
_STATIC = {
    "0": "PCMU/8000", "3": "GSM/8000", "4": "G723/8000", "8": "PCMA/8000", "9": "G722/8000", "13": "CN/8000",
    "15": "G728/8000", "18": "G729/8000", "26": "JPEG/90000", "31": "H261/90000", "34": "H263/90000",
}  # fmt: skip
_EVENTS = ("101", "telephone-event/8000", "0-16")
# Kazoo's names of audio codecs (contract 4.1): payload type, encoding, parameters.
_OFFERED = {
    "PCMU": ("0", "PCMU/8000", ""),
    "GSM": ("3", "GSM/8000", ""),
    "G723": ("4", "G723/8000", ""),
    "PCMA": ("8", "PCMA/8000", ""),
    "G722": ("9", "G722/8000", ""),
    "G729": ("18", "G729/8000", "annexb=no"),
    "OPUS": ("96", "opus/48000/2", "useinbandfec=1"),
    "G722_16": ("97", "G7221/16000", "bitrate=32000"),
    "G7221@16000H": ("97", "G7221/16000", "bitrate=32000"),
    "G722_32": ("98", "G7221/32000", "bitrate=48000"),
    "G7221@32000H": ("98", "G7221/32000", "bitrate=48000"),
    "SPEEX": ("99", "speex/8000", ""),
    "SPEEX@16000H": ("100", "speex/16000", ""),
    "SPEEX@32000H": ("105", "speex/32000", ""),
    "AMR": ("102", "AMR/8000", ""),
    "AMR-WB": ("103", "AMR-WB/16000", ""),
    "ILBC": ("104", "iLBC/8000", "mode=20"),
}
