"""What we let a phone hear, measured."""

from __future__ import annotations

import io
import wave
from array import array

import pytest

from config.settings import RINGBACKS
from daemon.demo_tone import share
from sip.sounds import CADENCES, RATE, asking_wav, ringback_wav


def samples(wav: bytes) -> array[int]:
    with wave.open(io.BytesIO(wav)) as recording:
        assert (1, 2, RATE) == (recording.getnchannels(), recording.getsampwidth(), recording.getframerate())
        return array("h", recording.readframes(recording.getnframes()))


def test_every_country_that_can_be_set_has_a_ringing() -> None:
    """The setting's choices and the table are the same."""
    assert set(RINGBACKS) == set(CADENCES)


@pytest.mark.parametrize("country", RINGBACKS)
def test_a_ringing_has_its_tones_and_its_silences(country: str) -> None:
    """Each tone of a cadence is made of its frequencies in equal parts; each silence is silent (ITU-T E.180)."""
    cadence, sound = CADENCES[country], samples(ringback_wav(country))
    assert round(sum(cadence.seconds) * RATE) == len(sound)
    start = 0
    for index, seconds in enumerate(cadence.seconds):
        part, start = sound[start : start + round(seconds * RATE)], start + round(seconds * RATE)
        if index % 2:
            assert not any(part)
            continue
        shares = [share(part[:1600], RATE, frequency) for frequency in cadence.frequencies]
        assert sum(shares) > 0.5
        assert min(shares) > 0.2


def test_the_american_ringing_is_440_and_480_hertz() -> None:
    """Two seconds of tone and four of silence, loud enough to be heard and far from clipping."""
    sound = samples(ringback_wav("us"))

    assert 6 * RATE == len(sound)
    assert share(sound, RATE, 440) + share(sound, RATE, 480) == pytest.approx(1, abs=0.02)
    assert 5000 < max(sound) < 8000


def test_who_is_to_press_a_key_hears_short_tones() -> None:
    """Nothing that could be taken for ringing."""
    assert share(samples(asking_wav()), RATE, 1000) == pytest.approx(1, abs=0.01)
