"""The route table: paths of nouns and parameters, and who may use them (contract 1.1, 1.2).

A path is split on `/` before its parts are percent-decoded, so that a `%2F` inside a part is data.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias
from urllib.parse import unquote

from api.body import mend
from api.call import Answer, Call

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Handler: TypeAlias = Callable[[Call], Awaitable[Answer]]


class Access(Enum):
    """Who may use a route."""

    OPEN = "open"
    """Anybody: these routes give the credentials."""
    TOKEN = "token"  # noqa: S105 - not a password
    """Whoever has a token."""
    ACCOUNT = "account"
    """A token of the account in the path, of one above it, or of the superduper admin."""
    QUICKCALL = "quickcall"
    """As ACCOUNT; nobody in particular too, where the policy allows anonymous quickcalls."""
    SUPERDUPER = "superduper"
    """The superduper admin."""


@dataclass(frozen=True, slots=True)
class Route:
    """A method of a path, with what the OpenAPI document says about it."""

    method: str
    path: str
    """Below `/v2`; `{account_id}`, `{user_id}` and `{device_id}` are looked up before the handler runs."""
    handler: Handler
    summary: str
    access: Access = Access.ACCOUNT
    body: str | None = None
    """The schema of the body's `data`."""
    answer: str = "anything"
    """The schema of the answer's `data`."""
    query: Sequence[str] = ()
    """The names of its query parameters."""
    costs: bool = False
    """Whether it takes from the client's bucket (contract 7.3)."""
    streams: bool = False
    """Whether it answers with server-sent events."""
    types: Sequence[str] = ()
    """Media types that it answers with beside JSON, where the client asks for one."""


@dataclass(slots=True)
class Node:
    """A place in the tree of paths."""

    literals: dict[str, Node] = field(default_factory=dict)
    parameter: Node | None = None
    name: str = ""
    """Of the parameter that leads here."""
    routes: dict[str, Route] = field(default_factory=dict)


class Match(NamedTuple):
    """Where a path leads."""

    routes: dict[str, Route]
    """By method; empty where the path has none."""
    params: dict[str, str]


NO_ROUTES: Final[dict[str, Route]] = {}


class Router:
    """Finds the routes of a path."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = Node()
        for route in routes:
            self._add(route)

    def match(self, tokens: Sequence[str]) -> Match:
        """Follow the parts of a path; a literal is preferred to a parameter."""
        node = self._root
        params: dict[str, str] = {}
        for token in tokens:
            below = node.literals.get(token)
            if below is None:
                below = node.parameter
                if below is None:
                    return Match(NO_ROUTES, params)
                params[below.name] = token
            node = below
        return Match(node.routes, params)

    def _add(self, route: Route) -> None:
        node = self._root
        for part in route.path.strip("/").split("/"):
            if part.startswith("{"):
                if node.parameter is None:
                    node.parameter = Node(name=part[1:-1])
                node = node.parameter
            else:
                node = node.literals.setdefault(part, Node())
        node.routes[route.method] = route


def split(raw_path: str) -> list[str]:
    """Return the decoded parts of a path; one empty last part is ignored."""
    tokens = raw_path.split("/")[1:]
    if tokens and not tokens[-1]:
        tokens.pop()
    if "%" in raw_path or not raw_path.isascii():
        return [mend(unquote(token, errors="replace")) for token in tokens]
    return tokens


def under_each(prefixes: Iterable[str], route: Route) -> tuple[Route, ...]:
    """Return the route once below each prefix."""
    return tuple(
        Route(
            route.method,
            prefix + route.path,
            route.handler,
            route.summary,
            access=route.access,
            body=route.body,
            answer=route.answer,
            query=route.query,
            costs=route.costs,
            streams=route.streams,
            types=route.types,
        )
        for prefix in prefixes
    )
