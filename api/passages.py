"""What was found out about a request, for when it comes again.

That is its route, who asks, the documents of its path, and the answer as far as it stands.

Rule: kept is only what follows from the request's target, the headers in TELLING and what is stored, and stands until a
document or a token is written. A GET without a body is kept, by a token in X-Auth-Token, on a route that costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from multidict import CIMultiDict, istr

from api.envelope import encode_data
from api.routing import Access

if TYPE_CHECKING:
    from aiohttp import web

    from api.call import Answer, Call
    from api.respond import Frame
    from api.routing import Route

MAX_PASSAGES: Final = 256  # some 1 MiB at the worst; the documents are shared with others who remember them
MAX_KEY: Final = 1024  # characters; a longer request is looked at anew each time
MAX_ANSWER: Final = 131_072  # bytes, a page of 500 rows; 32 MiB of them at the worst, for a second
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

    __slots__ = ("_answer", "call", "frame", "route")

    def __init__(self, call: Call) -> None:
        self.call = call
        """Of all the requests that are the same; nothing changes it once they are let in."""
        self.route: Route | None = None
        """None as long as it is not let in."""
        self.frame: Frame | None = None
        """What stands around its latest answer."""
        self._answer: Answer | None = None

    def recall(self) -> Answer | None:
        """Return what was answered before, if that still stands."""
        answer = self._answer
        if answer is not None and answer.registrations is not None:
            presence, account = self.call.ports.presence, self.call.account
            return answer if answer.registrations == presence.edition(account.id) else None
        return answer

    def remember(self, answer: Answer) -> Answer:
        """Keep an answer for as long as it stands; returns it with its data as JSON."""
        if not answer.stands:
            return answer
        data = encode_data(answer.data)
        answer = answer._replace(data=data)
        self._answer = answer if len(data) <= MAX_ANSWER else None
        return answer


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
    if len("".join(filter(None, key))) > MAX_KEY:
        return False
    telling = zip(TELLING, key[-len(TELLING) :], strict=True)
    call.headers = CIMultiDict([(name, value) for name, value in telling if value is not None])
    return True
