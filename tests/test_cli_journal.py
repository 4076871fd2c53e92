"""Which lines of a log belong to one phone."""

from __future__ import annotations

import json

from daemon.cli_journal import MAX_CALL_IDS, Trail

DEVICE = "d" * 32


def test_device_id_is_enough() -> None:
    trail = Trail(DEVICE)

    assert trail.takes(f'{{"event":"registration.added","device_id":"{DEVICE}"}}')
    assert trail.takes(f"registration.added device_id={DEVICE}")
    assert not trail.takes('{"event":"daemon.started"}')


def test_call_ids_are_learned_from_its_lines_alone() -> None:
    trail = Trail(DEVICE)
    trail.takes(json.dumps({"event": "quickcall.started", "call_ids": {DEVICE: "first@a"}}))
    trail.takes(json.dumps({"event": "quickcall.started", "call_ids": {"other": "second@a"}}))

    trail.takes(json.dumps({"event": "quickcall.media_refused", "call_ids": ["first@a", "third@a"]}))

    assert trail.takes('{"event":"request.refused","call_id":"first@a"}')
    assert trail.takes('{"event":"request.refused","call_id":"third@a"}')
    assert not trail.takes('{"event":"request.refused","call_id":"second@a"}')


def test_a_number_of_call_ids_is_kept_and_no_more() -> None:
    trail = Trail(DEVICE)
    for number in range(MAX_CALL_IDS + 1):
        trail.learn({"call_id": f"<{number}>"})

    assert not trail.takes("<0>")
    assert trail.takes("<1>")
    assert trail.takes(f"<{MAX_CALL_IDS}>")
