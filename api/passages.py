"""What was found out about a request, for when it comes again.

That is its route, who asks, the documents of its path, and the answer as far as it stands.

Rule: kept is only what follows from the request's target, the headers in TELLING and what is stored, and stands until a
document or a token is written. A GET without a body is kept, by a token in X-Auth-Token, on a route that costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from multidict import CIMultiDict, istr

from api.call import Until
from api.envelope import encode_data
from api.ports import Kind
from api.routing import Access

if TYPE_CHECKING:
    from collections.abc import Hashable

    from aiohttp import web

    from api.call import Answer, Call
    from api.respond import Frame
    from api.routing import Route

MAX_PASSAGES: Final = 1024  # some 4 MiB at the worst; the documents are shared with others who remember them
MAX_KEY: Final = 1024  # characters; a longer request is looked at anew each time
MAX_ANSWER: Final = 16_384  # bytes, a page of 50 rows; 16 MiB of them at the worst, for a second
READS: Final = frozenset({"GET", "HEAD"})
TOKEN: Final = istr("X-Auth-Token")  # an istr is looked up in half the time of a str
TELLING: Final = (
    TOKEN,
    istr("Accept"),
    istr("X-Auth-Account-ID"),
    istr("If-Match"),
    istr("If-None-Match"),
    istr("Origin"),
    istr("Access-Control-Request-Method"),
    istr("Access-Control-Request-Headers"),
    istr("X-Pretty-Print"),
)
"""The headers that have a say in a read; Authorization has none beside X-Auth-Token."""

Key: TypeAlias = "tuple[str | None, ...]"


class Passage:
    """A request on its way in, and in again."""

    __slots__ = ("_answer", "_edition", "call", "frame", "route")

    def __init__(self, call: Call) -> None:
        self.call = call
        """Of all the requests that are the same; nothing changes it once they are let in."""
        self.route: Route | None = None
        """None as long as it is not let in."""
        self.frame: Frame | None = None
        """What stands around its latest answer."""
        self._answer: Answer | None = None
        self._edition: Hashable = None
        """Of the registrations that the answer tells of; None where it tells of none."""

    def recall(self) -> Answer | None:
        """Return what was answered before, if that still stands."""
        if self._edition is not None and self._edition != self._registrations():
            return None
        return self._answer

    async def ask(self, route: Route) -> Answer:
        """Return what the resource answers, and remember it for as long as it stands."""
        registrations = self._registrations()
        answer = await route.handler(self.call)
        if answer.until is not Until.ASKED:
            data = encode_data(answer.data)
            answer = answer._replace(data=data)
            if len(data) <= MAX_ANSWER:
                self._answer = answer
                self._edition = registrations if answer.until is Until.REGISTERED else None
        return answer

    def _registrations(self) -> Hashable:
        """Return what changes when a device of the path's account comes or goes."""
        account = self.call.documents.get(Kind.ACCOUNT)
        return None if account is None else self.call.ports.presence.edition(account.id)


def key_of(request: web.BaseRequest) -> Key | None:
    """Return what a request is known again by; None for one that is always looked at anew."""
    if request.method not in READS or request.body_exists:
        return None
    get = request.headers.get
    telling = [get(name) for name in TELLING]
    return (request.method, request.raw_path, *telling) if telling[0] else None


def is_kept(passage: Passage, key: Key) -> bool:
    """Return whether the request may pass again: not where that must be decided each time, or costs much memory.

    A call that is kept forgets the headers that it must not depend on.
    """
    call, route = passage.call, passage.route
    if route is None or call.identity is None or route.costs or route.streams or route.access is Access.OPEN:
        return False
    if sum(len(part or "") for part in key) > MAX_KEY:
        return False
    telling = zip(TELLING, key[-len(TELLING) :], strict=True)
    call.headers = CIMultiDict((name, value) for name, value in telling if value is not None)
    return True
