"""What is loaded at start, by pages: SQLite makes the rows of each into one value, a JSON array of arrays.

A row costs twice: SQLite gives up Python's lock and takes it again, and each column becomes an object by itself. A page
is made in SQLite's thread without that lock, while the one before it is made into objects; see `Database.pages`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE = 2_000  # rows of a page, some hundred kilobytes

FACTS = f"""
WITH RECURSIVE pages (first) AS (
    SELECT min(rowid) FROM documents
    UNION ALL
    SELECT first + {PAGE} FROM pages WHERE first + {PAGE} <= (SELECT max(rowid) FROM documents)
)
SELECT (
    SELECT CAST(json_group_array(json_array(account_id, id, json_extract(data, {{paths}}))) AS BLOB) FROM documents
    WHERE rowid >= first AND rowid < first + {PAGE} AND kind = :kind AND deleted = 0
) FROM pages
"""  # noqa: S608 - a number of ours
"""`paths` stands for what is wanted of each document."""

# x'FF' is after every AOR: BLOBs come after texts, and UTF-8 has no such byte.
BINDINGS = f"""
WITH RECURSIVE pages (after, until) AS (
    SELECT '', ''
    UNION ALL
    SELECT until, ifnull((SELECT aor FROM bindings WHERE aor > until ORDER BY aor LIMIT 1 OFFSET {PAGE - 1}), x'FF')
    FROM pages WHERE until < x'FF'
)
SELECT (
    SELECT CAST(json_group_array(json_array(
        CAST(aor AS TEXT), CAST(contact AS TEXT), CAST(instance AS TEXT), reg_id, device_id,
        transport, local_host, local_port, remote_host, remote_port, CAST(path AS TEXT), q, CAST(call_id AS TEXT),
        cseq, expires_at, granted, first_registered, registered_at, CAST(user_agent AS TEXT)
    )) AS BLOB) FROM bindings WHERE aor > after AND aor <= until
) FROM pages
"""  # noqa: S608 - a number of ours
"""An AOR's bindings are on one page. Text that was packed as a BLOB is UTF-8, but for bytes that never were text."""


def rows_of(page: bytes) -> Sequence[Sequence[Any]]:
    """Return the rows of a page."""
    try:
        rows: Sequence[Sequence[Any]] = orjson.loads(page)
    except orjson.JSONDecodeError:
        rows = json.loads(page.decode("utf-8", "surrogatepass"))  # a phone sent what is no text; see `bindings.packed`
    return rows
