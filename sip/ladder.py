"""Messages as a ladder: a line of life for us and for every peer, and an arrow for each message."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final

from sip.errors import ParseError
from sip.message import Request, parse_message
from sip.sighting import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sip.flow import Address
    from sip.sighting import Sighting

WIDTH: Final = 80
MAX_PEERS: Final = 3  # that have lines of their own: with more there is no room for words on the arrows
US: Final = "Roost"
OTHERS: Final = "others"

_MARGIN: Final = 13  # columns of the time


@dataclass(slots=True)
class Ladder:
    """A diagram that may grow."""

    peers: list[Address]
    """Those that have lines, in the order in which they appeared; where there are too many the last ones share one."""

    def extend(self, sightings: Sequence[Sighting]) -> list[str]:
        """Return the lines of further messages, after new names where there are peers that have no line yet."""
        before = list(self.peers)
        found = dict.fromkeys([*self.peers, *(each.remote for each in sightings)])
        self.peers = list(found)[: MAX_PEERS + 1]
        head = self.head() if self.peers != before else []
        return [*head, *(self.arrow(each) for each in sightings)]

    def head(self) -> list[str]:
        """Return the names of the lines."""
        columns = self._columns()
        rows = [list(" " * WIDTH) for _ in range(2)]
        for index, name in enumerate(self._names()):
            left = columns[index - 1] if index else _MARGIN - (columns[0] - _MARGIN)
            right = columns[index + 1] if index + 1 < len(columns) else WIDTH + (WIDTH - columns[-1]) // 2
            room = min(columns[index] - left, right - columns[index]) - 1
            short = name if len(name) <= room else f"{name[: room - 2]}.."
            start = max(0, min(columns[index] - len(short) // 2, WIDTH - len(short)))
            rows[0][start : start + len(short)] = short
            rows[1][columns[index]] = "|"
        return ["".join(row).rstrip() for row in rows]

    def arrow(self, each: Sighting) -> str:
        """Return the line of a message."""
        columns = self._columns()
        us = min(1, len(columns) - 1)
        peer = self._column_of(each.remote)
        start, end = sorted((columns[us], columns[peer]))
        row = list(f"{_clock(each.time):{WIDTH}}")
        for column in columns:
            row[column] = "|"
        rightwards = (us < peer) == each.sent
        row[start + 1 : end] = _shaft(label_of(each), end - start - 1, rightwards=rightwards)
        return "".join(row).rstrip()

    def _names(self) -> list[str]:
        shown = [str(address) for address in self.peers]
        if len(shown) > MAX_PEERS:
            shown[MAX_PEERS - 1 :] = [OTHERS]
        return [*shown[:1], US, *shown[1:]]

    def _columns(self) -> list[int]:
        names = self._names()
        first, last = _MARGIN + 11, WIDTH - 12
        if len(names) < 2:
            return [first]
        return [first + round(index * (last - first) / (len(names) - 1)) for index in range(len(names))]

    def _column_of(self, address: Address) -> int:
        known = list(self.peers)[: MAX_PEERS - 1] if len(self.peers) > MAX_PEERS else list(self.peers)
        index = known.index(address) if address in known else len(self._names()) - 2
        return 0 if index == 0 else index + 1


def draw(sightings: Sequence[Sighting]) -> str:
    """Return the diagram of the messages, at most 80 columns wide."""
    return "".join(f"{line}\n" for line in Ladder([]).extend(sightings))


def label_of(each: Sighting) -> str:
    """Return what is written on the arrow of a message."""
    try:
        message = parse_message(each.data)
    except ParseError:
        return f"not SIP, {each.length} bytes"
    if isinstance(message, Request):
        label = message.method
        if message.first("Authorization") or message.first("Proxy-Authorization"):
            label += " (auth)"
    else:
        label = f"{message.status} {message.reason}".strip()
    if message.content_type == "application/sdp":
        label += " (SDP)"
    return printable(label).replace("\n", " ").replace("\t", " ")


def _shaft(label: str, length: int, *, rightwards: bool) -> str:
    room = length - 4
    words = f" {label[:room]} " if room > 0 else ""
    shaft = words.center(length - 1, "-")[: length - 1]
    return f"{shaft}>" if rightwards else f"<{shaft}"


def _clock(time: float) -> str:
    return datetime.fromtimestamp(time, tz=timezone.utc).strftime("%H:%M:%S.%f")[:12]
