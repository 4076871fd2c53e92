"""What `add` and `set` are told: FIELD=VALUE, and passwords, which never stand on a command line."""

from __future__ import annotations

import json
import secrets
import string
import sys
from typing import IO, TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    F = TypeVar("F", bound=Callable[..., Any])

    Fields = dict[str, Any]

PASSWORD_LENGTH: Final = 20  # of 54 characters: 115 bits, and still typed into a phone by hand
ALPHABET: Final = "".join(sorted({*string.ascii_letters, *string.digits} - set("0O1lIi8B")))
"""Without those that are taken for each other."""
MAX_PASSWORD: Final = 4096  # characters read from a file, which might be the wrong one

fields_argument = click.argument("fields", nargs=-1, metavar="[FIELD=VALUE]...")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def password_options(function: F) -> F:
    """Add the ways to give a password."""
    for option in (
        click.option("--ask-password", is_flag=True, help="Ask the terminal for the password."),
        click.option(
            "--generate-password", is_flag=True, help="Make a password, and print it, this once and never again."
        ),
        click.option(
            "--password-file",
            type=click.File(),
            metavar="FILE",
            help="Read the password from the first line of FILE; - is standard input.",
        ),
    ):
        function = option(function)
    return function


def read_password(file: IO[str] | None, *, generate: bool, ask: bool) -> tuple[str | None, bool]:
    """Return the password that was given, and whether we made it; with `ask`, a terminal is asked for it."""
    if (file is not None) + generate + ask > 1:
        raise click.UsageError("--ask-password, --password-file and --generate-password exclude each other")
    if generate:
        return "".join(secrets.choice(ALPHABET) for _ in range(PASSWORD_LENGTH)), True
    if file is not None:
        password = file.readline(MAX_PASSWORD).rstrip("\r\n")
        if not password:
            raise click.UsageError("--password-file: its first line is empty")
        return password, False
    if not ask:
        return None, False
    if not sys.stdin.isatty():
        raise click.UsageError("say --password-file FILE (- is standard input) or --generate-password")
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True)), False


def put_password(document: Fields, secret: str, file: IO[str] | None, *, generate: bool, ask: bool) -> str | None:
    """Put the password that was given where `secret` says, and return it if we made it: it is shown then, once."""
    password, made = read_password(file, generate=generate, ask=ask)
    if password is not None:
        put(document, secret.split("."), password)
    return password if made else None


def read_changes(
    texts: Sequence[str], secret: str, file: IO[str] | None, *, generate: bool, ask: bool
) -> tuple[Fields, str | None]:
    """Return what `set` is to change, and the password if we made one. Raises UsageError where that is nothing."""
    document = parse_fields(texts, secret=secret)
    made = put_password(document, secret, file, generate=generate, ask=ask)
    if not document:
        raise click.UsageError("name a FIELD=VALUE, or a new password")
    return document, made


def parse_fields(texts: Sequence[str], *, secret: str = "") -> Fields:
    """Return the document that FIELD=VALUE and FIELD:=JSON make; a FIELD is a path such as `sip.username`.

    `secret` is the field that a command line must not hold. Raises UsageError.
    """
    document: Fields = {}
    for text in texts:
        path, sign, value = text.partition("=")
        is_json = path.endswith(":")
        keys = path.removesuffix(":").split(".")
        if not sign or not all(keys):
            raise click.UsageError(f"{text!r} is neither FIELD=VALUE nor FIELD:=JSON")
        put(document, keys, _json(text, value) if is_json else value)
    if secret and _holds(document, secret.split(".")):
        raise click.UsageError(f"{secret} does not belong on a command line: --password-file or --generate-password")
    return document


def put(document: Fields, keys: Sequence[str], value: object) -> None:
    """Put a value at a path of keys. Raises UsageError where a value and not an object is on the way."""
    for key in keys[:-1]:
        document = document.setdefault(key, {})
        if not isinstance(document, dict):
            raise click.UsageError(f"{'.'.join(keys)} goes through {key}, which has a value of its own")
    document[keys[-1]] = value


def confirm_removal(what: str, *, yes: bool) -> None:
    """Ask whether something is to be removed. Raises UsageError where there is nobody to ask."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("say --yes to remove without being asked")
    click.confirm(f"Remove {what}?", abort=True)


def _holds(value: object, keys: Sequence[str]) -> bool:
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            return False
        value = value[key]
    return True


def _json(text: str, value: str) -> object:
    try:
        return json.loads(value)
    except ValueError as error:
        raise click.UsageError(f"{text!r}: what follows := is no JSON: {error}") from error
