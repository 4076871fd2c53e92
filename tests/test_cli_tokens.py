"""`roost token`, run as its users run it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    Roost = Callable[..., subprocess.CompletedProcess[str]]


def listed(roost: Roost, *arguments: str) -> list[dict[str, Any]]:
    done = roost("token", "list", "--json", *arguments)
    assert 0 == done.returncode, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def test_listing_tells_whose_tokens_there_are_and_not_what_they_are(roost: Roost, master: dict[str, str]) -> None:
    token = roost("token", "create", "--account", "Master", "--ttl", "never").stdout.strip()
    rows = listed(roost)
    shown = roost("token", "list").stdout

    assert {(master["account_id"], "Master", "cb_api_auth")} == {
        (row["account_id"], row["account_name"], row["method"]) for row in rows
    }
    assert [True, False] == sorted((row["expires_at"] is None for row in rows), reverse=True)
    assert token not in shown + json.dumps(rows)
    assert rows[0]["token_id"] in shown


def test_listing_of_one_account(roost: Roost, master: dict[str, str]) -> None:
    roost("account", "add", "--name", "A", "--realm", "a.example.com")
    roost("token", "create", "--account", "a.example.com")

    assert [["A"], ["Master"]] == [
        [row["account_name"] for row in listed(roost, "--account", name)] for name in ("A", "Master")
    ]


def test_token_is_revoked_by_its_id_or_by_itself(roost: Roost, master: dict[str, str]) -> None:
    """The token itself comes by standard input, where nobody sees it."""
    token = roost("token", "create", "--account", "Master").stdout
    (first, second) = (row["token_id"] for row in listed(roost))
    done = roost("token", "revoke", "-", "--json", stdin=token)
    (left,) = listed(roost)

    assert {first, second} == {json.loads(done.stdout)["token_id"], left["token_id"]}
    assert 0 == roost("token", "revoke", left["token_id"]).returncode
    assert [] == listed(roost)


def test_unknown_token_is_told(roost: Roost, master: dict[str, str]) -> None:
    done = roost("token", "revoke", "0" * 16)

    assert (1, "") == (done.returncode, done.stdout)
    assert "no such token" in done.stderr
    assert 1 == len(listed(roost))
