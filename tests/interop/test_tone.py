from __future__ import annotations

import math
import wave
from array import array
from typing import TYPE_CHECKING

import pytest
from tone import share, tone_share

if TYPE_CHECKING:
    from pathlib import Path

RATE = 8000


def sine(frequency: float, seconds: float = 0.5, amplitude: int = 8000) -> list[int]:
    count = round(seconds * RATE)
    return [round(amplitude * math.sin(2 * math.pi * frequency * index / RATE)) for index in range(count)]


def test_a_pure_tone_has_all_the_power_at_its_frequency() -> None:
    """A sine of the frequency asked for is found whole."""
    assert share(sine(440), RATE, 440) == pytest.approx(1.0, abs=0.01)


def test_another_tone_has_none() -> None:
    """Two tones that a test uses side by side are told apart."""
    assert share(sine(440), RATE, 1000) < 0.01


def test_two_equal_tones_share_the_power() -> None:
    """A mixture gives each tone its part."""
    mixed = [one + other for one, other in zip(sine(440), sine(1000), strict=True)]

    assert share(mixed, RATE, 440) == pytest.approx(0.5, abs=0.02)


def test_a_jump_of_phase_costs_little() -> None:
    """A lost packet in the middle does not hide the tone."""
    jumped = sine(440, 0.333) + sine(440, 0.5)

    assert share(jumped, RATE, 440) > 0.9


@pytest.mark.parametrize("samples", [pytest.param([], id="empty"), pytest.param([0] * RATE, id="silence")])
def test_silence_has_no_tone(samples: list[int]) -> None:
    """Nothing heard is a share of 0, not a fault."""
    assert share(samples, RATE, 440) == 0.0


def test_the_first_channel_of_a_file_is_measured(tmp_path: Path) -> None:
    """A stereo recording is read by its first channel and its own rate."""
    path = tmp_path / "two.wav"
    frames = array("h", [sample for left in sine(440) for sample in (left, 0)])
    with wave.open(str(path), "wb") as recording:
        recording.setparams((2, 2, RATE, 0, "NONE", ""))
        recording.writeframes(frames.tobytes())

    assert tone_share(path, 440) == pytest.approx(1.0, abs=0.01)
