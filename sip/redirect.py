"""Where a 3xx says that a call may be had instead (RFC 3261 8.1.3.4, 20.10, 21.3)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from sip.errors import ParseError
from sip.headers import NameAddr

if TYPE_CHECKING:
    from sip.message import Response

FOLLOWED: Final = frozenset((300, 301, 302))  # 305 names a proxy, 380 another service
MAX_CONTACTS: Final = 8  # of one 3xx
_QVALUE: Final = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")
_TEL: Final = re.compile(r"tel:([^;?]+)", re.IGNORECASE)


def contacts_of(response: Response) -> list[str]:
    """Return the URIs to try, the best one first; one that cannot be read is left out."""
    if response.status not in FOLLOWED:
        return []
    found: list[tuple[float, str]] = []
    for value in response.values("Contact")[:MAX_CONTACTS]:
        try:
            contact = NameAddr.parse(value)
        except ParseError:
            continue
        q = contact.param("q")
        found.append((float(q) if q and _QVALUE.fullmatch(q) else 1.0, contact.uri))
    found.sort(key=lambda item: -item[0])
    return [uri for _, uri in found]


def number_of_tel(uri: str) -> str | None:
    """Return the number of a tel: URI (RFC 3966), None for any other."""
    match = _TEL.match(uri)
    return match[1] if match else None
