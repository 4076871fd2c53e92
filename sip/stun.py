"""The answer to a STUN binding request, with which phones keep a UDP flow open and notice its end (RFC 5626 4.4.2, 8).

Of STUN (RFC 8489) nothing else is served: no attribute of a request is looked at.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sip.flow import Address

_HEADER: Final = struct.Struct("!HHI12s")  # type, length of what follows, magic cookie, transaction id
_ATTRIBUTE: Final = struct.Struct("!HHxBH")  # type, length, family, port
_REQUEST: Final = 0x0001
_SUCCESS: Final = 0x0101
_COOKIE: Final = 0x2112A442
_XOR_MAPPED_ADDRESS: Final = 0x0020


def answer_binding(data: bytes, source: Address) -> bytes | None:
    """Return the answer that tells the source its own address; None where the datagram is no binding request."""
    if len(data) < _HEADER.size:
        return None
    kind, length, cookie, transaction = _HEADER.unpack_from(data)
    if kind != _REQUEST or cookie != _COOKIE or length != len(data) - _HEADER.size or length % 4:
        return None
    address = ip_address(source.host.partition("%")[0]).packed
    mask = data[4:20]  # the cookie and the transaction id
    hidden = bytes(octet ^ other for octet, other in zip(address, mask))  # noqa: B905 - the mask is the longer one
    family = 1 if len(address) == 4 else 2
    head = _ATTRIBUTE.pack(_XOR_MAPPED_ADDRESS, 4 + len(address), family, source.port ^ (_COOKIE >> 16))
    return _HEADER.pack(_SUCCESS, len(head) + len(hidden), _COOKIE, transaction) + head + hidden
