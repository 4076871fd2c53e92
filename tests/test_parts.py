"""A dictionary in parts."""

from __future__ import annotations

from sip.parts import PARTS, Parts


def test_a_key_has_one_part_and_the_parts_have_all() -> None:
    """However often one asks; and no part has much more than its share."""
    parts: Parts[str, int] = Parts()
    for number in range(1600):
        parts.of(f"p{number}@example.org")[f"p{number}@example.org"] = number

    assert [7, 1599] == [parts.of(key)[key] for key in ("p7@example.org", "p1599@example.org")]
    assert len(parts) == 1600
    assert sorted(number for part in parts for number in part.values()) == list(range(1600))
    assert max(map(len, parts)) < 2 * 1600 / PARTS
