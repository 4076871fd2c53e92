"""A message as it was seen on the wire: when, which way, between which addresses, and without its secrets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sip.flow import Address, Transport

EXCERPT = 60  # characters of a line that is no SIP


@dataclass(frozen=True, slots=True)
class Sighting:
    """One message."""

    number: int
    """Grows with every message of a trace."""
    time: float
    """Unix time."""
    sent: bool
    """Whether we sent it."""
    transport: Transport
    local: Address
    remote: Address
    data: bytes
    """Masked, and perhaps cut."""
    length: int
    """Of the masked message as a whole."""

    @property
    def source(self) -> Address:
        """Who sent it."""
        return self.local if self.sent else self.remote

    @property
    def destination(self) -> Address:
        """Who got it."""
        return self.remote if self.sent else self.local

    @property
    def text(self) -> str:
        """The message for eyes: what a terminal would obey is shown, not sent."""
        return printable(self.data.decode("utf-8", "replace").replace("\r\n", "\n"))

    @property
    def start_line(self) -> str:
        """The first line, cut."""
        return printable(self.data[: EXCERPT * 4].decode("utf-8", "replace").partition("\r\n")[0])


def printable(text: str) -> str:
    """Return the text with every control character but tab and line feed written out."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in "\n\t" else f"\\x{ord(char):02x}" for char in text)


def as_text(sightings: list[Sighting]) -> str:
    """Return messages one after the other, each below a line that says when and between whom it went."""
    return "".join(f"{_headline(each)}\n{each.text.rstrip()}\n\n" for each in sightings)


def _headline(each: Sighting) -> str:
    way = "sent" if each.sent else "received"
    cut = "" if len(each.data) == each.length else f", the first {len(each.data)} of {each.length} bytes"
    moment = moment_of(each.time)
    return f"--- {moment} {way} by {each.transport.value} {each.source} -> {each.destination}{cut}"


def moment_of(time: float) -> str:
    """Return a moment as text, in UTC."""
    return datetime.fromtimestamp(time, tz=timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")
