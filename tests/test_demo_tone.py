"""The measure of a tone in a recording."""

from __future__ import annotations

import math
import random
from array import array
from typing import TYPE_CHECKING

import pytest

from daemon.demo_tone import share, tone_share, write_tone

if TYPE_CHECKING:
    from pathlib import Path

RATE = 8000


def sine(frequency: float, *, amplitude: float = 8000, phase: float = 0.0, seconds: float = 1.0) -> list[int]:
    step = 2 * math.pi * frequency / RATE
    return [round(amplitude * math.sin(step * index + phase)) for index in range(int(RATE * seconds))]


@pytest.mark.parametrize(
    ("samples", "frequency", "least", "most"),
    [
        pytest.param(sine(400), 400, 0.99, 1.0, id="its-own"),
        pytest.param(sine(400), 800, 0.0, 0.01, id="another"),
        pytest.param([a + b for a, b in zip(sine(400), sine(800), strict=True)], 400, 0.45, 0.55, id="half-of-two"),
        pytest.param(sine(400) + sine(400, phase=2.0), 400, 0.95, 1.0, id="jump-of-phase"),
        pytest.param([0] * RATE, 400, 0.0, 0.0, id="silence"),
        pytest.param([], 400, 0.0, 0.0, id="nothing"),
        pytest.param([random.Random(1).randrange(-8000, 8000) for _ in range(RATE)], 400, 0.0, 0.05, id="noise"),
    ],
)
def test_share_is_the_part_of_the_power_at_the_frequency(
    samples: list[int], frequency: float, least: float, most: float
) -> None:
    """The share is 1 for the tone alone, 0 without it, and in between what it has of the power."""

    assert least <= share(samples, RATE, frequency) <= most


def test_written_tone_is_heard(tmp_path: Path) -> None:
    """What `write_tone` writes loops without a click and is the tone."""
    path = tmp_path / "tone.wav"
    write_tone(path, 440, RATE)

    assert tone_share(path, 440) > 0.99
    assert share(array("h", sine(440) * 2), RATE, 440) > 0.99
