"""What `add` and `set` make of their arguments, and how they come by passwords."""

from __future__ import annotations

import io

import click
import pytest

from daemon.cli_fields import ALPHABET, PASSWORD_LENGTH, parse_fields, read_password


@pytest.mark.parametrize(
    ("texts", "document"),
    [
        pytest.param(("name=Desk",), {"name": "Desk"}, id="text"),
        pytest.param(("sip.username=1001", "sip.method=ip"), {"sip": {"username": "1001", "method": "ip"}}, id="path"),
        pytest.param(("flags:=[1,2]", "owner_id:=null"), {"flags": [1, 2], "owner_id": None}, id="json"),
        pytest.param(("a=b=c", "b="), {"a": "b=c", "b": ""}, id="only-the-first-sign-counts"),
    ],
)
def test_fields_make_a_document(texts: tuple[str, ...], document: dict[str, object]) -> None:
    assert document == parse_fields(texts)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("name", "neither FIELD=VALUE", id="no-value"),
        pytest.param("=x", "neither FIELD=VALUE", id="no-field"),
        pytest.param("sip..x=1", "neither FIELD=VALUE", id="hole-in-path"),
        pytest.param("a:=nonsense", "no JSON", id="no-json"),
        pytest.param("sip.password=opensesame", "does not belong on a command line", id="password"),
        pytest.param('sip.password:="opensesame"', "does not belong on a command line", id="password-as-json"),
        pytest.param('sip:={"password":"opensesame"}', "does not belong on a command line", id="password-within"),
        pytest.param("name.first=x", "goes through name", id="through-a-value"),
    ],
)
def test_wrong_field_is_refused(text: str, complaint: str) -> None:
    """With a sentence that repeats no secret."""
    with pytest.raises(click.UsageError) as caught:
        parse_fields(("name=x", text), secret="sip.password")

    assert complaint in caught.value.message
    assert "opensesame" not in caught.value.message


def test_generated_passwords_are_long_and_never_the_same() -> None:
    passwords = {read_password(None, generate=True, ask=False) for _ in range(50)}

    assert 50 == len(passwords)
    assert all(made and len(password or "") == PASSWORD_LENGTH for password, made in passwords)
    assert all(set(password or "") <= set(ALPHABET) for password, _ in passwords)


def test_password_is_the_first_line_of_its_file() -> None:
    assert (" two words ", False) == read_password(io.StringIO(" two words \r\nmore\n"), generate=False, ask=False)


def test_no_password_is_asked_for_where_nobody_sits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("typed\n"))
    with pytest.raises(click.UsageError, match="--password-file"):
        read_password(None, generate=False, ask=True)


@pytest.mark.parametrize("text", ["", "\n"])
def test_empty_password_file_is_refused(text: str) -> None:
    with pytest.raises(click.UsageError, match="empty"):
        read_password(io.StringIO(text), generate=False, ask=False)
