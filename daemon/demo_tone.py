"""Hears a tone in a recording: the share of its power at one frequency, by Goertzel's algorithm; and makes one."""

from __future__ import annotations

import math
import wave
from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

WINDOW = 0.05
"""Seconds; short, so that a jump of phase (a lost or late packet) costs one window only."""
AMPLITUDE = 8000


def tone_share(path: Path, frequency: float) -> float:
    """Return the share (0 to 1) of the 16-bit recording's power that lies at the frequency; 0 for silence."""
    with wave.open(str(path)) as recording:
        channels, rate = recording.getnchannels(), recording.getframerate()
        samples = array("h", recording.readframes(recording.getnframes()))[::channels]
    return share(samples, rate, frequency)


def share(samples: Sequence[int], rate: int, frequency: float) -> float:
    """Return the share of the power of the samples that lies at the frequency, window by window."""
    size = round(rate * WINDOW)
    windows = [samples[start : start + size] for start in range(0, len(samples) - size + 1, size)]
    total = sum(sample * sample for window in windows for sample in window)
    if not total:
        return 0.0
    return min(1.0, sum(_energy(window, rate, frequency) for window in windows) / total)


def write_tone(path: Path, frequency: int, rate: int) -> None:
    """Write one second of the tone, of whole periods so that it loops without a click."""
    step = 2 * math.pi * frequency / rate
    samples = array("h", (round(AMPLITUDE * math.sin(step * index)) for index in range(rate)))
    with wave.open(str(path), "wb") as recording:
        recording.setparams((1, 2, rate, 0, "NONE", "not compressed"))
        recording.writeframes(samples.tobytes())


def _energy(window: Sequence[int], rate: int, frequency: float) -> float:
    """Return the energy of the window at the frequency, in the unit of the sum of squares."""
    coefficient = 2 * math.cos(2 * math.pi * frequency / rate)
    last = before = 0.0
    for sample in window:
        last, before = sample + coefficient * last - before, last
    return 2 * (last * last + before * before - coefficient * last * before) / len(window)
