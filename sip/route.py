"""The way of a request along a route set (RFC 3261 12.2.1.1, 16.12; RFC 3327 5.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sip.headers import NameAddr
from sip.uri import SipUri

if TYPE_CHECKING:
    from collections.abc import Sequence


def way_along(routes: Sequence[str], target: str) -> tuple[str, tuple[str, ...]]:
    """Return the Request-URI and the Route values of a request to the target. Raises ParseError."""
    if not routes:
        return target, ()
    first = NameAddr.parse(routes[0]).uri
    if SipUri.parse(first).param("lr") is not None:
        return target, tuple(routes)
    # RFC 3261 12.2.1.1: a strict router takes its own URI as Request-URI, and the target last in Route.
    return first, (*routes[1:], f"<{target}>")
