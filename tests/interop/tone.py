"""Hear a tone in a recording: the share of its power at one frequency, by Goertzel's algorithm."""

from __future__ import annotations

import math
import wave
from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

WINDOW = 0.05  # seconds; short, so that a jump of phase (a lost or late packet) costs one window only


def tone_share(path: Path, frequency: float) -> float:
    """Return the share (0 to 1) of the recording's power that lies at the frequency; 0 for silence."""
    with wave.open(str(path)) as recording:
        assert recording.getsampwidth() == 2, "16-bit samples only"
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
    heard = sum(_goertzel(window, rate, frequency) for window in windows)
    return min(1.0, heard / total)


def _goertzel(window: Sequence[int], rate: int, frequency: float) -> float:
    """Return the energy of the window at the frequency, in the unit of the sum of squares."""
    step = 2 * math.pi * frequency / rate
    coefficient = 2 * math.cos(step)
    last = before = 0.0
    for sample in window:
        last, before = sample + coefficient * last - before, last
    return 2 * (last * last + before * before - coefficient * last * before) / len(window)
