"""Commands that open the database themselves, so that they work whether the daemon is up or down."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from api.ports import DocumentMissing, NotUnique, PortError
from config.settings import LogSettings
from daemon.cli_config import act_as_owner, load_settings
from daemon.log import configure_logging
from daemon.store import MasterExists, MigrationRefused, Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from config.settings import Settings

T = TypeVar("T")

API_AUTH = "cb_api_auth"
"""How a token says that it came from an API key, not from a user."""


def in_store(config: Path | None, work: Callable[[Store], Awaitable[T]], *, create: bool = False) -> T:
    """Do the work in the store of the configuration. What goes wrong with that is told, and ends the command."""
    settings = load_settings(config).settings

    async def visit() -> T:
        async with open_store(settings, create=create) as store:
            return await work(store)

    return asyncio.run(visit())


@contextlib.asynccontextmanager
async def open_store(settings: Settings, *, create: bool = False) -> AsyncIterator[Store]:
    """Open the store of the settings, as its owner. Raises ClickException with what went wrong with it."""
    configure_logging(LogSettings(level="warning", format=settings.log.format))
    path = _own(Path(settings.store.path), create=create)
    try:
        store = await Store.open(path, token_ttl=settings.api.token_ttl)
        try:
            yield store
        finally:
            await store.close()
    except (PortError, MigrationRefused) as error:
        raise click.ClickException(sentence(error)) from error


def _own(path: Path, *, create: bool) -> Path:
    """Become the database's owner, if we may, and see whether it can be opened. Raises ClickException."""
    try:
        there = path.exists()
        if there or create:
            act_as_owner(path)
        allowed = not there or os.access(path, os.R_OK | os.W_OK)
    except PermissionError:  # the folder is not ours to look into
        there, allowed = True, False
    if not there and not create:
        raise click.ClickException(f"there is no database at {path}: `roost init` makes one")
    if not allowed:
        raise click.ClickException(f"{path} is not yours to open: run this as root, or as the daemon's user")
    return path


def sentence(error: Exception) -> str:
    """Return what a port or the store refused, for whoever typed the command."""
    if isinstance(error, MasterExists):
        return f"this database has a master account already: {error}"
    if isinstance(error, DocumentMissing):
        return f"there is no such account: {error}"
    if isinstance(error, NotUnique):
        return "; ".join(f"{violation.key}: {violation.message}" for violation in error.violations)
    return str(error)
