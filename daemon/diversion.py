"""Where a call goes on to after it was redirected (RFC 3261 8.1.3.4): one contact after the other, each once."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from sip.outcome import Ending
from sip.redirect import contacts_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from daemon.invitation import Target
    from sip.message import Response

log = structlog.get_logger(__name__)

MAX_DIVERSIONS: Final = 5  # of one call to a number; a PBX makes one or two


class Find(Protocol):
    """Who knows where a contact of a 3xx is to be rung."""

    def __call__(self, contact: str, *, by_route: bool) -> Awaitable[Sequence[Target] | Ending]:
        """Return its targets, or why there are none. With `by_route` the route named it, otherwise a phone."""
        ...


class Diversion:
    """The redirections of one call to a number."""

    def __init__(self, find: Find) -> None:
        self._find = find
        self._seen: set[str] = set()
        self._left: list[tuple[str, bool]] = []
        self._followed = 0

    def watch(self, targets: Sequence[Target]) -> list[Target]:
        """Return the targets so that their failures lead on to what is left."""
        self._seen.update(target.invitee.uri for target in targets)
        return [replace(target, divert=partial(self._go_on, by_route=not target.device_id)) for target in targets]

    async def _go_on(self, response: Response | None, *, by_route: bool) -> Sequence[Target]:
        """Return the next targets after a failure; none where nothing is left, or the callee wants no call at all."""
        if response is not None and response.status >= 600:
            self._left.clear()  # RFC 3261 21.6: nobody else will take it
        if response is not None and response.status < 400:
            fresh = [uri for uri in contacts_of(response) if uri not in self._seen]
            self._seen.update(fresh)
            self._left[:0] = [(uri, by_route) for uri in fresh]
        while self._left and self._followed < MAX_DIVERSIONS:
            contact, named_by_route = self._left.pop(0)
            self._followed += 1
            found = await self._find(contact, by_route=named_by_route)
            if not isinstance(found, Ending):
                log.info("quickcall.redirected", contact=contact)
                return self.watch(found)
            log.warning("quickcall.redirection_refused", contact=contact, outcome=found.outcome.value)
        return ()
