"""What we let a phone hear: the ringing of a country (ITU-T E.180, its supplement 2), and that a key is waited for.

Rule: one cadence, from the first tone to the end of the last silence, is what is played over and over.
"""

from __future__ import annotations

import math
import struct
import sys
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

RATE: Final = 8000
AMPLITUDE: Final = 6000
"""Of all frequencies together: about -16 dBm0, which is what networks play."""


@dataclass(frozen=True, slots=True)
class Cadence:
    """A country's ringing."""

    frequencies: tuple[int, ...]
    """Hertz, heard together."""
    seconds: tuple[float, ...]
    """Tone, silence, tone, silence, ..."""


_DOUBLE: Final = (0.4, 0.2, 0.4, 2.0)

CADENCES: Final[Mapping[str, Cadence]] = {
    "at": Cadence((420,), (1.0, 5.0)),
    "au": Cadence((400, 425, 450), _DOUBLE),
    "be": Cadence((425,), (1.0, 3.0)),
    "br": Cadence((425,), (1.0, 4.0)),
    "ca": Cadence((440, 480), (2.0, 4.0)),
    "ch": Cadence((425,), (1.0, 4.0)),
    "cn": Cadence((450,), (1.0, 4.0)),
    "cz": Cadence((425,), (1.0, 4.0)),
    "de": Cadence((425,), (1.0, 4.0)),
    "dk": Cadence((425,), (1.0, 4.0)),
    "es": Cadence((425,), (1.5, 3.0)),
    "fi": Cadence((425,), (1.0, 4.0)),
    "fr": Cadence((440,), (1.5, 3.5)),
    "gb": Cadence((400, 450), _DOUBLE),
    "gr": Cadence((425,), (1.0, 4.0)),
    "hu": Cadence((425,), (1.25, 3.75)),
    "ie": Cadence((400, 450), _DOUBLE),
    "il": Cadence((400,), (1.0, 3.0)),
    "in": Cadence((375, 400, 425), _DOUBLE),
    "it": Cadence((425,), (1.0, 4.0)),
    "jp": Cadence((384, 416), (1.0, 2.0)),
    "mx": Cadence((425,), (1.0, 4.0)),
    "nl": Cadence((425,), (1.0, 4.0)),
    "no": Cadence((425,), (1.0, 4.0)),
    "nz": Cadence((400, 450), _DOUBLE),
    "pl": Cadence((425,), (1.0, 4.0)),
    "pt": Cadence((425,), (1.0, 5.0)),
    "ru": Cadence((425,), (0.8, 3.2)),
    "se": Cadence((425,), (1.0, 5.0)),
    "us": Cadence((440, 480), (2.0, 4.0)),
    "za": Cadence((400, 433), _DOUBLE),
}
"""By the country's ISO 3166 code in lower case; the setting `media.ringback` takes these."""


ASKING: Final = Cadence((1000,), (0.15, 0.15, 0.15, 2.0))


def ringback_wav(country: str) -> bytes:
    """Return the ringing of a country as a WAV file of 16-bit samples."""
    return _wav(CADENCES[country])


def asking_wav() -> bytes:
    """Return what whoever is to press a key hears, as such a file."""
    return _wav(ASKING)


def _wav(cadence: Cadence) -> bytes:
    samples = array("h")
    for index, seconds in enumerate(cadence.seconds):
        count = round(seconds * RATE)
        samples.extend(_tone(cadence.frequencies, count) if index % 2 == 0 else [0] * count)
    if sys.byteorder == "big":
        samples.byteswap()
    data = samples.tobytes()
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, RATE * 2, 2, 16)
    return struct.pack("<4sI4s", b"RIFF", 4 + len(form) + 8 + len(data), b"WAVE") + form + _chunk(data)


def _tone(frequencies: tuple[int, ...], count: int) -> list[int]:
    steps = [2 * math.pi * frequency / RATE for frequency in frequencies]
    each = AMPLITUDE / len(steps)
    return [round(each * sum(math.sin(step * index) for step in steps)) for index in range(count)]


def _chunk(data: bytes) -> bytes:
    return struct.pack("<4sI", b"data", len(data)) + data
