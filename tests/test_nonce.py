"""Signed nonces and their counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip.errors import LocalProtocolError
from sip.nonce import MAX_NONCES, NONCE_LENGTH, NonceCounts, NonceSigner, NonceState

KEY = bytes(range(32))
LIFETIME = 300.0
MADE = 1_700_000_000.0
SALT = b"\x01\x02\x03\x04"


@pytest.fixture
def signer() -> NonceSigner:
    return NonceSigner(KEY, LIFETIME)


@pytest.mark.parametrize(
    ("age", "state"),
    [
        pytest.param(0.0, NonceState.FRESH, id="at-once"),
        pytest.param(LIFETIME, NonceState.FRESH, id="at-the-end-of-its-life"),
        pytest.param(LIFETIME + 1, NonceState.STALE, id="past-its-life"),
        pytest.param(-LIFETIME, NonceState.FRESH, id="clock-set-back-a-little"),
        pytest.param(-LIFETIME - 1, NonceState.STALE, id="clock-set-back-far"),
    ],
)
def test_nonce_lives_as_long_as_it_was_told(signer: NonceSigner, age: float, state: NonceState) -> None:
    """The server chooses how long a nonce is good (RFC 7616 3.3)."""
    nonce = signer.issue(MADE, SALT)

    assert signer.check(nonce, MADE + age) is state


def test_nonce_is_known_again_after_a_restart_with_the_same_key(signer: NonceSigner) -> None:
    """Nothing is kept for a nonce but the key."""
    nonce = signer.issue(MADE, SALT)

    assert NonceSigner(KEY, LIFETIME).check(nonce, MADE) is NonceState.FRESH
    assert NonceSigner(KEY[::-1], LIFETIME).check(nonce, MADE) is NonceState.FORGED


def test_nonce_is_made_of_hexadecimal_digits_alone(signer: NonceSigner) -> None:
    """No phone has to escape anything to echo it."""
    nonce = signer.issue(MADE, SALT)

    assert len(nonce) == NONCE_LENGTH
    assert set(nonce) <= set("0123456789abcdef")


def test_changing_any_digit_of_a_nonce_forges_it(signer: NonceSigner) -> None:
    """The signature covers time and salt."""
    nonce = signer.issue(MADE, SALT)
    for position, digit in enumerate(nonce):
        changed = nonce[:position] + ("0" if digit != "0" else "1") + nonce[position + 1 :]

        assert signer.check(changed, MADE) is NonceState.FORGED


@given(
    st.text(st.characters(max_codepoint=0xDCFF, exclude_categories=()).filter(lambda c: not "\ud800" <= c < "\udc80"))
)
def test_no_text_of_a_peer_is_taken_for_a_nonce_of_ours(text: str) -> None:
    """Whatever stands in the nonce parameter is forged, and raises nothing."""
    assert NonceSigner(KEY, LIFETIME).check(text, MADE) is NonceState.FORGED


@pytest.mark.parametrize("key", [b"", b"short", bytes(33)])
def test_a_key_that_is_too_short_or_too_long_is_refused(key: bytes) -> None:
    """blake2s takes 32 bytes of key, and less than 16 could be guessed."""
    with pytest.raises(LocalProtocolError):
        NonceSigner(key, LIFETIME)


def nonces(signer: NonceSigner, count: int) -> list[str]:
    return [signer.issue(MADE + second, SALT) for second in range(count)]


def test_nonce_count_must_grow_by_any_step(signer: NonceSigner) -> None:
    """Phones skip numbers, and some begin at 2 (RFC 7616 3.4, nc)."""
    (nonce,) = nonces(signer, 1)
    counts = NonceCounts()

    assert [counts.take(nonce, count) for count in (2, 3, 3, 9, 8, 1, 10)] == [
        True,
        True,
        False,
        True,
        False,
        False,
        True,
    ]


def test_nonce_of_the_old_form_is_good_for_one_request(signer: NonceSigner) -> None:
    """Without a count there is no other way to tell a replay."""
    (nonce,) = nonces(signer, 1)
    counts = NonceCounts()

    assert counts.take(nonce, 0)
    assert not counts.take(nonce, 0)


def test_several_phones_of_one_device_each_count_their_own_nonce(signer: NonceSigner) -> None:
    """Two phones with the same credentials refresh in turn without a new challenge."""
    first, second = nonces(signer, 2)
    counts = NonceCounts()
    for count in (1, 2, 3):
        assert counts.take(second, count)
        assert counts.take(first, count)
        assert not counts.take(second, count)


def test_a_forgotten_nonce_cannot_be_replayed(signer: NonceSigner) -> None:
    """What is pushed out by newer nonces is refused, however high its count."""
    old, *newer = nonces(signer, MAX_NONCES + 1)
    counts = NonceCounts()
    assert counts.take(old, 1)
    assert all(counts.take(nonce, 1) for nonce in newer)

    assert not counts.take(old, 1)
    assert not counts.take(old, 2)
    assert counts.take(newer[0], 2)


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 5))))
def test_no_use_of_a_nonce_is_ever_taken_twice(uses: list[tuple[int, int]]) -> None:
    """Whatever the order in which answers come, and however many nonces are about."""
    made = nonces(NonceSigner(KEY, LIFETIME), 13)
    counts = NonceCounts()
    taken = [use for use in uses if counts.take(made[use[0]], use[1])]

    assert len(taken) == len(set(taken))
