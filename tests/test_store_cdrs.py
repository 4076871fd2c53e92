"""The legs of calls that have ended, in the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from api.ports import CdrQuery, Leg
from daemon.store import Store

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

ACCOUNT = "a" * 32
DAY = 86_400.0


def leg(call_id: str = "c", **values: Any) -> Leg:
    names = ("username", "presence_id", "destination", "request", "caller_id_name", "caller_id_number")
    blank = dict.fromkeys((*names, "callee_id_name", "callee_id_number", "other_leg", "owner_id", "device_id"), "")
    return Leg(
        **{
            **blank,
            "call_id": call_id,
            "interaction_id": "i",
            "account_id": ACCOUNT,
            "side": "device",
            "media": "bypass",
            "auto_answer": False,
            "began": 1e9,
            "ended": 1e9 + 1,
            **values,
        }
    )


async def opened(path: Path, now: float = 1e9) -> Store:
    return await Store.open(path / "roost.db", clock=lambda: now)


async def test_what_was_kept_is_there_after_a_restart(tmp_path: Path) -> None:
    """Every field, whatever it holds."""
    kept = leg(caller_id_name="Müller 🦜", rang=1e9 + 0.123, outcome="busy", remark="so")
    store = await opened(tmp_path)
    store.cdrs.keep([kept])
    await store.close()
    store = await opened(tmp_path)
    found = await store.cdrs.page(CdrQuery(ACCOUNT, 10))
    await store.close()

    assert [kept] == [cdr.leg for cdr in found]
    assert "200109-c" == found[0].id


async def test_what_is_older_than_the_retention_goes(tmp_path: Path) -> None:
    store = await opened(tmp_path, now=1e9 + 31 * DAY)
    store.cdrs.days = 30
    store.cdrs.keep([leg("old")])
    store.cdrs.keep([leg("new", began=1e9 + 30 * DAY, ended=1e9 + 30 * DAY)])
    await store.cdrs.written()
    found = await store.cdrs.page(CdrQuery(ACCOUNT, 10))
    await store.close()

    assert ["new"] == [cdr.leg.call_id for cdr in found]


async def test_nothing_is_kept_where_nothing_is_wanted(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    store.cdrs.days = 0
    store.cdrs.keep([leg()])
    await store.cdrs.written()
    found = await store.cdrs.page(CdrQuery(ACCOUNT, 10))
    await store.close()

    assert [] == found


async def test_keys_of_a_later_version_are_passed_over(tmp_path: Path) -> None:
    """A downgrade within one schema must not take the listing down."""
    store = await opened(tmp_path)
    store.cdrs.keep([leg()])
    await store.cdrs.written()

    def add_key(connection: sqlite3.Connection) -> None:
        ((text,),) = connection.execute("SELECT leg FROM cdrs").fetchall()
        connection.execute("UPDATE cdrs SET leg = ?", (orjson.dumps({**orjson.loads(text), "later": 1}),))

    await store._database.write(add_key)
    found = await store.cdrs.page(CdrQuery(ACCOUNT, 10))
    await store.close()

    assert [leg()] == [cdr.leg for cdr in found]
