"""Who guesses passwords."""

from __future__ import annotations

from sip.offenders import FORBID_AFTER, FORGET_AFTER, MAX_TRACKED, SILENCE, SILENCE_AFTER, Offenders
from sip.trust import TrustedSources


def _guess(offenders: Offenders, times: int, *, source: str = "192.0.2.1", now: float = 0.0) -> list[bool]:
    return [offenders.wrong(source, f"user{n}@acme.test", now) for n in range(times)]


def test_a_few_wrong_answers_in_a_row_are_refused_for_good() -> None:
    """A 403 stops a phone that would retry for ever."""
    offenders = Offenders(TrustedSources())
    refused = [offenders.wrong("192.0.2.1", "bob@acme.test", 0.0) for _ in range(FORBID_AFTER + 1)]

    assert refused == [False] * (FORBID_AFTER - 1) + [True, True]


def test_a_right_answer_forgives() -> None:
    offenders = Offenders(TrustedSources())
    for _ in range(FORBID_AFTER):
        offenders.wrong("192.0.2.1", "bob@acme.test", 0.0)
    offenders.right("192.0.2.1", "bob@acme.test")

    assert not offenders.wrong("192.0.2.1", "bob@acme.test", 2.0)


def test_a_guesser_is_silenced_and_for_longer_each_time() -> None:
    offenders = Offenders(TrustedSources())
    _guess(offenders, SILENCE_AFTER - 1)
    assert not offenders.is_silenced("192.0.2.1", 0.0)

    _guess(offenders, 1)
    assert offenders.is_silenced("192.0.2.1", SILENCE - 1)
    assert not offenders.is_silenced("192.0.2.1", SILENCE)
    _guess(offenders, 1, now=SILENCE)
    assert offenders.is_silenced("192.0.2.1", SILENCE + 2 * SILENCE - 1)


def test_an_address_with_a_good_registration_is_never_silenced() -> None:
    """One phone with an old password must not cut off its whole office."""
    trusted = TrustedSources()
    trusted.add("192.0.2.1", until=100.0, now=0.0)
    offenders = Offenders(trusted)
    _guess(offenders, 10 * SILENCE_AFTER)

    assert not offenders.is_silenced("192.0.2.1", 1.0)


def test_old_offences_are_forgotten() -> None:
    offenders = Offenders(TrustedSources())
    _guess(offenders, SILENCE_AFTER - 1)
    _guess(offenders, 1, now=FORGET_AFTER + 1)

    assert not offenders.is_silenced("192.0.2.1", FORGET_AFTER + 1)


def test_a_flood_of_sources_does_not_fill_memory() -> None:
    offenders = Offenders(TrustedSources())
    for number in range(MAX_TRACKED + 100):
        offenders.wrong(str(number), "bob@acme.test", 0.0)

    assert len(offenders) == 2 * MAX_TRACKED
