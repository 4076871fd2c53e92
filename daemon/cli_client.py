"""The API of the daemon that runs, for commands.

A command makes itself a token in the database, as its owner may, and ends it when it is done. There is no other way for
it to get its rights, so a command needs no password and no token of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote

import click

from api.ports import TokenIdentity
from daemon.cli_config import load_settings
from daemon.cli_store import API_AUTH, open_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    import aiohttp

    from api.ports import Document
    from config.listen import HostPort
    from config.settings import Settings

T = TypeVar("T")

Answer = dict[str, Any]
"""An envelope, or a row of one: JSON as it came."""

UNREACHABLE: Final = 3
"""Exit status of a command that needs the daemon and does not find it."""
ENDING: Final = (signal.SIGTERM, signal.SIGHUP)
"""Signals that end a command as Ctrl-C does: not before its token is ended."""
ENDED: Final = 128 + signal.SIGTERM
"""Exit status then, as a shell has it."""
TOKEN_TTL: Final = 86_400  # seconds: longer than most commands take; one that takes longer gets another
ANSWER_LIMIT: Final = 90.0  # seconds: the API may wait 60 for a phone
STREAM_SILENCE: Final = 60.0  # seconds: the daemon sends something every 15

_ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where a listener on all is reached


class Refused(click.ClickException):
    """The API said no; the text says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Unreachable(click.ClickException):
    """The daemon is not there, or it is something else that answers."""

    exit_code = UNREACHABLE


class Client:
    """The API of the daemon. `accounts` are those that the command is about, by id."""

    def __init__(self, settings: Settings, url: str, http: aiohttp.ClientSession) -> None:
        self.accounts: Sequence[Document] = ()
        self._settings = settings
        self._url = url
        self._http = http
        self._tokens: list[str] = []

    async def ask(
        self, method: str, path: str, data: Mapping[str, object] | None = None, query: Mapping[str, str] | None = None
    ) -> Answer:
        """Return the envelope of an answer, or {} for 404. Raises Refused and Unreachable."""
        body = None if data is None else {"data": data}
        async with self._request(method, path, json=body, params=query) as response:
            if response.status != 401:
                return await _envelope(response)
        await self.log_in()  # the token is over
        async with self._request(method, path, json=body, params=query) as response:
            return await _envelope(response)

    @contextlib.asynccontextmanager
    async def stream(
        self, path: str, query: Mapping[str, str], headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.StreamReader]:
        """Open an answer that does not end. Raises Refused and Unreachable, also while it is read."""
        # Imported here, as below, so that the other commands start without it.
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=ANSWER_LIMIT, sock_read=STREAM_SILENCE)
        async with self._request("GET", path, params=query, headers=headers, timeout=timeout) as response:
            if not response.ok:
                await _envelope(response)
            yield response.content

    async def log_in(self) -> Sequence[Document]:
        """Make a token that may do everything, and return all accounts."""
        async with open_store(self._settings) as store:
            accounts = await store.list_accounts()
            master = find_master(accounts)
            self._tokens.append(await store.tokens.issue(TokenIdentity(master.id, None, API_AUTH), ttl=TOKEN_TTL))
        return accounts

    async def log_out(self) -> None:
        """End what `log_in` made."""
        if self._tokens:
            async with open_store(self._settings) as store:
                for token in self._tokens:
                    await store.tokens.revoke(token)

    @contextlib.asynccontextmanager
    async def _request(self, method: str, path: str, **options: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        import aiohttp
        from yarl import URL

        headers = {"X-Auth-Token": self._tokens[-1], **(options.pop("headers", None) or {})}
        url = URL(f"{self._url}{path}", encoded=True)
        try:
            async with self._http.request(method, url, headers=headers, **options) as response:
                yield response
        except (aiohttp.ClientError, TimeoutError, asyncio.TimeoutError) as error:
            reason = str(error) or "not in time"
            raise Unreachable(f"the daemon does not answer ({reason}); is it running?") from error


def with_daemon(config: Path | None, work: Callable[[Client], Awaitable[T]], *, account: str | None = None) -> T:
    """Do the work with the API of the daemon, for the account that is meant by id, realm or name, or for all.

    What goes wrong with that is told, and ends the command.
    """
    settings = load_settings(config).settings

    async def visit() -> T:
        task = asyncio.current_task()
        assert task is not None
        for number in (each for each in ENDING if signal.getsignal(each) is not signal.SIG_IGN):  # as nohup has it
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        async with connect(settings, account) as client:
            return await work(client)

    try:
        return asyncio.run(visit())
    except asyncio.CancelledError:
        raise SystemExit(ENDED) from None


@contextlib.asynccontextmanager
async def connect(settings: Settings, account: str | None = None) -> AsyncIterator[Client]:
    """Log in at the daemon, and out at the end."""
    import aiohttp

    url = _address(settings.api.listen)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_LIMIT)) as http:
        client = Client(settings, url, http)
        try:
            accounts = await client.log_in()
            client.accounts = accounts if account is None else [find_account(accounts, account)]
            yield client
        finally:
            await client.log_out()


def find_account(accounts: Sequence[Document], text: str) -> Document:
    """Return the account of that id, realm or name. Raises ClickException where there is none, or several."""
    found = [each for each in accounts if text in (each.id, each.data.get("name"), each.data.get("realm"))]
    if not found:
        raise click.ClickException(f"there is no such account: {text}")
    if len(found) > 1:
        raise click.ClickException(f"{len(found)} accounts are called {text}: {', '.join(each.id for each in found)}")
    return found[0]


def find_master(accounts: Sequence[Document]) -> Document:
    """Return the account that may do everything. Raises ClickException where there is none."""
    for account in accounts:
        if account.private.get("pvt_superduper_admin") is True:
            return account
    raise click.ClickException("there is no account at all: `roost init` makes the first")


def part(text: str) -> str:
    """Return the text as a part of a path."""
    return quote(text, safe="")


async def _envelope(response: aiohttp.ClientResponse) -> Answer:
    envelope: Answer = await response.json()
    if response.status == 404:  # no such thing: who asked knows what that means
        return {}
    if not response.ok:
        raise Refused(response.status, _reason(envelope))
    return envelope


def _reason(envelope: Answer) -> str:
    data = envelope.get("data")
    if isinstance(data, dict) and data and all(isinstance(rules, dict) for rules in data.values()):
        faults = [(key, rule) for key, rules in data.items() for rule in rules.values()]
        return "; ".join(f"{key}: {rule.get('message') if isinstance(rule, dict) else rule}" for key, rule in faults)
    if isinstance(data, dict) and isinstance(data.get("message"), str):
        return str(data["message"])
    return f"{envelope.get('message')}: {json.dumps(data)}" if data else str(envelope.get("message"))


def _address(listen: HostPort) -> str:
    if not listen.port:
        raise Unreachable("api.listen has port 0, so the daemon's address cannot be known from here")
    host = _ANY_ADDRESS.get(listen.host, listen.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{listen.port}/v2"
