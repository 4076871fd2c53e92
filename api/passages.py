"""What was found out about a request, for when it comes again: its route, who asks, the documents of its path.

Rule: kept is only what follows from the request's target, its token and what is stored, and stands until a document or
a token is written. A GET without a body is kept, by a token in X-Auth-Token, on a route that costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from api.routing import Access

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from api.call import Call
    from api.ports import Document, Kind, TokenIdentity
    from api.routing import Route

MAX_PASSAGES: Final = 1024  # some 2 MiB at the worst; the documents are shared with others who remember them
MAX_KEY: Final = 1024  # characters; a longer request is looked at anew each time

Key: TypeAlias = "tuple[str, str, str, str | None, str | None]"


class Passage(NamedTuple):
    """How a request was let in."""

    routes: Mapping[str, Route]
    params: dict[str, str]
    query: Mapping[str, str]
    token: str | None
    identity: TokenIdentity
    documents: dict[Kind, Document]

    def let_in(self, call: Call) -> Route:
        """Take the same request in once more."""
        call.routes, call.params, call.query = self.routes, self.params, self.query
        call.token, call.identity, call.documents = self.token, self.identity, self.documents
        route = self.routes["GET"]
        call.method, call.place = "GET", route.path
        return route


def key_of(request: web.BaseRequest, path: str) -> Key | None:
    """Return what a request is known again by; None for one that is always looked at anew."""
    headers = request.headers
    token = headers.get("X-Auth-Token")
    if not token or request.method not in ("GET", "HEAD") or request.body_exists:
        return None
    # The last two are the further headers that have a say; Authorization has none beside X-Auth-Token.
    return path, request.rel_url.raw_query_string, token, headers.get("Accept"), headers.get("X-Auth-Account-ID")


def passage_of(call: Call, route: Route, key: Key) -> Passage | None:
    """Return how the request was let in; None where that must be decided each time, or is not worth the memory."""
    if call.identity is None or route.costs or route.access is Access.OPEN:
        return None
    if sum(len(part or "") for part in key) > MAX_KEY:
        return None
    return Passage(call.routes, call.params, call.query, call.token, call.identity, call.documents)
