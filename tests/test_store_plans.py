"""Query plans: what is looked up or listed is found through an index, however many documents there are."""

from __future__ import annotations

import re
import sqlite3
from typing import TYPE_CHECKING

import pytest

from daemon.store import bindings as bindings_module
from daemon.store import deliveries, documents, queries, sync_jobs, tokens, values

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from daemon.store import Store

STATEMENTS = {
    **{name: sql for name, sql in vars(queries).items() if name.isupper()},
    **{
        f"{module.__name__.rpartition('.')[2]}{name}": sql
        for module in (documents, tokens, values, bindings_module, deliveries, sync_jobs)
        for name, sql in vars(module).items()
        if isinstance(sql, str) and re.match(r"\s*(SELECT|UPDATE|DELETE)", sql)
    },
}
WHOLE_TABLE = {
    "deliveries_OPEN",  # once, at start: the index of what is open, which is little
    "sync_jobs_RUNNING",  # once, at start: as above
    "tokens_LIST",  # by hand, and that is what is asked for
    "bindings_REMOVE_OVER",  # once, at start: an index would cost every REGISTER
}
ALLOWED = re.compile(
    r"SEARCH .* USING .*(INDEX|PRIMARY KEY) .*"
    r"|SCAN below"  # the accounts that the recursion has found
    r"|USE TEMP B-TREE FOR .*"  # of accounts of one name, or below one account
    r"|SCAN (written|json_each) VIRTUAL TABLE .*"  # the ids that the statement was given
    r"|(CORRELATED|LIST|COMPOUND|LEFT-MOST|UNION|SCALAR|MATERIALIZE|CO-ROUTINE|SETUP|RECURSIVE).*"  # not a search
)


@pytest.fixture
def connection(store: Store, store_path: Path) -> Iterator[sqlite3.Connection]:
    opened = sqlite3.connect(store_path)
    yield opened
    opened.close()


def plan_of(connection: sqlite3.Connection, sql: str) -> list[str]:
    parameters = dict.fromkeys(re.findall(r":(\w+)", sql)) or (None,) * sql.count("?")
    return [detail for *_, detail in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]


@pytest.mark.parametrize("name", sorted(STATEMENTS.keys() - WHOLE_TABLE))
def test_statement_uses_an_index(connection: sqlite3.Connection, name: str) -> None:
    """No statement reads a whole table."""
    plan = plan_of(connection, STATEMENTS[name])

    assert plan
    assert [step for step in plan if not ALLOWED.fullmatch(step)] == []


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("PAGE", "documents_by_kind (account_id=? AND kind=? AND id>?)"),
        ("GET", "sqlite_autoindex_documents_1 (account_id=? AND id=?)"),
        ("PAGE_OF_USER", "PRIMARY KEY (account_id=? AND user_id=? AND device_id>?)"),
    ],
)
def test_listing_reads_its_page_and_no_more(connection: sqlite3.Connection, name: str, index: str) -> None:
    """The index narrows by all there is to narrow by, and gives the order, so that the last page costs as the first."""
    plan = plan_of(connection, STATEMENTS[name])

    assert index in plan[0]
    assert not any("TEMP B-TREE" in step for step in plan)


def test_users_are_found_without_a_look_at_the_devices(connection: sqlite3.Connection) -> None:
    """Users and webhooks are read at start, where a hundred thousand devices lie between them."""
    accounts, documents, *_ = plan_of(connection, queries.OF_KINDS)

    assert "account_parent" in accounts
    assert "documents_by_kind (account_id=? AND kind=?)" in documents


def test_uniqueness_is_checked_by_whole_keys(connection: sqlite3.Connection) -> None:
    """Each of the checks of a device finds a handful of rows at most, in an account of any size."""
    plan = " ".join(plan_of(connection, queries.DEVICE_CONFLICTS))

    for search in (
        "device_mac (account_id=? AND mac=?)",
        "device_ip (sip_ip=?)",
        "device_mdn (mdn=?)",
        "(account_id=? AND sip_username=?)",
        "(sip_realm=? AND sip_username=?)",
        "account_realm (realm=?)",
    ):
        assert search in plan


def test_a_scan_would_be_seen(connection: sqlite3.Connection) -> None:
    """The test itself can fail."""
    (step,) = plan_of(connection, "SELECT data FROM documents WHERE data = :data")
    assert not ALLOWED.fullmatch(step)


@pytest.mark.parametrize(("name", "step"), [
    pytest.param("BY_SIP_USERNAME", "(account_id=? AND sip_username=?)", id="one-username-of-an-account"),
    pytest.param("BATCH_CONFLICTS", "SEARCH d USING INDEX sqlite_autoindex_documents_1 (", id="those-written"),
])  # fmt: skip
def test_statement_of_an_import_reads_no_whole_account(connection: sqlite3.Connection, name: str, step: str) -> None:
    """An import of ten thousand runs it as often."""
    assert step in "\n".join(plan_of(connection, STATEMENTS[name]))
